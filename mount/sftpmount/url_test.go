package sftpmount_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/sftpmount"
)

func opener(t testing.TB) mount.Registry {
	c := sftpmount.New(sftpmount.Config{})
	t.Cleanup(func() { c.Close() })
	return mount.Registry{"sftp": c.Open}
}

func TestURL(t *testing.T) {
	reg := opener(t)
	for url, want := range map[string]string{
		"sftp://Host/x.car":           "sftp://host/x.car",
		"SFTP://host:22/x.car":        "sftp://host/x.car",
		"sftp://host:0022/x%2ecar":    "sftp://host/x.car",
		"sftp://host/~/x.car":         "sftp://host/~/x.car",
		"sftp://[::1]:2121/a%20b":     "sftp://[::1]:2121/a%20b",
		"sftp://[0:0:0:0:0:0:0:1]/x":  "sftp://[::1]/x",
		"sftp://host/a%ff#bytes=1-2":  "sftp://host/a%FF#bytes=1-2",
		"sftp://host/":                "",
		"sftp://host//srv/x.car":      "",
		"sftp://host/..":              "",
		"sftp://host/a/../b":          "",
		"sftp://host/a/":              "",
		"sftp://host":                 "",
		"sftp:host/x":                 "",
		"sftp:///x":                   "",
		"sftp://host:/x":              "",
		"sftp://host:0/x":             "",
		"sftp://host:65536/x":         "",
		"sftp://[host]/x":             "",
		"sftp://[::1/x":               "",
		"sftp://[127.0.0.1]/x":        "",
		"sftp://::1/x":                "",
		"sftp://ho%73t/x":             "",
		"sftp://hö/x":                 "",
		"sftp://host/a%00":            "",
		"sftp://host/a%2Fb":           "",
		"sftp://host/a?token=secret":  "",
		"sftp://host?token=secret/x":  "",
		"sftp://ann:secret@host/x":    "",
		"sftp://ann@host/secret":      "",
		"sftp://secret\\host/x":       "",
		"sftp://host/secret%zz":       "",
		"sftp://host;fingerprint=x/x": "",
	} {
		m, err := reg.Open(url)
		switch {
		case want == "" && (!errors.Is(err, mount.ErrURL) || strings.Contains(err.Error(), "secret")):
			t.Errorf("%s gives %v, %v", url, m, err)
		case want != "" && err != nil:
			t.Errorf("%s: %v", url, err)
		case want != "" && m.URL() != want:
			t.Errorf("%s is spelt %s, not %s", url, m.URL(), want)
		}
	}
	if _, err := reg.Open("sftp://ann@host/x"); !strings.Contains(err.Error(), "[credentials.NAME]") {
		t.Errorf("it does not say where a user belongs: %v", err)
	}
}

func FuzzURL(f *testing.F) {
	f.Add("sftp://host:2121/srv/a%20b")
	f.Add("sftp://[::1]/x")
	f.Fuzz(func(t *testing.T, url string) {
		reg := opener(t)
		m, err := reg.Open(url)
		if err != nil {
			return
		}
		again, err := reg.Open(m.URL())
		if err != nil || again.URL() != m.URL() {
			t.Fatalf("%q is spelt %q, which opens as %v, %v", url, m.URL(), again, err)
		}
	})
}
