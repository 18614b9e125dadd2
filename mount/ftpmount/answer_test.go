package ftpmount_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/ftpmount"
)

// puppet is a server that gives prepared answers: first a greeting, then the
// answer to what a command begins with, or else the next one of answers.
type puppet struct {
	net.Listener
	byCommand   map[string]string
	answers     []string
	hangUpAfter string // this answer; "": none
}

func newPuppet(t testing.TB, byCommand map[string]string, answers ...string) *puppet {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &puppet{Listener: l, byCommand: byCommand, answers: answers}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(conn)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return p
}

func (p *puppet) serve(conn net.Conn) {
	defer conn.Close()
	_, err := io.WriteString(conn, "220 hello\r\n")
	lines := bufio.NewScanner(conn)
	for next := 0; err == nil && lines.Scan(); {
		command, _, _ := strings.Cut(lines.Text(), " ")
		answer, ok := p.byCommand[command]
		if !ok {
			if next == len(p.answers) {
				return
			}
			answer = p.answers[next]
			next++
		}
		_, err = io.WriteString(conn, answer)
		if p.hangUpAfter != "" && answer == p.hangUpAfter {
			return
		}
	}
}

// good is what a server says until a file is asked for.
func good(more map[string]string) map[string]string {
	all := map[string]string{
		"USER": "331 and\r\n", "PASS": "230 welcome\r\n", "FEAT": "211-\r\n MLST\r\n MDTM\r\n211 end\r\n", "TYPE": "200 ok\r\n", "NOOP": "200 ok\r\n",
		"MLST": "250-\r\n Type=file;Size=5;Modify=20200101000000; x\r\n250 end\r\n",
	}
	for command, answer := range more {
		all[command] = answer
	}
	return all
}

func puppetMount(t testing.TB, p *puppet) mount.Mount {
	t.Helper()
	c := ftpmount.New(ftpmount.Config{StallTime: late})
	t.Cleanup(func() { c.Close() })
	m, err := c.Open("ftp://" + p.Addr().String() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What a server answers against all rules is an error, and nothing that it says
// is shown.
func TestAnswers(t *testing.T) {
	for name, more := range map[string]map[string]string{
		"PASV inside out":  {"EPSV": "500 no\r\n", "PASV": "227 )marker(\r\n"},
		"PASV short":       {"EPSV": "500 no\r\n", "PASV": "227 (1,2,3,marker)\r\n"},
		"PASV of words":    {"EPSV": "500 no\r\n", "PASV": "227 (1,2,3,4,marker,6)\r\n"},
		"EPSV of words":    {"EPSV": "229 (|||marker|)\r\n", "PASV": "500 no\r\n"},
		"port too high":    {"EPSV": "229 (|||99999|)\r\n"},
		"RETR refused":     {"RETR": "450 marker\r\n"},
		"login refused":    {"PASS": "530 marker\r\n"},
		"USER in words":    {"USER": "999 marker\r\n"},
		"UTF8 refused":     {"FEAT": "211-\r\n UTF8\r\n211 end\r\n", "OPTS": "599 marker\r\n"},
		"SIZE of words":    {"MLST": "500 no\r\n", "SIZE": "213 marker\r\n"},
		"SIZE below zero":  {"MLST": "500 no\r\n", "SIZE": "213 -1\r\n", "MDTM": "213 marker\r\n", "RETR": "550 marker\r\n"},
		"no code":          {"MLST": "marker\r\n"},
		"MLST of nothing":  {"MLST": "250-marker\r\n;  ;\r\n250 end\r\n", "SIZE": "550 marker\r\n"},
		"closes the line":  {"MLST": "421 marker\r\n"},
		"the wrong answer": {"MLST": "226 marker\r\n", "SIZE": "226 marker\r\n"},
	} {
		m := puppetMount(t, newPuppet(t, good(more)))
		within(t, name, func() {
			_, err := read(t.Context(), m)
			if err == nil || strings.Contains(err.Error(), "marker") || errors.Is(err, mount.ErrBusy) != (name == "closes the line") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Half of an answer is none, however much it looks like one.
func TestCutAnswers(t *testing.T) {
	for name, more := range map[string]map[string]string{
		"SIZE": {"MLST": "500 no\r\n", "FEAT": "211-\r\n SIZE\r\n211 end\r\n", "SIZE": "213 12", "MDTM": "500 no\r\n"},
		"MLST": {"MLST": "250-\r\n Type=file;Size=5;Modify=20200101000000; x\r\n250 "},
	} {
		all := good(more)
		all["EPSV"] = "500 no\r\n"
		p := newPuppet(t, all)
		p.hangUpAfter = more[name]
		m := puppetMount(t, p)
		within(t, name, func() {
			if st, err := m.Stat(t.Context()); err == nil {
				t.Errorf("%s: %+v", name, st)
			}
		})
	}
}

// dataPort is where five bytes come from, for as often as somebody asks.
func dataPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "bytes")
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// A server that has more to say of a transfer that was left early is not taken
// at the word of another answer.
func TestMoreToSay(t *testing.T) {
	port := dataPort(t)
	m := puppetMount(t, newPuppet(t, good(map[string]string{
		"EPSV": "229 (|||" + port + "|)\r\n", "RETR": "150 here\r\n426 cut\r\n250-\r\n Type=file;Size=77;Modify=20200101000000; x\r\n250 end\r\n",
	})))
	for range 3 {
		body, err := mount.OpenRange(t.Context(), m, mount.Range{Length: 2})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != "by" {
			t.Errorf("%q, %v", got, err)
		}
		body.Close()
		if st, err := m.Stat(t.Context()); err != nil || st.Size != 5 {
			t.Errorf("%+v, %v", st, err)
		}
	}
}

// A server without REST, SIZE or MDTM is what it is.
func TestPoorServers(t *testing.T) {
	port := dataPort(t)
	transfer := map[string]string{"EPSV": "229 (|||" + port + "|)\r\n", "RETR": "150 here\r\n226 done\r\n"}
	with := func(more map[string]string) mount.Mount {
		all := good(transfer)
		for command, answer := range more {
			all[command] = answer
		}
		return puppetMount(t, newPuppet(t, all))
	}

	m := with(map[string]string{"REST": "502 no\r\n"})
	if st, err := m.Stat(t.Context()); err != nil || !st.Ranges {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := mount.OpenRange(t.Context(), m, mount.Range{Offset: 1, Length: 2}); !errors.Is(err, mount.ErrNoRanges) {
		t.Errorf("without REST: %v", err)
	}
	if st, err := m.Stat(t.Context()); err != nil || st.Ranges {
		t.Errorf("once it is known: %+v, %v", st, err)
	}
	if got, err := read(t.Context(), m); err != nil || string(got) != "bytes" {
		t.Errorf("%q, %v", got, err)
	}

	m = with(map[string]string{"MLST": "500 no\r\n", "SIZE": "500 no\r\n", "MDTM": "500 no\r\n"})
	if st, err := m.Stat(t.Context()); err != nil || st.Ranges || st.Size != -1 || st.Version != "" {
		t.Errorf("%+v, %v", st, err)
	}
	if got, err := read(t.Context(), m); err != nil || string(got) != "bytes" {
		t.Errorf("%q, %v", got, err)
	}
	// Then only the server can say that this was all.
	m = with(map[string]string{"MLST": "500 no\r\n", "SIZE": "500 no\r\n", "MDTM": "500 no\r\n", "RETR": "150 here\r\n426 cut\r\n"})
	if got, err := read(t.Context(), m); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", got, err)
	}
	// And a size that is known is held against what comes.
	m = with(map[string]string{"MLST": "250-\r\n Type=file;Size=6;Modify=20200101000000; x\r\n250 end\r\n"})
	if got, err := read(t.Context(), m); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzAnswers lets a server answer anything to everything.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte("331 a\r\n\x00230 b\r\n\x00211-\r\n MLST\r\n211 e\r\n\x00200 t\r\n\x00250-\r\n Type=file;Size=5;Modify=20200101000000; x\r\n250 e\r\n\x00229 (|||1|)\r\n\x00150 x\r\n"))
	f.Add([]byte("230 b\r\n\x00500 n\r\n\x00200 t\r\n\x00213 5\r\n\x00500 n\r\n\x00227 )(\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var answers []string
		for _, a := range bytes.Split(data, []byte{0}) {
			answers = append(answers, string(a))
		}
		p := newPuppet(t, nil, answers...)
		c := ftpmount.New(ftpmount.Config{StallTime: 20 * time.Millisecond, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != p.Addr().String() {
				return nil, mount.ErrDenied // data of nobody knows whom
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}})
		defer c.Close()
		m, err := c.Open("ftp://" + p.Addr().String() + "/x")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := read(t.Context(), m); err == nil && len(got) > 0 {
			t.Fatal("bytes out of nothing")
		}
	})
}
