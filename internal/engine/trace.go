package engine

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/dagstore/dagstore/shard"
)

// A span of work is a child of that of its first caller, also when the work
// outlives the call, and is linked to those of the callers who join it. No
// span is started without a tracer.

// maxLinks is how many callers a span of work is linked to: there may be
// thousands of them.
const maxLinks = 32

// A lineage is the spans of those for whom work is done, and that of the work.
type lineage struct {
	parent trace.SpanContext
	links  []trace.Link // of callers who came before the work began
	linked int
	span   trace.Span // once the work has begun
}

// descend sets the first caller.
func (l *lineage) descend(c *Call) {
	if c != nil && c.span != nil {
		l.parent = c.span.SpanContext()
	}
}

// join links a later caller.
func (l *lineage) join(c *Call) {
	if c.span == nil || l.linked == maxLinks {
		return
	}
	link := trace.Link{SpanContext: c.span.SpanContext()}
	if link.SpanContext.Equal(l.parent) {
		return
	}
	l.linked++
	if l.span != nil {
		l.span.AddLink(link)
	} else {
		l.links = append(l.links, link)
	}
}

// begin starts the span of work, and returns the context for it.
func (l *lineage) begin(ctx context.Context, tracer trace.Tracer, name string, key shard.Key, url string) context.Context {
	if tracer == nil {
		return ctx
	}
	ctx, l.span = tracer.Start(trace.ContextWithSpanContext(ctx, l.parent), name,
		trace.WithLinks(l.links...),
		trace.WithAttributes(attribute.String("dagstore.key", string(key)), attribute.String("dagstore.url", withoutQuery(url))))
	l.links = nil
	return ctx
}

// end ends the span of work, if it has one.
func (l *lineage) end(err error) {
	if l.span != nil {
		endSpan(l.span, err)
	}
}

// endSpan ends a span as err says.
func endSpan(span trace.Span, err error) {
	if err != nil {
		text := withoutQueries(err.Error())
		span.RecordError(errors.New(text))
		span.SetStatus(codes.Error, text)
	}
	span.End()
}

// trace starts the span of a call.
func (e *Engine) trace(c *Call) {
	if e.cfg.Tracer == nil {
		return
	}
	_, c.span = e.cfg.Tracer.Start(c.ctx, "dagstore."+string(c.op), trace.WithAttributes(attribute.String("dagstore.key", string(c.key))))
}

// ancestor is the first of those who wait for work on en that begins now, for
// c or for those who wait already.
func (en *entry) ancestor(c *Call) *Call {
	for _, p := range []place{inParked, inWatchers} {
		if c == nil {
			c = en.waiting[p].first
		}
	}
	return c
}

// fetching starts the span of reaching a source, and returns what ends it, once.
func (e *Engine) fetching(ctx context.Context) (end func(error)) {
	if e.cfg.Tracer == nil {
		return func(error) {}
	}
	_, span := e.cfg.Tracer.Start(ctx, "dagstore.fetch")
	return func(err error) {
		if span.IsRecording() {
			endSpan(span, err)
		}
	}
}

// withoutQuery is url without its query and fragment, which may hold a
// signature.
func withoutQuery(url string) string {
	if i := strings.IndexAny(url, "?#"); i >= 0 {
		return url[:i]
	}
	return url
}

// withoutQueries is text without the queries of the URLs in it.
func withoutQueries(text string) string {
	if !strings.Contains(text, "?") {
		return text
	}
	var b strings.Builder
	for text != "" {
		n := strings.IndexAny(text, " \t\n\"'<>")
		if n < 0 {
			n = len(text)
		}
		word := text[:n]
		if strings.Contains(word, ":/") {
			word = withoutQuery(word)
		}
		b.WriteString(word)
		if n < len(text) {
			b.WriteByte(text[n])
			n++
		}
		text = text[n:]
	}
	return b.String()
}

// spanName is what the span of the work is called.
func (w *indexing) spanName() string {
	if w.beside != nil && w.beside.op == shard.OpRemount {
		return "dagstore.compare"
	}
	return "dagstore.index"
}
