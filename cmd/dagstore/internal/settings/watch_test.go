package settings

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const watched = `
[[watch]]
path = "incoming"
every = "2m"
include = ["*.car", "*.CAR"]
prefix = "in/"
replace = true
pin = true
labels = { from = "incoming" }
[[watch]]
url = "s3://cars/in/"
serve = "copy"
index = "sample"
lazy = true
`

func TestWatch(t *testing.T) {
	path := write(t, "config.toml", watched, 0o644)
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Watch{
		{Path: filepath.Join(filepath.Dir(path), "incoming"), Every: Span(2 * time.Minute), Include: []string{"*.car", "*.CAR"},
			Prefix: "in/", Replace: true, Pin: true, Labels: map[string]string{"from": "incoming"}},
		{URL: "s3://cars/in/", Serve: "copy", Index: "sample", Lazy: true},
	}
	if !reflect.DeepEqual(got.Watch, want) {
		t.Errorf("got %+v, want %+v", got.Watch, want)
	}
	for text, want := range map[string]string{
		"[[watch]]": "[[watch]] 1: it has either a path or a url",
		"[[watch]]\npath=\"a\"\n[[watch]]\npath=\"b\"\nurl=\"c\"": "[[watch]] 2: it has either",
		"[[watch]]\npath=\"a\"\nevery=\"soon\"":                   "is no time, such as 90s",
		"[[watch]]\npath=\"a\"\nevery=\"1ms\"":                    "the least is 1 s",
		"[[watch]]\npath=\"a\"\nlazy=true\nverify=true":           "choose one",
		"[[watch]]\npath=\"a\"\nverify=true\nindex=\"adopt\"":     "leave out index",
		"[[watch]]\npath=\"a\"\ninclude=[\"[\"]":                  "syntax error in pattern",
	} {
		if _, err := parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
