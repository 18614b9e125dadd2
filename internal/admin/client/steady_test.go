package client

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// TestSteady: a text that comes slowly has signs of life between its lines, and
// nowhere else, and is the same text for who reads it.
func TestSteady(t *testing.T) {
	r, w := io.Pipe()
	s := steady(r, time.Millisecond)
	lines := []string{"\ufefffile:///one", "", "{\"mount\":\"file:///t", "wo\"}", "file:///four"}
	ends := []string{"\n", "\n", "", "\n", ""}
	beat := make(chan struct{})
	go func() {
		for i, line := range lines {
			<-beat // nothing has come for a while
			_, _ = io.WriteString(w, line+ends[i])
		}
		_ = w.Close()
	}()
	var text []byte
	for buf := make([]byte, 7); ; {
		n, err := s.Read(buf)
		text = append(text, buf[:n]...)
		if n == 1 && buf[0] == ' ' {
			select {
			case beat <- struct{}{}:
			default:
			}
		}
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	plain := strings.Join([]string{"\ufefffile:///one", "", `{"mount":"file:///two"}`, "file:///four"}, "\n")
	if strings.ReplaceAll(string(text), " ", "") != plain || strings.Count(string(text), " ") < len(lines) {
		t.Errorf("%q", text)
	}
	var read []wire.Entry
	for entry, err := range wire.ReadList(strings.NewReader(string(text))) {
		if err != nil {
			t.Errorf("line %d: %v", entry.Line, err)
		}
		read = append(read, entry)
	}
	if len(read) != 3 || read[0].Mount != "file:///one" || read[1].Mount != "file:///two" || read[1].Line != 3 || read[2].Line != 4 {
		t.Errorf("%+v", read)
	}
}

// TestSteadyEnds: nobody waits for a text that does not come.
func TestSteadyEnds(t *testing.T) {
	r, w := io.Pipe()
	s := steady(r, time.Hour)
	ended := make(chan error, 1)
	go func() {
		_, err := s.Read(make([]byte, 1))
		ended <- err
	}()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("it brought something")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
