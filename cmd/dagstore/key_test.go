package main

import (
	"strings"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

func TestKeyOfPath(t *testing.T) {
	tests := []struct{ prefix, rel, want string }{
		{"", "photos.car", "photos"},
		{"", "a/b/photos.car", "a/b/photos"},
		{"p/", "photos.car", "p/photos"},
		{"p", "photos.car", "pphotos"},
		{"", "photos", "photos"},
		{"", "photos.CAR", "photos.CAR"},
		{"", "photos.car.car", "photos.car"},
		{"", ".car", ".car"},
		{"", "dir/.car", "dir/.car"},
		{"", "50%.car", "50%"},
		{"", "a b#c\n.car", "a b#c\n"},
		{"", "caf\xe9.car", "caf%E9"},
		{"", "\xff\xfe.car", "%FF%FE"},
		{"", "日本.car", "日本"},
		{"", "\uFFFD.car", "\uFFFD"}, // a real replacement character is valid
		{"", "\xe6\x97.car", "%E6%97"},
	}
	for _, test := range tests {
		got := keyOfPath(test.prefix, test.rel)
		if got != shard.Key(test.want) {
			t.Errorf("keyOfPath(%q, %q) = %q, want %q", test.prefix, test.rel, got, test.want)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("keyOfPath(%q, %q): %v", test.prefix, test.rel, err)
		}
	}
}

func TestKeyOfURL(t *testing.T) {
	tests := []struct{ url, want string }{
		{"file:///srv/photos.car", "p/photos"},
		{"file:///srv/a%20b.car", "p/a b"},
		{"file:///srv/caf%E9.car", "p/caf%E9"},
		{"https://example.org/x/y.car?token=1", "p/y"},
		{"https://example.org/x/y.car.zst", "p/y.car.zst"},
		{"zstd+https://example.org/x/y.car.zst", "p/y"},
		{"zstd+file:///srv/y.zst", "p/y"},
		{"s3://cars/a%2Fb%3Fc.car?versionId=1", "p/b?c"},
		{"https://example.org/file.bin#bytes=1-2", "p/file.bin"},
	}
	for _, test := range tests {
		got, err := keyOfURL("p/", test.url)
		if err != nil || got != shard.Key(test.want) {
			t.Errorf("keyOfURL(%q) = %q, %v, want %q", test.url, got, err, test.want)
		}
	}
	for _, url := range []string{"https://example.org", "https://example.org/", "https://example.org/%zz", "https://example.org/cars/", "zstd+s3://cars/in/"} {
		if got, err := keyOfURL("", url); err == nil {
			t.Errorf("keyOfURL(%q) = %q, want an error", url, got)
		}
	}
}

func TestShowKey(t *testing.T) {
	tests := []struct{ key, want string }{
		{"a/b c", "a/b c"},
		{"日本", "日本"},
		{"a\nb", `"a\nb"`},
		{"\x1b[31m", `"\x1b[31m"`},
		{`"a"`, `"\"a\""`},
		{" a", `" a"`},
		{"", `""`},
		{"\u202eabc", `"\u202eabc"`}, // would turn the line around
	}
	for _, test := range tests {
		if got := showKey(shard.Key(test.key)); got != test.want {
			t.Errorf("showKey(%q) = %s, want %s", test.key, got, test.want)
		}
	}
}

func FuzzKeyOfPath(f *testing.F) {
	f.Add("photos.car")
	f.Add("caf\xe9/\xff.car")
	f.Fuzz(func(t *testing.T, rel string) {
		key := keyOfPath("", rel)
		if rel == "" || len(rel) > shard.MaxKey/3 {
			return // no valid key, whatever it is made of
		}
		if err := key.Validate(); err != nil {
			t.Fatalf("path %q: %v", rel, err)
		}
		if strings.ToValidUTF8(rel, "") == rel && !strings.HasPrefix(rel, string(key)) {
			t.Fatalf("key %q is not the beginning of the path %q", key, rel)
		}
	})
}
