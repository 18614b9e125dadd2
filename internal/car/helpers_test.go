package car

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/dagstore/dagstore/shard"
)

// A reading is one way to read the same bytes.
type reading struct {
	name string
	r    io.Reader
	opt  Options
}

// readings are all the ways to read data: as a file and as a stream, by pieces
// of every size, with its size known and not.
func readings(data []byte, opt Options) []reading {
	sized, unsized, hop := opt, opt, opt
	sized.Size, unsized.Size = int64(len(data)), -1
	hop.Size, hop.Hop = int64(len(data)), true
	stream := func() io.Reader { return struct{ io.Reader }{bytes.NewReader(data)} }
	beside := unsized // of unknown size, so that it is not taken for small
	beside.Hashers = 2
	return []reading{
		{"file, hashed beside", bytes.NewReader(data), beside},
		{"stream by halves, hashed beside", iotest.HalfReader(stream()), beside},
		{"file", bytes.NewReader(data), sized},
		{"file of unknown size", bytes.NewReader(data), unsized},
		{"file, by hops", bytes.NewReader(data), hop},
		{"stream", stream(), sized},
		{"stream of unknown size", stream(), unsized},
		{"stream by halves", iotest.HalfReader(stream()), unsized},
		{"stream with its EOF beside the last data", iotest.DataErrReader(stream()), sized},
	}
}

type collected struct {
	sections []Section
	res      Result
	err      error
}

// collect scans r and keeps copies of all that is emitted.
func collect(r io.Reader, opt Options) collected {
	var c collected
	c.res, c.err = Scan(context.Background(), r, opt, func(s *Section) error {
		kept := *s
		kept.CID = slices.Clone(s.CID)
		c.sections = append(c.sections, kept)
		return nil
	})
	return c
}

// checkFault checks that err is a Fault of this kind at this offset.
func checkFault(t *testing.T, name string, err error, kind shard.FaultKind, offset int64) {
	t.Helper()
	f, ok := errors.AsType[*shard.Fault](err)
	switch {
	case !ok:
		t.Errorf("%s: got %v, want a Fault", name, err)
	case f.Kind != kind || f.Offset != offset:
		t.Errorf("%s: got %v, want %v at offset %d", name, f, kind, offset)
	case !errors.Is(err, f.Unwrap()):
		t.Errorf("%s: %v does not wrap its sentinel", name, f)
	}
}
