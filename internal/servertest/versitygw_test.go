package servertest

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// A request that nobody has signed is refused as S3 refuses it.
func TestVersityGW(t *testing.T) {
	s := VersityGW(t)
	resp, err := http.Get(s.Endpoint + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "<Code>AccessDenied</Code>") {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	s.Put(t, "/cars", nil)
	if etag := s.Put(t, "/cars/a b+%.car", []byte("a")).Get("ETag"); etag == "" {
		t.Error("what was put has no ETag")
	}
	if _, err := s.Do(http.MethodHead, "/cars/a b+%.car", "", nil); err != nil {
		t.Error(err)
	}
	if _, err := s.Do(http.MethodGet, "/cars/absent", "", nil); err == nil || !strings.Contains(err.Error(), "NoSuchKey") {
		t.Errorf("what is absent gives %v", err)
	}
}
