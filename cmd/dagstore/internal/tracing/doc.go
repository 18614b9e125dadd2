// Package tracing sends spans where the environment says, in the words of
// OpenTelemetry: OTEL_EXPORTER_OTLP_ENDPOINT (or _TRACES_ENDPOINT) is the
// collector, which is spoken to by OTLP over HTTP; OTEL_TRACES_SAMPLER says how
// many traces are kept, OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES what
// they are said to come from. Without any of these nothing is traced, and
// nothing is sent anywhere.
package tracing
