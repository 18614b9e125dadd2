package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

const (
	// heartbeat is how often a line is sent when nothing happens, so that who
	// listens notices that nobody is there any more.
	heartbeat = 15 * time.Second
	// batch is how many events are sent at once.
	batch = 256
)

// getEvents sends events until the client leaves.
func (s *Server) getEvents(c *call) error {
	wanted, key := c.words("kind"), c.r.URL.Query().Get("key")
	last := c.r.Header.Get("Last-Event-ID")
	if last == "" {
		last = c.r.URL.Query().Get("after")
	}
	earlier, err := c.number("last", 0, 0, hubEvents)
	if err != nil {
		return err
	}
	at, lost := s.cfg.Hub.before(earlier), false
	if last != "" {
		at, lost = s.cfg.Hub.position(last)
	}
	stream := newStream(c, mimeEvents)
	if err := stream.send([]byte("retry: 1000\n\n")); err != nil {
		return err
	}
	if lost {
		if err := stream.send(sse(s.cfg.Hub.gap(at, -1))); err != nil {
			return err
		}
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		events, next, missed, more := s.cfg.Hub.after(at, make([]wire.Event, 0, batch))
		var out bytes.Buffer
		if missed > 0 {
			out.Write(sse(s.cfg.Hub.gap(next-int64(len(events)), missed)))
		}
		for _, e := range events {
			if e.Kind == wire.EventGap || (len(wanted) == 0 || slices.Contains(wanted, e.Kind)) && (key == "" || e.Key == key) {
				out.Write(sse(e))
			}
		}
		if err := s.goesOn(c); err != nil {
			return err
		}
		if err := stream.send(out.Bytes()); err != nil {
			return err
		}
		if at = next; len(events) > 0 {
			continue
		}
		select {
		case <-more:
		case <-beat.C:
			if err := stream.send([]byte(": still here\n\n")); err != nil {
				return err
			}
		case <-s.ending:
			return nil
		case <-c.r.Context().Done():
			return nil
		}
	}
}

// sse is an event as a stream of text/event-stream has it.
func sse(e wire.Event) []byte {
	data, err := json.Marshal(e)
	if err != nil { // no field of it can be refused
		return nil
	}
	return fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data)
}

// A stream sends an answer piece by piece.
type stream struct{ c *call }

func newStream(c *call, mime string) *stream {
	c.began = true
	c.w.Header().Set("Content-Type", mime)
	c.w.WriteHeader(c.route.success())
	return &stream{c}
}

// send sends a piece, and does nothing if it is empty.
func (s *stream) send(piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	if _, err := s.c.w.Write(piece); err != nil {
		return err
	}
	return s.flush()
}

// flush sends what has been written.
func (s *stream) flush() error { return http.NewResponseController(s.c.w).Flush() }

// A lines sends NDJSON.
type lines struct {
	*stream
	buf bytes.Buffer
}

func newLines(c *call) *lines { return &lines{stream: newStream(c, mimeLines)} }

// put adds a line, and sends what has gathered if it is much.
func (l *lines) put(v any) error {
	encoder := json.NewEncoder(&l.buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	if l.buf.Len() < 32<<10 {
		return nil
	}
	return l.flush()
}

func (l *lines) flush() error {
	err := l.send(l.buf.Bytes())
	l.buf.Reset()
	return err
}

// Write implements [io.Writer].
func (s *stream) Write(b []byte) (int, error) { return s.c.w.Write(b) }
