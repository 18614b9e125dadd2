package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// TestChosenModeStays: what was said of how a CAR is to be read survives all that is
// done to the shard. "auto" comes out as a copy here, since the server offers no
// ranges, and is "auto" all the same.
func TestChosenModeStays(t *testing.T) {
	data := carOf("one", "two")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if strings.HasPrefix(r.URL.Path, "/inplace/") { // which cannot be without
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(data) // who has gone needs no more of it
		}
	}))
	defer server.Close()
	for chosen, comesOut := range map[string]string{"auto": "copy", "copy": "copy", "sparse": "sparse", "inplace": "inplace"} {
		t.Run(chosen, func(t *testing.T) {
			r, url := newReading(t), server.URL+"/"+chosen
			r.must("add", "--key", "a", "--serve", chosen, url+"/a.car")
			idx := filepath.Join(t.TempDir(), "a.idx")
			steps := [][]string{
				nil,
				{"replace", "--verify", "a", url + "/b.car"},
				{"replace", "--index", "scan", "a", url + "/b.car"},
				{"replace", "a", url + "/c.car"},
				{"remount", "--check", "none", "a", url + "/d.car"},
				{"index", "export", "--key", "a", "-o", idx},
				{"index", "import", "--policy", "adopt", "a", idx},
				{"recover", "a"},
			}
			for _, step := range steps {
				if step != nil {
					r.must(step...)
				}
				var d wire.Detail
				if err := json.Unmarshal([]byte(r.must("stat", "--json", "a")), &d); err != nil {
					t.Fatal(err)
				}
				if d.Chosen != chosen {
					t.Errorf("after %q it is %q", step, d.Chosen)
				}
				if step == nil && d.Mode != comesOut {
					t.Errorf("it comes out as %q, want %q", d.Mode, comesOut)
				}
			}
			want := `"serve":"` + chosen + `"`
			if line := r.must("export"); strings.Contains(line, want) != (chosen != "auto") || strings.Contains(line, `"serve"`) != (chosen != "auto") {
				t.Errorf("the list says %s", line)
			}
		})
	}
}
