package tracing

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A collector is told of spans.
type collector struct {
	*httptest.Server
	spans, service []string
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL, err)
		}
		var told v1.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &told); err != nil {
			t.Error(err)
		}
		for _, of := range told.ResourceSpans {
			for _, a := range of.Resource.Attributes {
				if a.Key == "service.name" {
					c.service = append(c.service, a.Value.GetStringValue())
				}
			}
			for _, scope := range of.ScopeSpans {
				for _, s := range scope.Spans {
					c.spans = append(c.spans, s.Name)
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestSends(t *testing.T) {
	for name, service := range map[string]string{"dagstore": "", "mine": "mine"} {
		c := newCollector(t)
		// The exporter has no other way to be told.
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
		t.Setenv("OTEL_SERVICE_NAME", service)
		spans, err := New(t.Context(), env("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL), "v1", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		var provider trace.TracerProvider = spans
		_, span := provider.Tracer("x").Start(context.Background(), "acquire")
		span.End()
		if err := spans.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Join(c.spans, " ") != "acquire" || strings.Join(c.service, " ") != name {
			t.Errorf("the collector was told %q of %q, not of %s", c.spans, c.service, name)
		}
	}
}

// A collector that is away ends nothing, and is told of.
func TestCollectorAway(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
	var said bytes.Buffer
	spans, err := New(t.Context(), env("OTEL_TRACES_EXPORTER", "otlp"), "v1", slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	_, span := spans.Tracer("x").Start(context.Background(), "acquire")
	span.End()
	err = spans.Close()
	if err == nil && !strings.Contains(said.String(), "traces could not be sent") {
		t.Errorf("nothing is said: %q", said.String())
	}
}

func TestWanted(t *testing.T) {
	for _, test := range []struct {
		env    []string
		want   bool
		refuse string
	}{
		{nil, false, ""},
		{[]string{"OTEL_TRACES_EXPORTER", "none", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"}, false, ""},
		{[]string{"OTEL_SDK_DISABLED", "true", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"}, false, ""},
		{[]string{"OTEL_SDK_DISABLED", "True", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"}, false, ""},
		{[]string{"OTEL_SDK_DISABLED", "1", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"}, true, ""},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"}, true, ""},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c"}, true, ""},
		{[]string{"OTEL_TRACES_EXPORTER", "otlp"}, true, ""},
		{[]string{"OTEL_TRACES_EXPORTER", "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"}, true, ""},
		{[]string{"OTEL_TRACES_EXPORTER", "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"}, true, ""},
		{[]string{"OTEL_TRACES_EXPORTER", "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, false, "4318"},
		{[]string{"OTEL_TRACES_EXPORTER", "jaeger"}, false, "jaeger"},
	} {
		have, err := wanted(env(test.env...))
		if have != test.want || (err != nil) != (test.refuse != "") || err != nil && !strings.Contains(err.Error(), test.refuse) {
			t.Errorf("%q: %v, %v", test.env, have, err)
		}
		if spans, err := New(t.Context(), env(test.env...), "", nil); !test.want && (spans != nil || (err != nil) != (test.refuse != "")) {
			t.Errorf("%q: New: %v, %v", test.env, spans, err)
		} else if spans != nil {
			t.Cleanup(func() { _ = spans.Close() }) // it has nothing to send
		}
	}
}
