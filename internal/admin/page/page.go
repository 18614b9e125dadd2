package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var embedded embed.FS

// policy lets the page use what is served with it, and nothing else. Pictures
// may also be data: URLs, which is how the explorer shows a block that is one.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// types are those of the files by extension. What the system calls them is not
// asked: a module is not run that is called something else than it is.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// An asset is a file as it is served.
type asset struct {
	data []byte
	mime string
	etag string
}

func newAsset(name string, data []byte) *asset {
	sum := sha256.Sum256(data)
	kind, ok := types[path.Ext(name)]
	if !ok {
		kind = mime.FormatMediaType("text/plain", map[string]string{"charset": "utf-8"})
	}
	return &asset{data: data, mime: kind, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
}

// A handler serves the files by their path.
type handler map[string]*asset

// New is the handler of the page. It may be used by many goroutines. It panics
// if a file is missing in the program, which a test would have said.
func New() http.Handler {
	h := make(handler)
	err := fs.WalkDir(embedded, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		h[strings.TrimPrefix(name, "assets")] = newAsset(name, data)
		return nil
	})
	if err != nil {
		panic(err)
	}
	h["/"] = h["/index.html"]
	delete(h, "/index.html")
	for _, l := range layouts {
		name := "/lifecycle-" + l.name + ".svg"
		h[name] = newAsset(name, l.draw())
	}
	return h
}

// ServeHTTP implements [http.Handler].
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", policy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("X-Frame-Options", "DENY")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		head.Set("Allow", "GET, HEAD")
		http.Error(w, "the page is only read", http.StatusMethodNotAllowed)
		return
	}
	a, ok := h[r.URL.Path]
	if !ok {
		http.Error(w, "there is no such file; the page is at /", http.StatusNotFound)
		return
	}
	head.Set("Content-Type", a.mime)
	head.Set("ETag", a.etag)
	// Kept, and asked for anew each time: a new version of the program is never
	// shown in pieces of an old one.
	head.Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.data))
}
