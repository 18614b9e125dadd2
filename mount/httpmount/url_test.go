package httpmount_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/httpmount"
)

func TestCanonicalURL(t *testing.T) {
	web := client(t, nil)
	for in, want := range map[string]string{
		"http://example.org":                        "http://example.org/",
		"HTTP://EXAMPLE.org:80/A.car":               "http://example.org/A.car",
		"https://example.org:443/a":                 "https://example.org/a",
		"https://example.org:80/a":                  "https://example.org:80/a",
		"http://example.org:0080/a":                 "http://example.org/a",
		"http://example.org:/a":                     "http://example.org/a",
		"http://example.org./a":                     "http://example.org/a",
		"http://example.org:8080":                   "http://example.org:8080/",
		"http://my_nas/a":                           "http://my_nas/a",
		"http://127.0.0.1:8080/a":                   "http://127.0.0.1:8080/a",
		"http://127.0.0.1./a":                       "http://127.0.0.1/a",
		"http://[::1]:8080/a":                       "http://[::1]:8080/a",
		"http://[0:0:0:0:0:0:0:1]/a":                "http://[::1]/a",
		"http://[2001:DB8::0:1]:80/a":               "http://[2001:db8::1]/a",
		"http://[::ffff:192.168.1.1]/a":             "http://192.168.1.1/a",
		"http://xn--bcher-kva.example/a":            "http://xn--bcher-kva.example/a",
		"http://h/%41%2d%7e%2E":                     "http://h/A-~.",
		"http://h/a%2fb/%2F":                        "http://h/a%2Fb/%2F",
		"http://h/a b/é/\"<>\\^`{|}":                "http://h/a%20b/%C3%A9/%22%3C%3E%5C%5E%60%7B%7C%7D",
		"http://h/!$&'()*+,;=:@[]":                  "http://h/!$&'()*+,;=:@%5B%5D",
		"http://h/%21%24%26":                        "http://h/%21%24%26",
		"http://h/%00%0a%ff":                        "http://h/%00%0A%FF",
		"http://h/a/./b/../c/":                      "http://h/a/c/",
		"http://h/a/b/..":                           "http://h/a/",
		"http://h/a/b/.":                            "http://h/a/b/",
		"http://h/../../a":                          "http://h/a",
		"http://h/%2e%2e/a/%2E/b":                   "http://h/a/b",
		"http://h//a///b":                           "http://h//a///b",
		"http://h/...":                              "http://h/...",
		"http://h?x=1":                              "http://h/?x=1",
		"http://h/a?":                               "http://h/a",
		"http://h/a?b=/c?d&e=%2f%41 #":              "",
		"http://h/a?b=/c?d&e=%2f%41 é":              "http://h/a?b=/c?d&e=%2FA%20%C3%A9",
		"http://h/a?name=photos.car&page=2":         "http://h/a?name=photos.car&page=2",
		"https://cid.example/ipfs/bafy?format=car":  "https://cid.example/ipfs/bafy?format=car",
		"https://sp.example/piece/baga6ea4seaq":     "https://sp.example/piece/baga6ea4seaq",
		"http://h/signature/token?expires=now&id=9": "http://h/signature/token?expires=now&id=9",
	} {
		m, err := web.Open(in)
		if want == "" {
			if !errors.Is(err, mount.ErrURL) {
				t.Errorf("%q gives %v", in, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q gives %v", in, err)
			continue
		}
		if got := m.URL(); got != want {
			t.Errorf("%q is spelt %q, not %q", in, got, want)
		}
	}
}

func TestURLRefused(t *testing.T) {
	web := client(t, nil)
	for _, in := range []string{
		"", "http", "http:", "http:/h/a", "http:h", "http:///a", "http://", "http://:80/a", "//h/a", "h/a", "ftp://h/a", "httpx://h/a", "file:///a", "http+unix://h/a",
		"http://h/a#b", "http://h/%", "http://h/%4", "http://h/%4g", "http://h/%+1", "http://h/?%zz", "http://h/a\nb", "http://h/\x00", "http://h\t/a", "http://h/\x7f",
		"http://h:0/a", "http://h:65536/a", "http://h:x/a", "http://h:+80/a", "http://h:-1/a", "http://h:80:90/a", "http://a..b/", "http://.a/", "http://./", "http://a../",
		"http://a b/", "http://a%2eb/", "http://a%41/", "http://h\\@b/", "http://-a/", "http://a-/", "http://a*b/", "http://bücher.example/", "http://" + strings.Repeat("a", 64) + "/",
		"http://" + strings.Repeat("a.", 127) + "a/", "http://[::1/", "http://::1/", "http://[::1]x/", "http://[127.0.0.1]/", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[]/",
		"http://h/" + strings.Repeat("a", 9000),
		// Numbers that some resolver takes for an address, and that look like something else.
		"http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://127.0.1/", "http://017700000001/", "http://0/", "http://0x/",
		"http://127.0.0.01/", "http://256.0.0.1/", "http://1.2.3/", "http://1.2.3.4.5/", "http://example.1/", "http://4294967296/", "http://[::ffff:0x7f.1]/",
		// Users.
		"http://ann@h/a", "http://ann:secret@h/a", "http://@h/a", "http://:@h/a", "http://a%40b@h/", "http://h:80@i/a", "http://ann:secret@[::1]/", "http://a@b@c/",
	} {
		m, err := web.Open(in)
		if !errors.Is(err, mount.ErrURL) {
			t.Errorf("%.80q gives %v, %v", in, m, err)
			continue
		}
		if strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "ann") {
			t.Errorf("%.80q gives %v, which repeats it", in, err)
		}
		if strings.Contains(in, "ann") && !strings.Contains(err.Error(), "[credentials.NAME]") {
			t.Errorf("%q gives %v, without the right way", in, err)
		}
	}
}

// What signs a request ends, and is a credential.
func TestPresignedRefused(t *testing.T) {
	web := client(t, nil)
	for query, name := range map[string]string{
		"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=marker-secret&X-Amz-Signature=marker-secret": "xamzalgorithm",
		"x-amz-signature=marker-secret": "signature", "X-Amz-Security-Token=marker-secret": "token", "X-Amz-Credential=marker-secret": "credential",
		"AWSAccessKeyId=marker-secret&Signature=x&Expires=1": "accesskey", "Signature=marker-secret": "signature", "sig=marker-secret": "sig", "a=b&SIG=marker-secret": "sig",
		"sv=2021&se=2026&sr=b&sp=r&sig=marker-secret": "sig", "GoogleAccessId=marker-secret": "accessid", "X-Goog-Signature=marker-secret": "signature",
		"Expires=1&Key-Pair-Id=marker-secret": "keypairid", "OSSAccessKeyId=marker-secret": "accesskey", "security-token=marker-secret": "token",
		"q-ak=marker-secret": "qak", "q-signature=marker-secret": "signature", "Authorization=marker-secret": "authorization",
		"token=marker-secret": "token", "access_token=marker-secret": "token", "ACCESS%5FTOKEN=marker-secret": "token", "%74oken=marker-secret": "token", "t%6Fken": "token",
		"a;token=marker-secret": "token", "api_key=marker-secret": "apikey", "api-key=marker-secret": "apikey", "apikey=marker-secret": "apikey", "x.api.key=marker-secret": "apikey",
		"password=marker-secret": "password", "passwd=marker-secret": "passwd", "pwd=marker-secret": "pwd", "client_secret=marker-secret": "secret", "jwt=marker-secret": "jwt",
		"id_token=marker-secret": "token", "auth=marker-secret": "auth", "bearer=marker-secret": "bearer", "session_id=marker-secret": "sessionid", "private_key=marker-secret": "privatekey",
		"a[token]=marker-secret": "token", "user%5Bpassword%5D=marker-secret": "password", "x=1?sig=marker-secret": "sig",
	} {
		m, err := web.Open("https://h/a.car?" + query)
		if !errors.Is(err, mount.ErrURL) || strings.Contains(err.Error(), "marker-secret") ||
			!strings.Contains(err.Error(), "("+name+")") || !strings.Contains(err.Error(), "[credentials.NAME]") || !strings.Contains(err.Error(), "LoadCredential") {
			t.Errorf("%q gives %v, %v", query, m, err)
		}
	}
	for _, query := range []string{"", "tokens=5", "tokenizer=x", "signal=1", "design=x", "author=ann", "passage=1", "expires=9", "key=photos.car", "compass=n", "secondary=1"} {
		if got := httpmount.SecretParameter(query); got != "" {
			t.Errorf("%q is taken for %q", query, got)
		}
	}
}

// What a server is asked for is what the URL says, byte by byte.
func TestPathIsSentAsItIs(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.RequestURI
		w.Header().Set("Accept-Ranges", "bytes") // so that nothing is asked twice
		w.Header().Set("Content-Length", "0")
	}))
	defer server.Close()
	web := client(t, nil)
	for _, target := range []string{"/", "/a", "//a//b", "/a%2Fb", "/%00%0A%FF", "/a%20b", "/!$&'()*+,;=:@", "/%21%24", "/a?b=c&d=%2F/?", "/a%3Fb%23c", "/%5B%5D", "/%25", "/%2525"} {
		m := open(t, web, server.URL+target)
		if m.URL() != server.URL+target {
			t.Errorf("%q is spelt %q", target, m.URL())
		}
		if _, err := m.Stat(t.Context()); err != nil {
			t.Errorf("%q: %v", target, err)
			continue
		}
		if got := <-asked; got != target {
			t.Errorf("%q is asked for as %q", target, got)
		}
	}
}

func TestSiblings(t *testing.T) {
	web := client(t, nil)
	beside, err := mount.OpenSibling(open(t, web, "https://h/a%2Fb.car"), ".idx")
	if err != nil || beside.URL() != "https://h/a%2Fb.car.idx" {
		t.Errorf("%v, %v", beside, err)
	}
	for _, in := range []string{"https://h/a.car?x=1", "https://h/", "https://h/a/"} {
		if beside, err := mount.OpenSibling(open(t, web, in), ".idx"); !errors.Is(err, mount.ErrNoSiblings) {
			t.Errorf("beside %s lies %v, %v", in, beside, err)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		"http://example.org/a.car", "HTTPS://[::FFFF:1.2.3.4]:443/%2e%2e/%41?b=%zz", "http://ann:secret@h/", "http://0x7f.1/", "https://h/?sig=x", "http://h/a b\\é%2f?%3f",
		"http://xn--a.:80/..//./", "http://h:1/%00%FF",
	} {
		f.Add(seed)
	}
	web, err := httpmount.New(nil)
	if err != nil {
		f.Fatal(err)
	}
	reg := registry(web)
	f.Fuzz(func(t *testing.T, in string) {
		m, err := web.Open(in)
		if err != nil {
			if !errors.Is(err, mount.ErrURL) {
				t.Fatalf("%q gives %v", in, err)
			}
			return
		}
		canonical := m.URL()
		again, err := reg.Open(canonical)
		if err != nil || again.URL() != canonical {
			t.Fatalf("%q is spelt %q, which opens as %v, %v", in, canonical, again, err)
		}
		u, err := url.Parse(canonical)
		switch {
		case err != nil:
			t.Fatalf("%q is spelt %q, which is no URL: %v", in, canonical, err)
		case u.User != nil || u.Fragment != "" || u.Hostname() == "" || u.String() != canonical:
			t.Fatalf("%q is spelt %q, which others read as %q", in, canonical, u)
		}
	})
}
