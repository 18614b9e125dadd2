package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// indexed is the Spec of a CAR in memory as it was indexed, without a mount.
// A bare index knows no sizes.
func indexed(t *testing.T, data []byte, bare bool) Spec {
	t.Helper()
	b := index.NewBuilder(&index.WriteOptions{Bare: bare})
	res, err := car.Scan(t.Context(), bytes.NewReader(data), car.Options{Size: int64(len(data))}, func(s *car.Section) error {
		return b.Add(s.Multihash(), index.Position{Offset: s.Offset, Size: s.Size, Head: s.Head})
	})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, err := b.WriteTo(t.Context(), &buf, [16]byte{}); err != nil {
		t.Fatal(err)
	}
	return Spec{
		Key:       "k",
		Source:    mount.Stat{Size: int64(len(data)), Version: "then", ModTime: time.Unix(1e9, 0)},
		Payload:   shard.Extent{Offset: res.DataOffset, Size: res.PayloadSize},
		Roots:     res.Roots,
		RootCount: res.RootCount,
		OpenIndex: func(context.Context) (IndexFile, error) {
			return index.NewFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
		},
	}
}

// doubtful opens data, of another version than when spec was indexed.
func doubtful(t *testing.T, spec Spec, data []byte, remote bool) (*Handle, error) {
	t.Helper()
	file := newFakeFile(data)
	m := &fakeMount{stat: mount.Stat{Size: int64(len(data)), Version: "now", Ranges: true}, file: file}
	if remote {
		m.file, m.ranges = nil, file.ranges
	}
	spec.Mount = m
	h, err := Open(t.Context(), spec)
	if n := file.closed.Load(); err != nil && !remote && n != 1 {
		t.Errorf("a failed Open closed its file %d times", n)
	}
	return h, err
}

func wantLost(t *testing.T, h *Handle, err error) {
	t.Helper()
	var lost *LostError
	if !errors.As(err, &lost) || !errors.Is(err, shard.ErrChanged) {
		t.Errorf("%v", err)
	}
	if h != nil {
		t.Error("and a handle")
		h.Drop()
	}
}

func TestDoubtIsSettled(t *testing.T) {
	v1 := cartest.RandomV1(1, 40, 100)
	for name, data := range map[string][]byte{
		"CARv1":    v1,
		"CARv2":    cartest.V2(v1, cartest.Container{DataPadding: 7}),
		"empty":    cartest.V1([]cid.Cid{cartest.Raw(nil).CID}, nil),
		"of three": cartest.RandomV1(2, 3, 100_000),
		"identity": cartest.V1([]cid.Cid{cartest.Raw(nil).CID}, []cartest.Block{cartest.Identity([]byte("in the CID")), cartest.V0([]byte("old"))}),
	} {
		for _, bare := range []bool{false, true} {
			for _, remote := range []bool{false, true} {
				h, err := doubtful(t, indexed(t, data, bare), data, remote)
				if err != nil {
					t.Errorf("%s, bare %v, remote %v: %v", name, bare, remote, err)
					continue
				}
				if now, ok := h.Confirmed(); !ok || now.Version != "now" {
					t.Errorf("%s: confirmed %v, %+v", name, ok, now)
				}
				h.Drop()
			}
		}
	}
}

func TestNothingIsReadWithoutADoubt(t *testing.T) {
	data := cartest.RandomV1(1, 40, 100)
	spec := indexed(t, data, false)
	spec.Mount = &fakeMount{stat: spec.Source, file: &fakeFile{err: io.ErrClosedPipe}}
	h, err := Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Drop()
	if _, ok := h.Confirmed(); ok {
		t.Error("confirmed what was not in doubt")
	}
	spec.Moved = true
	if _, err := Open(t.Context(), spec); !errors.Is(err, shard.ErrSource) || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a CAR that was moved is not looked at: %v", err)
	}
}

// Of a CAR with few blocks every one is looked at, so that a flipped bit is
// noticed wherever it is; but for the codec in a CID, which no index knows.
func TestDoubtSeesEveryByteOfFewBlocks(t *testing.T) {
	data := cartest.RandomV1(1, 5, 60)
	var codecs []int64
	_, err := car.Scan(t.Context(), bytes.NewReader(data), car.Options{}, func(s *car.Section) error {
		codecs = append(codecs, s.Offset+int64(s.Head)-int64(len(s.CID))+1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, bare := range []bool{false, true} {
		spec := indexed(t, data, bare)
		for i := range data {
			if slices.Contains(codecs, int64(i)) {
				continue
			}
			bad := bytes.Clone(data)
			bad[i] ^= 0x10
			if h, err := doubtful(t, spec, bad, i%2 == 0); err == nil || h != nil {
				t.Errorf("byte %d of %d, bare %v: %v", i, len(data), bare, err)
			} else {
				wantLost(t, h, err)
			}
		}
	}
}

func TestDoubtSeesOtherCARs(t *testing.T) {
	data := cartest.RandomV1(1, 500, 100)
	spec := indexed(t, data, false)
	other := cartest.RandomV1(2, 500, 100)
	same := append(bytes.Clone(data[:59]), other[59:]...) // the header of the one, the blocks of the other
	for name, now := range map[string][]byte{
		"other blocks, other roots": other,
		"other blocks, same roots":  same,
		"cut":                       data[:len(data)-1],
		"longer":                    append(bytes.Clone(data), 0),
		"zeros":                     make([]byte, len(data)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, remote := range []bool{false, true} {
				h, err := doubtful(t, spec, now, remote)
				wantLost(t, h, err)
			}
		})
	}
}

// What cannot be read is not lost: another try may tell.
func TestDoubtThatCannotBeSettled(t *testing.T) {
	data := cartest.RandomV1(1, 40, 100)
	spec := indexed(t, data, false)
	for name, file := range map[string]*fakeFile{
		"fails":  {err: io.ErrClosedPipe},
		"panics": {panics: true},
	} {
		spec.Mount = &fakeMount{stat: mount.Stat{Size: int64(len(data)), Version: "now"}, file: file}
		var lost *LostError
		if _, err := Open(t.Context(), spec); errors.As(err, &lost) || !errors.Is(err, shard.ErrSource) {
			t.Errorf("%s: %v", name, err)
		}
		if n := file.closed.Load(); n != 1 {
			t.Errorf("%s: closed %d times", name, n)
		}
	}
	damaged := spec
	damaged.Mount = &fakeMount{stat: mount.Stat{Size: int64(len(data)), Version: "now"}, file: newFakeFile(data)}
	damaged.OpenIndex = func(context.Context) (IndexFile, error) { return brokenIndex{}, nil }
	var lost *LostError
	if _, err := Open(t.Context(), damaged); !errors.As(err, &lost) || !errors.Is(err, shard.ErrIndex) {
		t.Errorf("a damaged index: %v", err)
	}
}

type brokenIndex struct{ IndexFile }

func (brokenIndex) Sample(int) ([]index.Record, error) { return nil, index.ErrDamaged }
func (brokenIndex) Close() error                       { return nil }

// Ranges are asked for of the version that was confirmed, not of that which
// was indexed.
func TestConfirmedVersionIsRead(t *testing.T) {
	data := cartest.RandomV1(1, 40, 100)
	spec := indexed(t, data, false)
	file := newFakeFile(data)
	var asked []string
	spec.Mount = &fakeMount{
		stat: mount.Stat{Size: int64(len(data)), Version: "now", Ranges: true},
		ranges: func(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
			asked = append(asked, r.Version)
			return file.ranges(ctx, r)
		},
	}
	h, err := Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Drop()
	if n := len(asked); n > sampled+2 {
		t.Errorf("%d requests for %d blocks", n, sampled)
	}
	if _, err := h.ReadAt(t.Context(), make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(asked, func(v string) bool { return v != "now" }); i >= 0 {
		t.Errorf("version %q was asked for", asked[i])
	}
}
