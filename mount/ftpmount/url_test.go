package ftpmount_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/ftpmount"
)

func opener(t testing.TB) mount.Registry {
	c := ftpmount.New(ftpmount.Config{})
	t.Cleanup(func() { c.Close() })
	return mount.Registry{"ftp": c.Open, "ftps": c.Open, "ftpes": c.Open}
}

func TestURL(t *testing.T) {
	reg := opener(t)
	for url, want := range map[string]string{
		"ftp://Host/x.car":             "ftp://host/x.car",
		"FTP://host:21/x.car":          "ftp://host/x.car",
		"ftps://host:990/x.car":        "ftps://host/x.car",
		"ftps://host:21/x.car":         "ftps://host:21/x.car",
		"ftpes://host:0021/x%2ecar":    "ftpes://host/x.car",
		"ftp://host//srv/x.car":        "ftp://host//srv/x.car",
		"ftp://[::1]:2121/a%20b":       "ftp://[::1]:2121/a%20b",
		"ftp://[0:0:0:0:0:0:0:1]/x":    "ftp://[::1]/x",
		"ftp://127.0.0.1/x;type=i":     "ftp://127.0.0.1/x;type=i",
		"ftp://host/a%e9#bytes=1-2":    "ftp://host/a%E9#bytes=1-2",
		"ftp://xn--bcher-kva.example/": "",
		"ftp://host/..":                "",
		"ftp://host/a/../b":            "",
		"ftp://host/a//b":              "",
		"ftp://host///a":               "",
		"ftp://host/a/":                "",
		"ftp://host/.":                 "",
		"ftp://host//":                 "",
		"ftp://host":                   "",
		"ftp:host/x":                   "",
		"ftp:///x":                     "",
		"ftp://host:/x":                "",
		"ftp://host:0/x":               "",
		"ftp://host:65536/x":           "",
		"ftp://host:x/x":               "",
		"ftp://[host]/x":               "",
		"ftp://[::1/x":                 "",
		"ftp://[127.0.0.1]/x":          "",
		"ftp://::1/x":                  "",
		"ftp://ho%73t/x":               "",
		"ftp://hö/x":                   "",
		"ftp://host/a%0d%0aDELE%20b":   "",
		"ftp://host/a%00":              "",
		"ftp://host/a%ff":              "",
		"ftp://host/a%2Fb":             "",
		"ftp://host/a?token=secret":    "",
		"ftp://host?token=secret":      "",
		"ftp://ann:secret@host/x":      "",
		"ftp://ann@host/secret":        "",
		"ftp://secret\\host/x":         "",
		"ftp://host/secret%zz":         "",
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
	if _, err := reg.Open("ftp://ann:secret@host/x"); !strings.Contains(err.Error(), "[credentials.NAME]") {
		t.Errorf("it does not say where a password belongs: %v", err)
	}
}

func FuzzURL(f *testing.F) {
	f.Add("ftp://host:2121//srv/a%20b")
	f.Add("ftpes://[::1]/x")
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
