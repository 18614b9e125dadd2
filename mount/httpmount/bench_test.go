package httpmount_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/mount"
)

// BenchmarkReads holds reads through a mount against those of net/http alone,
// from the same nginx.
func BenchmarkReads(b *testing.B) {
	const all, some = 256 << 20, 4 << 10
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.car"), make([]byte, all), 0o600); err != nil {
		b.Fatal(err)
	}
	server := servertest.StartNginx(b, dir)
	web := client(b, nil)
	m := open(b, web, server.URL+"/a.car")
	st, err := m.Stat(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	plain := func(part string) (io.ReadCloser, error) {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+"/a.car", nil)
		if err != nil {
			return nil, err
		}
		if part != "" {
			r.Header.Set("Range", part)
		}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		return answer.Body, nil
	}
	for _, c := range []struct {
		name string
		size int64
		open func() (io.ReadCloser, error)
	}{
		{"range/mount", some, func() (io.ReadCloser, error) {
			return mount.OpenRange(b.Context(), m, mount.Range{Offset: 1 << 20, Length: some, Version: st.Version})
		}},
		{"range/plain", some, func() (io.ReadCloser, error) { return plain("bytes=1048576-1052671") }},
		{"stream/mount", all, func() (io.ReadCloser, error) { return m.Open(b.Context()) }},
		{"stream/plain", all, func() (io.ReadCloser, error) { return plain("") }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(c.size)
			b.ReportAllocs()
			buf := make([]byte, 64<<10)
			for b.Loop() {
				r, err := c.open()
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf)
				if err != nil || n != c.size {
					b.Fatalf("%d bytes, %v", n, err)
				}
				r.Close()
			}
		})
	}
}
