package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// A lyingIndex is made of the records of a CAR and of a bare file of these.
type lyingIndex struct {
	class, name string
	make        func(t *testing.T, recs []index.Record, bare []byte) []byte
	quiet       bool // a sample may not meet it
}

func recordsOf(t *testing.T, payload []byte) (recs []index.Record) {
	t.Helper()
	_, err := car.Scan(t.Context(), bytes.NewReader(payload), car.Options{}, func(s *car.Section) error {
		recs = append(recs, index.Record{Multihash: slices.Clone(s.Multihash()), Position: index.Position{Offset: s.Offset, Size: s.Size, Head: s.Head}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

func bareIndex(t *testing.T, recs []index.Record) []byte {
	t.Helper()
	var out bytes.Buffer
	err := index.Write(t.Context(), &out, func(yield func(index.Record, error) bool) {
		for _, r := range recs {
			if !yield(r, nil) {
				return
			}
		}
	}, &index.WriteOptions{Bare: true})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// indexHead is that of a MultihashIndexSorted of SHA2-256, with these widths and
// lengths.
func indexHead(pairs ...uint64) []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(le.AppendUint32([]byte{0x81, 0x08}, 1), 0x12)
	b = le.AppendUint32(b, uint32(len(pairs)/2))
	for i := 0; i < len(pairs); i += 2 {
		b = le.AppendUint64(le.AppendUint32(b, uint32(pairs[i])), pairs[i+1])
		if pairs[i+1] < 1<<10 {
			b = append(b, make([]byte, pairs[i+1])...)
		}
	}
	return b
}

func lyingIndices() []lyingIndex {
	fixed := func(data []byte) func(*testing.T, []index.Record, []byte) []byte {
		return func(*testing.T, []index.Record, []byte) []byte { return data }
	}
	moved := func(where func(recs []index.Record, i int) int64) func(*testing.T, []index.Record, []byte) []byte {
		return func(t *testing.T, recs []index.Record, _ []byte) []byte {
			lies := slices.Clone(recs)
			for i := range lies {
				lies[i].Offset = where(recs, i)
			}
			return bareIndex(t, lies)
		}
	}
	return []lyingIndex{
		{"B26", "another codec", func(_ *testing.T, _ []index.Record, bare []byte) []byte { bare[0] = 0x82; return bare }, false},
		{"B26", "a page", fixed([]byte("<html>")), false},
		{"B27", "8 TiB", fixed(indexHead(40, 8<<40)), false},
		{"B27", "2^62", fixed(indexHead(40, 1<<62)), false},
		{"B27", "two billion codes", fixed([]byte{0x81, 0x08, 0xff, 0xff, 0xff, 0x7f}), false},
		{"B27", "a width of 0", fixed(indexHead(0, 8)), false},
		{"B27", "uneven", fixed(indexHead(40, 41)), false},
		{"B27", "cut", func(_ *testing.T, _ []index.Record, bare []byte) []byte { return bare[:len(bare)-1] }, false},
		{"B28", "falling widths", fixed(indexHead(40, 40, 28, 28)), false},
		{"B28", "repeated widths", fixed(indexHead(40, 40, 40, 40)), false},
		{"B29", "another block", moved(func(recs []index.Record, i int) int64 { return recs[(i+1)%len(recs)].Offset }), false},
		{"B29", "the middle of one", moved(func(recs []index.Record, i int) int64 { return recs[i].Offset + 50 }), false},
		{"B29", "past the data", moved(func(recs []index.Record, i int) int64 { return recs[i].Offset + 1<<20 }), false},
		{"B29", "past the end of all files", moved(func([]index.Record, int) int64 { return 1<<63 - 1 }), false},
		{"B30", "all are omitted", func(t *testing.T, _ []index.Record, _ []byte) []byte { return bareIndex(t, nil) }, false},
		{"B30", "the last is omitted", func(t *testing.T, recs []index.Record, _ []byte) []byte { return bareIndex(t, recs[:len(recs)-1]) }, true},
		{"B30", "as many again are invented", func(t *testing.T, recs []index.Record, _ []byte) []byte {
			for i, b := range cartest.Random(99, len(recs), 300) {
				recs = append(recs, index.Record{Multihash: b.CID.Hash(), Position: index.Position{Offset: recs[i].Offset + 3, Size: -1}})
			}
			return bareIndex(t, recs)
		}, false},
	}
}

// TestBadIndicesOfCARs adds CARs with each index that lies, B26 to B30, inside and
// beside: it costs the index, never the CAR, whose blocks are all served.
func TestBadIndicesOfCARs(t *testing.T) {
	const blocks, size = 40, 300
	payload := cartest.RandomV1(41, blocks, size)
	for _, l := range lyingIndices() {
		t.Run(l.class+"/"+l.name, func(t *testing.T) {
			t.Parallel()
			ix := l.make(t, recordsOf(t, payload), bareIndex(t, recordsOf(t, payload)))
			for _, policy := range []string{"auto", "check", "sample", "adopt"} {
				for _, inside := range []bool{true, false} {
					h := newHostile(t)
					beside := h.neighbour("before.car", 11)
					data := payload
					if inside {
						data = cartest.V2(payload, cartest.Container{Index: ix})
					} else {
						h.write("lied.car.idx", ix)
					}
					h.addLied(t, l, policy, data)
					h.serves(beside...)
				}
			}
		})
	}
}

func (h *hostile) addLied(t *testing.T, l lyingIndex, policy string, data []byte) {
	t.Helper()
	code, out, stderr := h.run("add", "--index", policy, "--json", h.write("lied.car", data))
	if code != exitOK || !strings.Contains(out, `"status":"ready"`) {
		t.Fatalf("%s: exit code %d, %s%s", policy, code, out, stderr)
	}
	blocks := cartest.Random(41, 40, 300)
	told := strings.Contains(stderr, "lied: bad index") && strings.Contains(stderr, "the CAR was read instead")
	if want := policy == "check" || policy == "sample" && !l.quiet; want != told && (want || policy == "auto") {
		t.Errorf("%s: it says %q", policy, stderr)
	}
	if !strings.Contains(out, `"claimed":true`) {
		h.serves(blocks[0], blocks[7], blocks[39])
		return
	}
	// While a claim is believed, a block may be missed, and never be another.
	for _, i := range []int{0, 7, 39} {
		code, out, stderr := h.run("block", "get", blocks[i].CID.String())
		if code == exitOK && out != string(blocks[i].Data) || code != exitOK && (out != "" || stderr == "") {
			t.Errorf("%s: block %d: exit code %d, %d bytes, %s", policy, i, code, len(out), stderr)
		}
	}
	if policy == "sample" { // it was not met, and costs what it says until somebody looks
		h.wants(exitFailed, "lied: ", "index", "verify", "lied")
		return
	}
	h.confirm("lied")
	h.serves(blocks[0], blocks[7], blocks[39])
	h.wants(exitOK, "", "index", "verify", "lied")
}

// confirm has a process that stays, as "serve" does, read a CAR whose index was
// adopted.
func (h *hostile) confirm(key shard.Key) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), mostWait)
	defer cancel()
	store, err := dagstore.Open(ctx, h.repo, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	defer store.Close()
	for {
		switch in, err := store.Info(ctx, key); {
		case err != nil:
			h.t.Fatalf("it is never confirmed: %v", err)
		case !in.Claimed:
			return
		}
		time.Sleep(time.Millisecond)
	}
}
