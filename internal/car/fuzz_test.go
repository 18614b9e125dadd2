package car

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// FuzzScan: whatever the bytes are, every way to read them comes to the same,
// nothing panics, and go-car agrees on what is taken.
func FuzzScan(f *testing.F) {
	const largest = 64 << 10 // larger seeds only make it slow
	add := func(data []byte) {
		if len(data) <= largest {
			f.Add(data)
		}
	}
	for _, bad := range cartest.Bads() {
		add(bad.Data)
	}
	for _, bad := range cartest.Faulties() {
		add(slices.Concat(goodHeader, bad.Sections, goodV1[len(goodHeader):]))
	}
	add(goodV1)
	add(cartest.V2(goodV1, cartest.Container{DataPadding: 3, IndexPadding: 2, Index: []byte{0x81, 0x08}}))
	names, _ := filepath.Glob(filepath.Join(realCARs, "*.car"))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		// The beginning of a large one is a seed as well: it is cut short.
		add(data[:min(len(data), 8<<10)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := compare(data); err != nil {
			t.Error(err)
		}
	})
}

// FuzzParseSection: a head is found as a scan finds it, whatever the bytes are.
func FuzzParseSection(f *testing.F) {
	for _, bad := range cartest.Faulties() {
		f.Add(bad.Sections)
	}
	f.Add(cartest.AppendBlock(nil, goodBlocks[0]))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSection(9, data, 0)
		asScanned(t, data, s, err)
		if err != nil {
			if _, isFault := errors.AsType[*shard.Fault](err); !isFault && (!errors.Is(err, io.ErrUnexpectedEOF) || len(data) >= MaxHead) {
				t.Errorf("%v for %d bytes", err, len(data))
			}
			return
		}
		if s.Head > len(data) || s.Head > MaxHead || s.Size < 0 || s.Offset != 9 {
			t.Errorf("%+v", s)
		}
		c := toCID(s.CID)
		if !c.Defined() || string(c.Hash()) != string(s.Multihash()) {
			t.Errorf("%x is no CID, or has not the multihash %x", s.CID, s.Multihash())
		}
	})
}

// asScanned compares what ParseSection finds at the beginning of data with what
// a scan does, unless the data is cut short: only a scan minds that.
func asScanned(t *testing.T, data []byte, s Section, err error) {
	t.Helper()
	at := int64(len(goodHeader))
	got := collect(bytes.NewReader(slices.Concat(goodHeader, data)), Options{})
	if len(got.sections) > 0 && got.sections[0].Offset == at {
		want := got.sections[0]
		if err != nil || want.Head != s.Head || want.Size != s.Size || want.Code != s.Code || !bytes.Equal(want.CID, s.CID) {
			t.Errorf("a scan finds %+v, ParseSection %+v, %v", want, s, err)
		}
	} else if err == nil && int64(s.Head)+s.Size <= int64(len(data)) {
		t.Errorf("a scan does not find %+v: %v, %v", s, got.res.Faulty, got.err)
	}
}
