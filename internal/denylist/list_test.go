package denylist

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// TestBadLines: they are counted and told of, and the others count.
func TestBadLines(t *testing.T) {
	const good = "/ipns/good.example"
	for _, bad := range []string{
		"hello", "/ipfs", "/ipfs/", "/ipfs//a", "/ipfs/nonsense", "/ipld/bafkqaaa", "/ipns/", "/ipns//path", "/ipfs/bafkqaaa/%zz", "//", "//zz", "///ipfs",
		"//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ce", "//" + strings.Repeat("ab", 31), "!", "!!/ipns/a", "+/ipns/a", "/ipfs/bafkqaaa*", "/ipns/\xff", "---",
	} {
		l, problems, err := Parse("test.deny", strings.NewReader("---\n"+bad+"\n"+good+"\n"))
		if err != nil || l.Rules != 1 || l.Bad != 1 || len(problems) != 1 || problems[0].Line != 2 {
			t.Errorf("%q: %+v, %v, %v", bad, l, problems, err)
			continue
		}
		if m := NewSet(l).Name("good.example", ""); m.Line != 3 {
			t.Errorf("behind %q: %+v", bad, m)
		}
	}
	// What is wrong with a hint is told of, and takes nothing from the rule.
	for _, line := range []string{good + " word", good + " :x", good + " gateway_status:200", "hints:\n  gateway_status: 200\n---\n" + good} {
		l, problems, err := Parse("test.deny", strings.NewReader(line))
		if err != nil || l.Rules != 1 || len(problems) != 1 || !NewSet(l).Name("good.example", "").Denies() {
			t.Errorf("%q: %+v, %v, %v", line, l, problems, err)
		}
	}
	l, problems, err := Parse("test.deny", strings.NewReader(strings.Repeat("x\n", 1000)))
	if err != nil || l.Bad != 1000 || len(problems) != maxProblems {
		t.Errorf("a thousand bad lines: %+v, %d problems, %v", l, len(problems), err)
	}
}

// TestRefused: what is no list is not taken.
func TestRefused(t *testing.T) {
	for name, text := range map[string]string{
		"version":   "version: 2\n---\n",
		"yaml":      "a: b: c\n---\n",
		"scalar":    "/ipns/a\n---\n",
		"hints":     "hints: 3\n---\n",
		"long line": "---\n/ipns/" + strings.Repeat("a", maxLine) + "\n",
		"long tail": "---\n/ipns/" + strings.Repeat("a", maxLine),
		"bomb": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n" +
			"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\nname: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n---\n",
	} {
		if l, _, err := Parse("test.deny", strings.NewReader(text)); !errors.Is(err, ErrList) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	failing := errors.New("failing")
	if _, _, err := Parse("test.deny", &failingReader{strings.NewReader("/ipns/a\n"), failing}); !errors.Is(err, failing) {
		t.Errorf("a reader that fails: %v", err)
	}
}

type failingReader struct {
	*strings.Reader
	err error
}

func (r *failingReader) Read(p []byte) (int, error) {
	if r.Len() == 0 {
		return 0, r.err
	}
	return r.Reader.Read(p)
}

// TestLimits: a line of the greatest length is taken, and a header that is
// too long is no header but lines.
func TestLimits(t *testing.T) {
	line := "/ipns/a.example " + strings.Repeat(" ", maxLine-17) + "\n"
	if len(line) != maxLine {
		t.Fatal(len(line))
	}
	if l := mustParse(t, line); l.Rules != 1 {
		t.Errorf("%+v", l)
	}
	header := "name: " + strings.Repeat("x", maxHeader-11) + "\n---\n"
	if len(header) != maxHeader {
		t.Fatal(len(header))
	}
	if l := mustParse(t, header+"/ipns/a.example"); l.Rules != 1 || l.Bad != 0 || len(l.Header.Name) > 210 {
		t.Errorf("a header of the greatest length: %d rules, %d bad, %q", l.Rules, l.Bad, l.Header.Name)
	}
	l, _, err := Parse("test.deny", strings.NewReader("#"+header+"/ipns/a.example"))
	if err != nil || l.Rules != 1 || l.Bad != 1 { // the first line is a comment now, "---" is no rule
		t.Errorf("a longer one: %+v, %v", l, err)
	}
}

// random makes a list that is hard to get right: few subjects and paths, so
// that rules hit the same, in all forms.
func random(rng *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		if rng.IntN(3) == 0 {
			b.WriteByte('!')
		}
		path := []string{"", "a", "ab", "a/b", "a/bc", "b"}[rng.IntN(6)]
		star := []string{"", "*"}[rng.IntN(2)]
		subject := rng.IntN(4)
		c := subjectOf(subject)
		text := c.Hash().B58String()
		if path != "" {
			text += "/" + path
		}
		switch rng.IntN(6) {
		case 0:
			fmt.Fprintf(&b, "/ipns/d%d.example/%s%s\n", subject, path, star)
		case 1:
			sum, _ := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
			fmt.Fprintf(&b, "//%s\n", sum.B58String())
		case 2:
			sum, _ := multihash.Sum([]byte(c.String()+"/"+path), multihash.SHA2_256, -1)
			fmt.Fprintf(&b, "//%x\n", []byte(sum[2:]))
		case 3:
			b.WriteString("no rule\n")
		default:
			fmt.Fprintf(&b, "/ipfs/%s/%s%s\n", c, path, star)
		}
	}
	return b.String()
}

func subjectOf(n int) cid.Cid {
	sum, _ := multihash.Sum(fmt.Append(nil, n), multihash.SHA2_256, -1)
	return cid.NewCidV1(cid.Raw, sum)
}

// TestAgainstSimple: the tables say what walking through the lines from the
// end says, whether a list was read at once or bit by bit.
func TestAgainstSimple(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		text := "---\n" + random(rng, 1+rng.IntN(200))
		whole, _, err := Parse("test.deny", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		grown := new(List)
		for at := rng.IntN(len(text)); ; at += 1 + rng.IntN(len(text)/3) {
			at = min(at, len(text))
			next, _, err := grown.Append(strings.NewReader(text[:at]))
			if errors.Is(err, errReplaced) {
				next, _, err = Parse("test.deny", strings.NewReader(text[:at]))
			}
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if grown = next; at == len(text) {
				break
			}
		}
		if whole.Rules != grown.Rules || whole.Bad != grown.Bad {
			t.Fatalf("round %d: %d rules, %d bad at once, %d and %d bit by bit", round, whole.Rules, whole.Bad, grown.Rules, grown.Bad)
		}
		lines := strings.Split(text, "\n")
		for subject := range 5 {
			for _, path := range []string{"", "a", "ab", "a/b", "a/bc", "b", "abc", "c"} {
				c, name := subjectOf(subject), fmt.Sprintf("d%d.example", subject)
				for _, l := range []*List{whole, grown} {
					if got, want := NewSet(l).Path(c, path).Line, simple(lines, c, "", path); got != want {
						t.Fatalf("round %d: %s/%s: line %d, want %d", round, c, path, got, want)
					}
					if got, want := NewSet(l).Name(name, path).Line, simple(lines, cid.Undef, name, path); got != want {
						t.Fatalf("round %d: %s/%s: line %d, want %d", round, name, path, got, want)
					}
				}
			}
		}
	}
}

// simple is the line that counts, found by reading the lines from the end.
func simple(lines []string, c cid.Cid, name, path string) int {
	for i := len(lines) - 1; i > 0; i-- {
		line := strings.TrimPrefix(lines[i], "!")
		if hidden, ok := strings.CutPrefix(line, "//"); ok {
			if name != "" {
				continue
			}
			text := c.Hash().B58String()
			if path != "" {
				text += "/" + path
			}
			sum, _ := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
			old, _ := multihash.Sum([]byte(c.String()+"/"+path), multihash.SHA2_256, -1)
			if hidden == sum.B58String() || hidden == fmt.Sprintf("%x", []byte(old[2:])) {
				return i + 1
			}
			continue
		}
		rest, ok := strings.CutPrefix(line, "/ipfs/"+c.String()+"/")
		if name != "" {
			rest, ok = strings.CutPrefix(line, "/ipns/"+name+"/")
		}
		if !ok {
			continue
		}
		prefix, isPrefix := strings.CutSuffix(rest, "*")
		if rest == path || isPrefix && strings.HasPrefix(path, prefix) {
			return i + 1
		}
	}
	return 0
}

// TestAppend: what no longer begins with the list is no longer it.
func TestAppend(t *testing.T) {
	const text = "name: x\n---\n/ipns/a.example\n"
	l := mustParse(t, text)
	more, _, err := l.Append(strings.NewReader(text + "!/ipns/a.example\n/ipns/b.exa"))
	if err != nil || more.Rules != 3 {
		t.Fatalf("%+v, %v", more, err)
	}
	if NewSet(more).Name("a.example", "").Denies() || !NewSet(more).Name("b.exa", "").Denies() || !NewSet(l).Name("a.example", "").Denies() {
		t.Error("what was appended does not count, or counts for the list of before")
	}
	if more, _, err = more.Append(strings.NewReader(text + "!/ipns/a.example\n/ipns/b.example\n")); err != nil || more.Rules != 3 ||
		NewSet(more).Name("b.exa", "").Denies() || !NewSet(more).Name("b.example", "").Denies() {
		t.Errorf("a line that has grown: %+v, %v", more, err)
	}
	for _, other := range []string{"", text[:len(text)-1], strings.Replace(text, "a.ex", "b.ex", 1) + "/ipns/c\n"} {
		if _, _, err := more.Append(strings.NewReader(other)); !errors.Is(err, errReplaced) {
			t.Errorf("%q: %v", other, err)
		}
	}
	if _, _, err := mustParse(t, "/ipns/a\n").Append(strings.NewReader("/ipns/a\n---\n")); !errors.Is(err, errReplaced) {
		t.Errorf("a header may yet come: %v", err)
	}
}

// hidden is a list of n rules in the older form, as badbits.deny has them.
func hidden(n int) []byte {
	var b bytes.Buffer
	b.WriteString("name: many\n---\n")
	rng := rand.New(rand.NewPCG(3, 4))
	for range n {
		fmt.Fprintf(&b, "//%016x%016x%016x%016x\n", rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64())
	}
	return b.Bytes()
}

// TestMemory: a rule takes at most 16 bytes.
func TestMemory(t *testing.T) {
	const n = 200_000
	text := hidden(n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l, _, err := Parse("test.deny", bytes.NewReader(text))
	if err != nil || l.Rules != n {
		t.Fatalf("%+v, %v", l, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / n
	if each > 16 {
		t.Errorf("%.1f bytes for each rule", each)
	}
	runtime.KeepAlive(l)
	runtime.KeepAlive(text)
}

func BenchmarkParse(b *testing.B) {
	text := hidden(1_000_000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, _, err := Parse("test.deny", bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ns/rule")
}

// BenchmarkBlock is what a look-up costs a block that is not denied.
func BenchmarkBlock(b *testing.B) {
	modern := "//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM\n"
	for name, text := range map[string]string{
		"plain":         "/ipfs/bafkqaaa\n",
		"older-1000000": string(hidden(1_000_000)),
		"both-1000000":  string(hidden(1_000_000)) + modern,
	} {
		set := NewSet(mustParse(b, text))
		cids := make([]cid.Cid, 1024)
		for i := range cids {
			cids[i] = subjectOf(i)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if set.Block(cids[i%len(cids)]).Denies() {
					b.Fatal("denied")
				}
			}
		})
	}
}

// FuzzParse: nothing makes the parser fail in another way than it says, and a
// list says the same when it is read in two parts.
func FuzzParse(f *testing.F) {
	f.Add([]byte(specified), uint16(700))
	f.Add([]byte("/ipns/a*\n!/ipns/ab\n//d9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7"), uint16(12))
	f.Add([]byte("version: 1\n---\n\r\n# x\n/ipfs/bafkqaaa/%2A%20 gateway_status:451 a:b\n"), uint16(3))
	c := subjectOf(1)
	f.Fuzz(func(t *testing.T, text []byte, cut uint16) {
		whole, _, err := Parse("test.deny", bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrList) {
				t.Fatal(err)
			}
			return
		}
		part, _, err := Parse("test.deny", bytes.NewReader(text[:min(int(cut), len(text))]))
		if err != nil {
			return
		}
		part, _, err = part.Append(bytes.NewReader(text))
		if errors.Is(err, errReplaced) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if whole.Rules != part.Rules || whole.Bad != part.Bad {
			t.Fatalf("%d rules, %d bad at once, %d and %d in two parts", whole.Rules, whole.Bad, part.Rules, part.Bad)
		}
		for _, path := range []string{"", "a", "a/b"} {
			a, b := NewSet(whole).Path(c, path), NewSet(part).Path(c, path)
			d, e := NewSet(whole).Name("a", path), NewSet(part).Name("a", path)
			if a != b || d != e {
				t.Fatalf("%v, %v at once, %v, %v in two parts", a, d, b, e)
			}
		}
	})
}
