package httpmount_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/httpmount"
)

// right is what the source holds; a server that misbehaves sends wrong where
// it sends something else.
const (
	right = "0123456789abcdefghij"
	wrong = "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"
)

// A misdeed is what a server does with one request, byte by byte.
type misdeed struct {
	name   string
	do     string // "stat", "open", "range": bytes 5-14 of version "v1", "rest": all from 5 on, "sized": all of a version of 20 bytes
	answer string // the whole answer, after which the connection is closed
	write  func(w io.Writer)
	want   error
}

// part is an answer of status 206 to bytes 5-14 of version "v1".
func part(header, body string) string {
	return "HTTP/1.1 206 Partial Content\r\n" + header + "\r\n\r\n" + body
}

const goodPart = "Etag: \"v1\"\r\nContent-Range: bytes 5-14/20\r\n"

func misdeeds() []misdeed {
	return []misdeed{
		{name: "the whole where a range was asked for", do: "range", want: mount.ErrNoRanges,
			answer: "HTTP/1.1 200 OK\r\nEtag: \"v1\"\r\nContent-Length: 20\r\n\r\n" + wrong[:20]},
		{name: "the whole, which is too short for the range", do: "range", want: mount.ErrRange,
			answer: "HTTP/1.1 200 OK\r\nEtag: \"v1\"\r\nContent-Length: 10\r\n\r\n" + wrong[:10]},
		{name: "another range", do: "range", want: mount.ErrAnswer,
			answer: part("Etag: \"v1\"\r\nContent-Range: bytes 6-15/20\r\nContent-Length: 10", wrong[:10])},
		{name: "a shorter range", do: "range", want: mount.ErrAnswer,
			answer: part("Etag: \"v1\"\r\nContent-Range: bytes 5-13/20\r\nContent-Length: 9", wrong[:9])},
		{name: "a longer range", do: "range", want: mount.ErrAnswer,
			answer: part("Etag: \"v1\"\r\nContent-Range: bytes 5-15/20\r\nContent-Length: 11", wrong[:11])},
		{name: "the range as far as the source goes", do: "range", want: mount.ErrRange,
			answer: part("Etag: \"v1\"\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5", wrong[:5])},
		{name: "a part, without saying which", do: "range", want: mount.ErrAnswer, answer: part("Etag: \"v1\"\r\nContent-Length: 10", wrong[:10])},
		{name: "a range that cannot be read", do: "range", want: mount.ErrAnswer,
			answer: part("Etag: \"v1\"\r\nContent-Range: bytes five-14/20\r\nContent-Length: 10", wrong[:10])},
		{name: "a range of something else than bytes", do: "range", want: mount.ErrAnswer,
			answer: part("Etag: \"v1\"\r\nContent-Range: lines 5-14/20\r\nContent-Length: 10", wrong[:10])},
		{name: "a negative range", do: "range", want: mount.ErrAnswer,
			answer: part("Etag: \"v1\"\r\nContent-Range: bytes -5-14/20\r\nContent-Length: 10", wrong[:10])},
		{name: "a range that overflows", do: "range", want: mount.ErrAnswer,
			answer: part("Etag: \"v1\"\r\nContent-Range: bytes 18446744073709551621-14/20\r\nContent-Length: 10", wrong[:10])},
		{name: "two ranges in two headers", do: "range", want: mount.ErrAnswer,
			answer: part(goodPart+"Content-Range: bytes 0-9/20\r\nContent-Length: 10", wrong[:10])},
		{name: "a range over the end of its own source", do: "range", want: mount.ErrAnswer,
			answer: part("Etag: \"v1\"\r\nContent-Range: bytes 5-14/12\r\nContent-Length: 10", wrong[:10])},
		{name: "several ranges at once", do: "range", want: mount.ErrAnswer,
			answer: part("Etag: \"v1\"\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Length: 10", wrong[:10])},
		{name: "several ranges, and a header as for one", do: "range", want: mount.ErrAnswer,
			answer: part(goodPart+"Content-Type: Multipart/byteranges; boundary=x\r\nContent-Length: 10", wrong[:10])},
		{name: "less than the rest", do: "rest", want: mount.ErrAnswer, answer: part("Content-Range: bytes 5-14/20\r\nContent-Length: 10", wrong[:10])},
		{name: "a rest, without saying of how much", do: "rest", want: mount.ErrAnswer, answer: part("Content-Range: bytes 5-14/*\r\nContent-Length: 10", wrong[:10])},
		{name: "a body in chunks, shorter than the version is", do: "sized", want: io.ErrUnexpectedEOF,
			answer: "HTTP/1.1 200 OK\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nTransfer-Encoding: chunked\r\n\r\na\r\n" + right[:10] + "\r\n0\r\n\r\n"},
		{name: "a body in chunks, longer than the version is", do: "sized", want: mount.ErrAnswer,
			answer: "HTTP/1.1 200 OK\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n" + right + "\r\n1\r\n!\r\n0\r\n\r\n"},
		{name: "another size at the same time", do: "sized", want: mount.ErrChanged,
			answer: "HTTP/1.1 200 OK\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Length: 19\r\n\r\n" + wrong[:19]},
		{name: "another time with the same size", do: "sized", want: mount.ErrChanged,
			answer: "HTTP/1.1 200 OK\r\nLast-Modified: Tue, 14 Nov 2023 22:13:21 GMT\r\nContent-Length: 20\r\n\r\n" + wrong[:20]},
		{name: "a length that is not the range's", do: "range", want: mount.ErrAnswer, answer: part(goodPart+"Content-Length: 12", wrong[:12])},
		{name: "two lengths", do: "range", want: mount.ErrAnswer, answer: part(goodPart+"Content-Length: 10\r\nContent-Length: 11", wrong[:11])},
		{name: "a negative length", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + wrong},
		{name: "a short body", do: "range", want: io.ErrUnexpectedEOF, answer: part(goodPart+"Content-Length: 10", right[5:9])},
		{name: "a short body of a whole", do: "open", want: io.ErrUnexpectedEOF, answer: "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + right[:19]},
		{name: "a body in chunks that ends early", do: "range", want: io.ErrUnexpectedEOF,
			answer: part(goodPart+"Transfer-Encoding: chunked", "4\r\n"+right[5:9]+"\r\n0\r\n\r\n")},
		{name: "a body in chunks that breaks off", do: "open", want: io.ErrUnexpectedEOF,
			answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n" + right[:4] + "\r\n"},
		{name: "chunks that are none", do: "open", want: io.ErrUnexpectedEOF,
			answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n" + right[:4] + "\r\nwrong\r\n"},
		{name: "a body longer than its range", do: "range", want: mount.ErrAnswer,
			answer: part(goodPart+"Transfer-Encoding: chunked", "a\r\n"+right[5:15]+"\r\n5\r\n!!!!!\r\n0\r\n\r\n")},
		{name: "a body that ends with the connection", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.0 200 OK\r\n\r\n" + wrong},
		{name: "gzip that nobody asked for", do: "range", want: mount.ErrAnswer, answer: part(goodPart+"Content-Encoding: gzip\r\nContent-Length: 10", wrong[:10])},
		{name: "gzip of a whole", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.1 200 OK\r\nContent-Encoding: GZip\r\nContent-Length: 10\r\n\r\n" + wrong[:10]},
		{name: "gzip, seen by Stat", do: "stat", want: mount.ErrAnswer, answer: "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n"},
		{name: "gzip in transfer", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + wrong},
		{name: "another ETag", do: "range", want: mount.ErrChanged, answer: part("Etag: \"v2\"\r\nContent-Range: bytes 5-14/20\r\nContent-Length: 10", wrong[:10])},
		{name: "no ETag any more", do: "range", want: mount.ErrChanged, answer: part("Content-Range: bytes 5-14/20\r\nContent-Length: 10", wrong[:10])},
		{name: "the ETag, but weak", do: "range", want: mount.ErrChanged, answer: part("Etag: W/\"v1\"\r\nContent-Range: bytes 5-14/20\r\nContent-Length: 10", wrong[:10])},
		{name: "the whole of another version", do: "range", want: mount.ErrChanged, answer: "HTTP/1.1 200 OK\r\nEtag: \"v2\"\r\nContent-Length: 20\r\n\r\n" + wrong[:20]},
		{name: "412", do: "range", want: mount.ErrChanged, answer: "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n"},
		{name: "416", do: "range", want: mount.ErrRange, answer: "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */3\r\nContent-Length: 0\r\n\r\n"},
		{name: "404", do: "open", want: fs.ErrNotExist, answer: "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"},
		{name: "410", do: "stat", want: fs.ErrNotExist, answer: "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"},
		{name: "401", do: "stat", want: fs.ErrPermission, answer: "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"},
		{name: "403", do: "stat", want: fs.ErrPermission, answer: "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"},
		{name: "429", do: "range", want: mount.ErrBusy, answer: "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"},
		{name: "503", do: "stat", want: mount.ErrBusy, answer: "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"},
		{name: "a part to who asked for the whole", do: "open", want: mount.ErrAnswer, answer: part("Content-Range: bytes 0-4/20\r\nContent-Length: 5", wrong[:5])},
		{name: "204", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.1 204 No Content\r\n\r\n"},
		{name: "304", do: "range", want: mount.ErrAnswer, answer: "HTTP/1.1 304 Not Modified\r\nEtag: \"v1\"\r\n\r\n"},
		{name: "a redirect to nowhere", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"},
		{name: "a redirect to no URL", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n"},
		{name: "a redirect to itself", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.1 302 Found\r\nLocation: ?\r\nContent-Length: 0\r\n\r\n"},
		{name: "something else than HTTP", do: "open", want: mount.ErrAnswer, answer: "220 smtp.example.org ESMTP\r\n"},
		{name: "no answer", do: "open", want: io.ErrUnexpectedEOF, answer: ""},
		{name: "half a header", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.1 200 OK\r\nEta"},
		{name: "an endless header", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.1 200 OK\r\n", write: endless("X-Header: aaaaaaaaaaaaaaaaaaaaaaaaa\r\n")},
		{name: "an endless line in a header", do: "open", want: mount.ErrAnswer, answer: "HTTP/1.1 200 OK\r\nX-Header: ", write: endless("aaaaaaaaaaaaaaaaaaaaaaaaaaa")},
		{name: "answers without end before the answer", do: "open", want: mount.ErrAnswer, write: endless("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")},
		{name: "an endless body", do: "open", want: mount.ErrDenied, answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", write: endless("14\r\n" + right + "\r\n")},
		{name: "an endless body of a range", do: "range", want: mount.ErrAnswer,
			answer: part(goodPart+"Transfer-Encoding: chunked", "a\r\n"+right[5:15]+"\r\n"), write: endless("a\r\n" + wrong[:10] + "\r\n")},
		{name: "a body larger than what is allowed", do: "open", want: mount.ErrDenied, answer: "HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n" + wrong},
		{name: "a range of a source that is too large", do: "range", want: mount.ErrDenied,
			answer: part("Etag: \"v1\"\r\nContent-Range: bytes 5-14/9000000000\r\nContent-Length: 10", wrong[:10])},
	}
}

// endless writes s until nobody reads any more, but not for ever.
func endless(s string) func(io.Writer) {
	return func(w io.Writer) {
		chunk := strings.Repeat(s, 1+4096/len(s))
		for sent := 0; sent < 64<<20; sent += len(chunk) {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}
}

// hijacked serves raw bytes: what answer writes, after which the connection is
// closed.
func hijacked(t testing.TB, answer func(w io.Writer, r *http.Request)) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		out := bufio.NewWriter(conn)
		answer(out, r)
		out.Flush()
	}))
	t.Cleanup(server.Close)
	return server
}

// do reads all that there is, and returns it with the error that came.
func do(ctx context.Context, m mount.Mount, what string) (string, error) {
	switch what {
	case "stat":
		_, err := m.Stat(ctx)
		return "", err
	case "open":
		return read(m.Open(ctx))
	}
	r := mount.Range{Offset: 5, Length: 10, Version: `"v1"`}
	switch what {
	case "rest":
		r = mount.Range{Offset: 5, Length: -1}
	case "sized":
		r = mount.Range{Length: -1, Version: "modified=2023-11-14T22:13:20Z;size=20"}
	}
	return read(mount.OpenRange(ctx, m, r))
}

func TestMisbehaving(t *testing.T) {
	all := misdeeds()
	if len(all) < 25 {
		t.Fatalf("only %d misdeeds", len(all))
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			server := hijacked(t, func(w io.Writer, r *http.Request) {
				io.WriteString(w, c.answer)
				if c.write != nil {
					c.write(w)
				}
			})
			web := client(t, &httpmount.Config{Largest: 1 << 20})
			got, err := do(t.Context(), open(t, web, server.URL+"/photos.car"), c.do)
			if !errors.Is(err, c.want) {
				t.Errorf("it gives %v, not %v", err, c.want)
			}
			if strings.Contains(got, "!") {
				t.Errorf("it gives out %q", got)
			}
		})
	}
}

// An error repeats nothing of an answer that is none: it may be what the server
// was shown, and of any length.
func TestAnswersAreNotRepeated(t *testing.T) {
	for name, answer := range map[string]string{
		"a line":       "%s\r\n",
		"a status":     "HTTP/1.1 %s\r\n\r\n",
		"a version":    "HTTP/%s 200 OK\r\n\r\n",
		"a header":     "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"a length":     "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"an encoding":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"a long chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
	} {
		for _, times := range []int{1, 1000} {
			server := hijacked(t, func(w io.Writer, r *http.Request) {
				fmt.Fprintf(w, answer, strings.Repeat(r.Header.Get("Authorization"), times))
			})
			web := client(t, &httpmount.Config{Credentials: []httpmount.Credential{{Hosts: []string{host(server)}, Bearer: marker, PlainHTTP: true}}})
			_, err := do(t.Context(), open(t, web, server.URL), "open")
			if err == nil || strings.Contains(err.Error(), marker) || len(err.Error()) > 400 {
				t.Errorf("%s, %d times: %.400v", name, times, err)
			}
		}
	}
}

// A header without end is not read to its end, if it has one.
func TestHeadersAreBounded(t *testing.T) {
	var sent atomic.Int64
	server := hijacked(t, func(w io.Writer, _ *http.Request) {
		io.WriteString(w, "HTTP/1.1 200 OK\r\n")
		for range 64 << 10 {
			n, err := io.WriteString(w, "X-Header: "+strings.Repeat("a", 1000)+"\r\n")
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	_, err := open(t, client(t, nil), server.URL).Stat(t.Context())
	server.Close() // waits for the handler
	// Buffers of the system lie between the two.
	if !errors.Is(err, mount.ErrAnswer) || sent.Load() > 8<<20 {
		t.Errorf("of a header of 64 MiB %d bytes were sent: %v", sent.Load(), err)
	}
}

// What HEAD does not say, one byte does.
func TestStat(t *testing.T) {
	then := time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC)
	const about = "Etag: \"v1\"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
	whole := mount.Stat{Size: 20, Version: `"v1"`, ModTime: then, Ranges: true}
	streamed := whole
	streamed.Ranges = false
	part := "HTTP/1.1 206 Partial Content\r\n" + about + "Content-Range: bytes 0-0/20\r\nContent-Length: 1\r\n\r\n0"
	for name, c := range map[string]struct {
		head, get string
		want      mount.Stat
		err       error
	}{
		"all in one":             {"HTTP/1.1 200 OK\r\n" + about + "Accept-Ranges: bytes\r\nContent-Length: 20\r\n\r\n", "", whole, nil},
		"no ranges":              {"HTTP/1.1 200 OK\r\n" + about + "Accept-Ranges: none\r\nContent-Length: 20\r\n\r\n", "", streamed, nil},
		"nothing of ranges":      {"HTTP/1.1 200 OK\r\n" + about + "Content-Length: 20\r\n\r\n", part, whole, nil},
		"nothing, and none":      {"HTTP/1.1 200 OK\r\n" + about + "Content-Length: 20\r\n\r\n", "HTTP/1.1 200 OK\r\n" + about + "Content-Length: 20\r\n\r\n" + right, streamed, nil},
		"no size":                {"HTTP/1.1 200 OK\r\n" + about + "Accept-Ranges: bytes\r\n\r\n", part, whole, nil},
		"the size in HEAD alone": {"HTTP/1.1 200 OK\r\n" + about + "Content-Length: 20\r\n\r\n", strings.Replace(part, "/20", "/*", 1), whole, nil},
		"no HEAD":                {"HTTP/1.1 405 Method Not Allowed\r\n\r\n", part, whole, nil},
		"HEAD forbidden":         {"HTTP/1.1 403 Forbidden\r\n\r\n", part, whole, nil},
		"all forbidden":          {"HTTP/1.1 403 Forbidden\r\n\r\n", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", mount.Stat{}, fs.ErrPermission},
		"an empty source":        {"HTTP/1.1 501 Not Implemented\r\n\r\n", "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */0\r\nContent-Length: 0\r\n\r\n", mount.Stat{Ranges: true}, nil},
		"no first byte":          {"HTTP/1.1 501 Not Implemented\r\n\r\n", "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */20\r\nContent-Length: 0\r\n\r\n", mount.Stat{}, mount.ErrAnswer},
		"another byte":           {"HTTP/1.1 501 Not Implemented\r\n\r\n", strings.Replace(part, "0-0", "1-1", 1), mount.Stat{}, mount.ErrAnswer},
		"gzip at first":          {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nAccept-Ranges: bytes\r\nContent-Length: 9\r\n\r\n", part, whole, nil},
		"an ETag that is none": {"HTTP/1.1 200 OK\r\nEtag: v1\r\nAccept-Ranges: bytes\r\nContent-Length: 20\r\n\r\n", "",
			mount.Stat{Size: 20, Version: "size=20;v1", Ranges: true}, nil},
		"an ETag that is too long": {"HTTP/1.1 200 OK\r\nEtag: \"" + strings.Repeat("v", 2000) + "\"\r\nAccept-Ranges: bytes\r\nContent-Length: 20\r\n\r\n", "",
			mount.Stat{Size: 20, Ranges: true}, nil},
	} {
		var asked []string
		server := hijacked(t, func(w io.Writer, r *http.Request) {
			asked = append(asked, r.Method+r.Header.Get("Range"))
			if r.Method == http.MethodHead {
				io.WriteString(w, c.head)
			} else {
				io.WriteString(w, c.get)
			}
		})
		got, err := open(t, client(t, nil), server.URL).Stat(t.Context())
		server.Close()
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: it is %+v, %v", name, got, err)
		}
		want := "HEAD"
		if c.get != "" {
			want += " GETbytes=0-0"
		}
		if strings.Join(asked, " ") != want {
			t.Errorf("%s: it is asked for %v", name, asked)
		}
	}
}

// A range of no bytes lies in a source, too, and in one version of it.
func TestEmptyRanges(t *testing.T) {
	size := "20"
	server := hijacked(t, func(w io.Writer, r *http.Request) {
		if r.Method == http.MethodGet { // at its end, by then
			io.WriteString(w, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */20\r\nContent-Length: 0\r\n\r\n")
			return
		}
		fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nEtag: \"v1\"\r\nAccept-Ranges: bytes\r\nContent-Length: %s\r\n\r\n", size)
	})
	m := open(t, client(t, nil), server.URL)
	for _, c := range []struct {
		r    mount.Range
		size string
		want error
	}{
		{mount.Range{Offset: 5, Version: `"v1"`}, "20", nil}, {mount.Range{Offset: 20, Version: `"v1"`}, "20", nil}, {mount.Range{Offset: 20}, "20", nil},
		{mount.Range{Offset: 5, Version: `"v2"`}, "20", mount.ErrChanged}, {mount.Range{Offset: 21}, "20", mount.ErrRange},
		{mount.Range{Offset: 20, Length: -1, Version: `"v1"`}, "20", nil}, {mount.Range{Offset: 20, Length: -1}, "30", mount.ErrChanged},
		{mount.Range{Offset: 20, Length: -1}, "10", mount.ErrRange}, {mount.Range{Offset: 20, Length: -1, Version: `"v2"`}, "20", mount.ErrChanged},
		{mount.Range{Offset: 21, Length: -1}, "30", mount.ErrRange},
	} {
		size = c.size
		if got, err := read(mount.OpenRange(t.Context(), m, c.r)); got != "" || !errors.Is(err, c.want) {
			t.Errorf("%+v of %s bytes gives %q, %v", c.r, c.size, got, err)
		}
	}
}

// Busy servers say how long they want us to wait, or do not.
func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"Retry-After: 7": 7 * time.Second, "Retry-After: 0": 0, "X: y": 0, "Retry-After: soon": 0, "Retry-After: -5": 0, "Retry-After: 1.5": 0,
		"Retry-After: 2000000000":           24 * time.Hour,
		"Retry-After: 99999999999999999999": 0,
		"Date: Sun, 29 Nov 2026 10:00:00 GMT\r\nRetry-After: Sun, 29 Nov 2026 10:02:30 GMT": 150 * time.Second,
		"Date: Sun, 29 Nov 2026 10:00:00 GMT\r\nRetry-After: Sun, 29 Nov 2026 09:00:00 GMT": 0,
		"Date: Sun, 29 Nov 2026 10:00:00 GMT\r\nRetry-After: Sun, 29 Nov 2099 10:00:00 GMT": 24 * time.Hour,
		"Date: now\r\nRetry-After: Sun, 29 Nov 2099 10:00:00 GMT":                           24 * time.Hour,
	} {
		server := hijacked(t, func(w io.Writer, _ *http.Request) {
			fmt.Fprintf(w, "HTTP/1.1 429 Slow down\r\n%s\r\nContent-Length: 0\r\n\r\n", header)
		})
		_, err := open(t, client(t, nil), server.URL).Stat(t.Context())
		busy, ok := errors.AsType[*mount.BusyError](err)
		if !ok || busy.After != want {
			t.Errorf("%q gives %v, not a wait of %v", header, err, want)
		}
		if status, ok := errors.AsType[*httpmount.StatusError](err); !ok || status.Code != 429 {
			t.Errorf("%q gives %v, without its status", header, err)
		}
	}
}

// changing is a source that another takes the place of at every n-th request.
type changing struct {
	asked atomic.Int64
	each  int64
	deaf  bool // it ignores conditions
}

func (c *changing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := c.asked.Add(1) / c.each
	if c.deaf {
		r.Header.Del("If-Match")
	}
	w.Header().Set("Etag", fmt.Sprintf(`"%d"`, n))
	http.ServeContent(w, r, "car", time.Time{}, bytes.NewReader(bytes.Repeat([]byte{'a' + byte(n%26)}, 10_000)))
}

// Whatever a server makes of conditions, what is read under one version is
// never a mixture.
func TestNeverAMixture(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		server := httptest.NewServer(&changing{each: 7, deaf: deaf})
		m := open(t, client(t, nil), server.URL+"/car")
		changes := 0
		for range 40 {
			st, err := m.Stat(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got string
			for i := range int64(10) {
				part, err := read(mount.OpenRange(t.Context(), m, mount.Range{Offset: i * 1000, Length: 1000, Version: st.Version}))
				if errors.Is(err, mount.ErrChanged) {
					changes++
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got += part
			}
			if got != "" && got != strings.Repeat(got[:1], len(got)) {
				t.Fatalf("deaf=%v: a mixture", deaf)
			}
		}
		if changes == 0 {
			t.Errorf("deaf=%v: it never changed", deaf)
		}
		server.Close()
	}
}

// A server that nobody knows is no server that breaks rules.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = open(t, client(t, nil), "http://"+l.Addr().String()).Stat(t.Context())
	if _, ok := errors.AsType[*net.OpError](err); !ok || errors.Is(err, mount.ErrAnswer) {
		t.Errorf("a closed port gives %v", err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it would tell that we did not trust it
	server.StartTLS()
	defer server.Close()
	_, err = open(t, client(t, nil), server.URL).Stat(t.Context())
	if err == nil || errors.Is(err, mount.ErrAnswer) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody trusts gives %v", err)
	}
}

// Whatever a server answers, a range is all of its bytes or an error, and a
// method returns.
func FuzzAnswer(f *testing.F) {
	for _, c := range misdeeds() {
		if c.write == nil {
			f.Add([]byte(c.answer))
		}
	}
	f.Add([]byte(part(goodPart+"Content-Length: 10", right[5:15])))
	f.Add([]byte(part(goodPart+"Transfer-Encoding: chunked", "a\r\n"+right[5:15]+"\r\n0\r\n\r\n")))
	f.Fuzz(func(t *testing.T, answer []byte) {
		web, err := httpmount.New(&httpmount.Config{Largest: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer web.CloseIdle()
		web.DialBy(func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				if _, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
					theirs.Write(answer)
				}
			}()
			return ours, nil
		})
		m := open(t, web, "http://8.8.8.8/photos.car") // it is not dialled
		for _, what := range []string{"stat", "open", "range"} {
			if got, err := do(t.Context(), m, what); what == "range" && err == nil && len(got) != 10 {
				t.Fatalf("a range of 10 bytes is %q", got)
			}
		}
	})
}
