package denylist

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
)

// A List is what one file says.
type List struct {
	Name   string // as its user calls it: the path of the file
	Header Header
	Rules  int // lines that are rules
	Bad    int // lines that are none

	tables   []*table // by age; a later one holds later lines
	tail     *table   // of a last line that does not end yet; nil: there is none
	inTail   [2]int   // how much of Rules and Bad is of that line
	lengths  []int    // of the paths of rules for all that begins so, rising
	hashed   []function
	isLegacy bool

	lines int               // that have ended
	size  int64             // of them, in bytes
	sum   [sha256.Size]byte // of these bytes
	head  bool              // there is a header
}

// A Problem is a line that is no rule, or not as it was meant.
type Problem struct {
	Line int
	Err  error
}

// maxProblems is how many are told of one by one.
const maxProblems = 100

// maxFunctions is how many different hash functions the rules of a list may
// have: each costs every look-up.
const maxFunctions = 8

// Parse reads a list. The problems are the first of its bad lines. The error
// wraps [ErrList] or is one of r.
func Parse(name string, r io.Reader) (*List, []Problem, error) {
	return parse(&List{Name: name}, r, sha256.New())
}

// errReplaced is of a file that does not begin with what was read of it.
var errReplaced = errors.New("it was replaced")

// Append returns the list that r has, if that begins with the lines of l that
// have ended: what follows is parsed, the rest only compared. l stays as it
// is. If it begins with anything else the error is errReplaced.
func (l *List) Append(r io.Reader) (*List, []Problem, error) {
	if !l.head && l.size < maxHeader {
		return nil, nil, errReplaced // what follows may make a header of what is there
	}
	sum := sha256.New()
	switch n, err := io.CopyN(sum, r, l.size); {
	case errors.Is(err, io.EOF) && n < l.size:
		return nil, nil, errReplaced
	case err != nil:
		return nil, nil, err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != l.sum {
		return nil, nil, errReplaced
	}
	next := *l
	next.tables = slices.Clip(l.tables)
	next.lengths, next.hashed = slices.Clone(l.lengths), slices.Clone(l.hashed)
	return parse(&next, r, sum)
}

// A parser adds lines to a list.
type parser struct {
	list     *List
	in       *bufio.Reader
	sum      hash.Hash // of the lines that have ended
	keyer    keyer
	entries  []entry
	problems []Problem
	lengths  map[int]struct{}
	line     []byte // scratch
}

func parse(l *List, r io.Reader, sum hash.Hash) (*List, []Problem, error) {
	p := &parser{list: l, sum: sum, in: bufio.NewReaderSize(r, 64<<10), lengths: make(map[int]struct{})}
	for _, n := range l.lengths {
		p.lengths[n] = struct{}{}
	}
	if l.size == 0 {
		if err := p.header(r); err != nil {
			return nil, nil, err
		}
	}
	l.Rules, l.Bad = l.Rules-l.inTail[0], l.Bad-l.inTail[1]
	l.tail, l.inTail = nil, [2]int{}
	if err := p.body(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", l.Name, err)
	}
	l.sum = [sha256.Size]byte(sum.Sum(nil))
	l.lengths = l.lengths[:0]
	for n := range p.lengths {
		l.lengths = append(l.lengths, n)
	}
	slices.Sort(l.lengths)
	return l, p.problems, nil
}

// header reads the header, if there is one, and leaves the reader behind it.
func (p *parser) header(r io.Reader) error {
	l := p.list
	l.Header.Status = http.StatusGone
	begin, err := io.ReadAll(io.LimitReader(r, maxHeader))
	if err != nil {
		return err
	}
	header, found := splitHeader(begin)
	if found {
		h, warning, err := parseHeader(header)
		if err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
		l.Header, l.head = h, true
		l.lines = bytes.Count(header, []byte{'\n'})
		l.size = int64(len(header))
		p.sum.Write(header)
		if warning != nil {
			p.problem(0, warning)
		}
	}
	p.in.Reset(io.MultiReader(bytes.NewReader(begin[len(header):]), r))
	return nil
}

var newline = []byte{'\n'}

// body reads lines to the end.
func (p *parser) body() error {
	l := p.list
	for {
		line, ended, err := p.next()
		if err != nil {
			return err
		}
		if !ended {
			if len(bytes.TrimSpace(line)) > 0 {
				p.takeTail(line)
			}
			break
		}
		l.lines++
		l.size += int64(len(line)) + 1
		p.sum.Write(line)
		p.sum.Write(newline)
		p.take(line, l.lines)
	}
	if len(p.entries) > 0 {
		l.tables = append(l.tables, newTable(p.entries))
	}
	// Few tables, of sizes that double: each look-up looks into all of them.
	for n := len(l.tables); n > 1 && l.tables[n-2].len() < 2*l.tables[n-1].len(); n-- {
		l.tables = append(slices.Clone(l.tables[:n-2]), merge(l.tables[n-2], l.tables[n-1]))
	}
	return nil
}

// next returns a line without its end, and whether it has one. The line is
// good until the next call.
func (p *parser) next() (line []byte, ended bool, err error) {
	p.line = p.line[:0]
	for {
		part, err := p.in.ReadSlice('\n')
		if len(p.line)+len(part) > maxLine {
			return nil, false, fmt.Errorf("%w: line %d is longer than %d bytes", ErrList, p.list.lines+1, maxLine)
		}
		switch {
		case err == nil && len(p.line) == 0:
			return part[:len(part)-1], true, nil
		case err == nil:
			p.line = append(p.line, part...)
			return p.line[:len(p.line)-1], true, nil
		case errors.Is(err, bufio.ErrBufferFull), errors.Is(err, io.EOF):
			p.line = append(p.line, part...)
			if errors.Is(err, io.EOF) {
				return p.line, false, nil
			}
		default:
			return nil, false, err
		}
	}
}

// take reads one line.
func (p *parser) take(line []byte, n int) {
	l := p.list
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] == '#' {
		return
	}
	rules, err := parseRule(string(line))
	if err == nil || len(rules) > 0 {
		if full := p.note(rules); full != nil {
			rules, err = nil, full
		}
	}
	if err != nil {
		p.problem(n, err)
	}
	if len(rules) == 0 {
		l.Bad++
		return
	}
	l.Rules++
	for i := range rules {
		e := entry{key: p.keyer.rule(&rules[i]), line: uint32(n)}
		if rules[i].allow {
			e.flags |= flagAllow
		}
		if rules[i].status == http.StatusUnavailableForLegalReasons || rules[i].status == 0 && l.Header.Status == http.StatusUnavailableForLegalReasons {
			e.flags |= flagLegal
		}
		p.entries = append(p.entries, e)
	}
}

// takeTail reads a last line that does not end. It counts at once, and again
// when there is more of it.
func (p *parser) takeTail(line []byte) {
	l, entries := p.list, p.entries
	p.entries = nil
	l.inTail = [2]int{l.Rules, l.Bad}
	p.take(line, l.lines+1)
	l.inTail = [2]int{l.Rules - l.inTail[0], l.Bad - l.inTail[1]}
	l.tail, p.entries = newTable(p.entries), entries
}

// note keeps what look-ups must try: the functions, the lengths of paths.
func (p *parser) note(rules []rule) error {
	l := p.list
	for i := range rules {
		r := &rules[i]
		switch {
		case r.space == legacy:
			l.isLegacy = true
		case r.space == modern:
			f, err := functionOf([]byte(r.subject))
			if err != nil {
				return err
			}
			if slices.Contains(l.hashed, f) {
				continue
			}
			if len(l.hashed) == maxFunctions {
				return fmt.Errorf("%w: the list has more than %d hash functions", errRule, maxFunctions)
			}
			l.hashed = append(l.hashed, f)
		case r.prefix:
			p.lengths[len(r.path)] = struct{}{}
		}
	}
	return nil
}

func (p *parser) problem(line int, err error) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{line, err})
	}
}
