package admin

import (
	"net/http"
	"strings"
	"testing"
)

// TestTurnedAway: who is not let in with what would have had an effect leaves a line
// in the log, and no secret.
func TestTurnedAway(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		ask    ask
		status int
		line   string
	}{
		{ask{method: "POST", path: "/gc", token: "dags_WRONG"}, http.StatusUnauthorized, "path=/api/v1/gc"},
		{ask{method: "DELETE", path: "/shards/evil", token: r.tokens["owner"], header: map[string]string{"Origin": "http://evil.example"}}, http.StatusForbidden, "result=cross-origin"},
		{ask{method: "POST", path: "/links", token: r.tokens["owner"], host: "evil.example"}, http.StatusMisdirectedRequest, "result=foreign-host"},
	} {
		if response, text := r.do(r.tcp, c.ask); response.StatusCode != c.status {
			t.Errorf("%+v: %d, %s", c.ask, response.StatusCode, text)
		}
		if log := r.log.String(); !strings.Contains(log, c.line) {
			t.Errorf("the log lacks %q: %s", c.line, log)
		}
	}
	before := r.log.String()
	r.do(r.tcp, ask{method: "GET", path: "/stats", token: "dags_WRONG"})
	if log := r.log.String(); log != before || strings.Contains(log, "WRONG") || strings.Contains(log, r.tokens["owner"]) {
		t.Errorf("the log has too much: %s", log)
	}
}
