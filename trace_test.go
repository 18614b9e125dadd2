package dagstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// traced has the rig's next store make spans.
func traced(r *rig) *tracetest.SpanRecorder {
	spans := tracetest.NewSpanRecorder()
	r.cfg.Traces = sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	return spans
}

// span waits for the end of the n-th span of that name, counted from 0.
func (r *rig) span(spans *tracetest.SpanRecorder, name string, n int) (found sdk.ReadOnlySpan) {
	r.t.Helper()
	r.until(name+" ends", func() bool {
		i := 0
		for _, s := range spans.Ended() {
			if s.Name() == name {
				if i == n {
					found = s
				}
				i++
			}
		}
		return found != nil
	})
	return found
}

func childOf(t *testing.T, child, parent sdk.ReadOnlySpan) {
	t.Helper()
	if child.Parent().SpanID() != parent.SpanContext().SpanID() || child.SpanContext().TraceID() != parent.SpanContext().TraceID() {
		t.Errorf("%s is no child of %s", child.Name(), parent.Name())
	}
}

func attributes(s sdk.ReadOnlySpan) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes() {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

// A call is followed through the loop into the work that is done for it.
func TestSpansFollowTheCall(t *testing.T) {
	r := newRig(t)
	r.stop()
	spans := traced(r)
	r.open()
	_, m := r.put("a.car", 1, 20)
	ctx, root := r.cfg.Traces.Tracer("test").Start(r.ctx(), "request")
	if err := r.store.Register(ctx, "a", m, &RegisterOptions{Lazy: true}); err != nil {
		t.Fatal(err)
	}
	a, err := r.store.Acquire(ctx, "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	root.End()
	request := r.span(spans, "request", 0)
	acquire := r.span(spans, "dagstore.acquire", 0)
	index := r.span(spans, "dagstore.index", 0)
	childOf(t, r.span(spans, "dagstore.register", 0), request)
	childOf(t, acquire, request)
	childOf(t, index, acquire)
	childOf(t, r.span(spans, "dagstore.fetch", 0), index)
	childOf(t, r.span(spans, "dagstore.open", 0), acquire)
	if have := attributes(index); have["dagstore.key"] != "a" || have["dagstore.url"] != m.URL() {
		t.Errorf("index has %v", have)
	}
	if index.Status().Code == codes.Error || acquire.Status().Code == codes.Error {
		t.Error("what succeeded has failed")
	}
	if _, err := r.store.Acquire(ctx, "b", nil); !errors.Is(err, shard.ErrUnknown) {
		t.Fatal(err)
	}
	failed := r.span(spans, "dagstore.acquire", 1)
	if failed.Status().Code != codes.Error || len(failed.Events()) != 1 {
		t.Errorf("a failed call has status %v and %d events", failed.Status(), len(failed.Events()))
	}
}

// Work goes on when its caller has left, and so does its span; who joins it
// later is linked.
func TestSpansOutliveTheirCallers(t *testing.T) {
	r := newRig(t)
	r.stop()
	h := newHang(nil)
	spans := traced(r)
	r.mounts(h.wrap)
	h.on.Store(false)
	r.open()
	_, m := r.put("a.car", 1, 20)
	r.register("a", m, &RegisterOptions{Lazy: true})
	h.on.Store(true)
	ctx, leave := context.WithCancel(r.ctx())
	first := make(chan error, 1)
	go func() {
		_, err := r.store.Acquire(ctx, "a", nil)
		first <- err
	}()
	soon(r, "work", h.entered)
	later, cancel := context.WithTimeout(r.ctx(), time.Minute)
	defer cancel()
	second := make(chan error, 1)
	go func() { second <- r.store.Recover(later, "a", nil) }()
	r.until("the second one waits", func() bool { return len(spans.Started()) == 5 }) // register, acquire, index, fetch, recover
	leave()
	if err := soon(r, "first", first); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	acquire := r.span(spans, "dagstore.acquire", 0)
	if acquire.Status().Code != codes.Error {
		t.Error("a call that was left has no error")
	}
	// The second call has been heard of once the loop has answered another.
	r.until("the second one has joined", func() bool {
		r.info("a")
		for _, s := range spans.Started() {
			if s.Name() == "dagstore.index" && len(s.Links()) == 1 {
				return true
			}
		}
		return false
	})
	r.stop() // cuts the work
	<-second
	index := r.span(spans, "dagstore.index", 0)
	childOf(t, index, acquire)
	recovering := r.span(spans, "dagstore.recover", 0)
	if l := index.Links(); len(l) != 1 || l[0].SpanContext.SpanID() != recovering.SpanContext().SpanID() {
		t.Errorf("index has links %v", l)
	}
	for _, s := range spans.Started() {
		if s.IsRecording() {
			t.Errorf("%s never ends", s.Name())
		}
	}
}

// secretive is a mount whose URL has a query, and whose errors show it.
type secretive struct{ mount.Mount }

func (s secretive) URL() string { return "mem:/a.car?signature=secret" }
func (s secretive) Stat(context.Context) (mount.Stat, error) {
	return mount.Stat{}, errors.New(`Get "mem:/a.car?signature=secret": refused`)
}

func TestSpansHoldNoQuery(t *testing.T) {
	r := newRig(t)
	r.stop()
	spans := traced(r)
	r.cfg.Mounts["mem"] = func(string) (mount.Mount, error) { return secretive{}, nil }
	r.open()
	if err := r.store.Register(r.ctx(), "a", secretive{}, nil); !errors.Is(err, shard.ErrSource) {
		t.Fatal(err)
	}
	for _, name := range []string{"dagstore.register", "dagstore.index", "dagstore.fetch"} {
		s := r.span(spans, name, 0)
		text := s.Status().Description
		for _, v := range attributes(s) {
			text += v
		}
		for _, e := range s.Events() {
			for _, a := range e.Attributes {
				text += a.Value.String()
			}
		}
		if strings.Contains(text, "secret") || !strings.Contains(text, "refused") {
			t.Errorf("%s says %s", name, text)
		}
	}
}

// Spans of a store without a tracer are those of nobody.
func TestNoTracerNoSpans(t *testing.T) {
	if (&Config{}).tracer() != nil {
		t.Error("there is a tracer without a provider")
	}
}
