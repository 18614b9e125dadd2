package blocks

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// openReal scans the CAR at path, writes its index to a file and opens both,
// as the engine does. It returns the error of the scan, and the blocks' CIDs.
func openReal(t testing.TB, path string, bare bool) (h *local.Handle, cids []cid.Cid, indexPath string, err error) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	m, err := filemount.New(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	builder := index.NewBuilder(&index.WriteOptions{Spill: t.TempDir(), Bare: bare})
	defer builder.Close()
	res, err := car.Scan(t.Context(), file, car.Options{Size: st.Size, Verify: true}, func(s *car.Section) error {
		c, err := cid.Cast(s.CID)
		if err != nil {
			return err
		}
		cids = append(cids, c)
		return builder.Add(s.Multihash(), index.Position{Offset: s.Offset, Size: s.Size, Head: s.Head})
	})
	if err != nil {
		return nil, nil, "", err
	}
	indexPath = filepath.Join(t.TempDir(), "a.idx")
	out, err := os.Create(indexPath)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := builder.WriteTo(t.Context(), out, [16]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	h, err = local.Open(t.Context(), local.Spec{
		Key: "real", ID: 1, Mount: m, Source: st,
		Payload: shard.Extent{Offset: res.DataOffset, Size: res.PayloadSize},
		OpenIndex: func(context.Context) (local.IndexFile, error) {
			return index.OpenFile(indexPath)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Drop)
	return h, cids, indexPath, nil
}

// blocksOf reads a CAR the slow way.
func blocksOf(t *testing.T, path string) map[cid.Cid][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[cid.Cid][]byte{}
	var head car.Header
	if head, err = car.ReadHeader(t.Context(), bytes.NewReader(data), car.Options{}); err != nil {
		t.Fatal(err)
	}
	_, err = car.Scan(t.Context(), bytes.NewReader(data), car.Options{Verify: true}, func(s *car.Section) error {
		c, err := cid.Cast(s.CID)
		from := head.DataOffset + s.Offset + int64(s.Head)
		out[c] = data[from : from+s.Size]
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWithARealIndex(t *testing.T) {
	for name, f := range forms(mixed()) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.car")
			if err := os.WriteFile(path, f.car, 0o600); err != nil {
				t.Fatal(err)
			}
			checkReal(t, path, f.bare)
		})
	}
}

// TestRealCARs reads every block of every CAR that lies beside the project.
func TestRealCARs(t *testing.T) {
	paths, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "cars", "*.car"))
	if len(paths) == 0 {
		t.Log("there are no CARs in ../shared/cars: made ones only")
		path := filepath.Join(t.TempDir(), "made.car")
		if err := os.WriteFile(path, cartest.V2(cartest.RandomV1(1, 500, 700), cartest.Container{}), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = []string{path}
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if st, err := os.Stat(path); err != nil || st.Size() > 64<<20 {
				t.Logf("%d bytes: left to others", st.Size())
				return
			}
			checkReal(t, path, false)
		})
	}
}

func checkReal(t *testing.T, path string, bare bool) {
	t.Helper()
	h, cids, _, err := openReal(t, path, bare)
	if err != nil {
		if !errors.Is(err, shard.ErrCAR) {
			t.Fatal(err)
		}
		return // a bad one, as some of them are meant to be
	}
	want := blocksOf(t, path)
	r := readerOf(h, Config{})
	for c, data := range want {
		got, err := r.Get(t.Context(), c, Options{})
		size, sizeErr := r.Size(t.Context(), c, Options{})
		if err != nil || sizeErr != nil || !bytes.Equal(got, data) || size != int64(len(data)) {
			t.Fatalf("%v: %v, %v", c, err, sizeErr)
		}
	}
	n := 0
	for b, err := range r.Many(t.Context(), cids, Options{}) {
		if err != nil || !bytes.Equal(b.Data, want[b.CID]) {
			t.Fatalf("%v: %v", b.CID, err)
		}
		n++
	}
	if n != len(want) {
		t.Fatalf("Many gave %d blocks of %d", n, len(want))
	}
}

// TestADamagedIndexFile flips bytes of a real index on disk. A block is then
// found and right, or there is an error: it is not just missing.
func TestADamagedIndexFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.car")
	blocks := cartest.Random(1, 300, 50)
	if err := os.WriteFile(path, cartest.V1(nil, blocks), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, indexPath, err := openReal(t, path, false)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(indexPath)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for off := 0; off < len(good); off += 97 {
		bad := bytes.Clone(good)
		bad[off] ^= 0x20
		x, err := index.NewFile(bytes.NewReader(bad), int64(len(bad)))
		if err != nil {
			if !errors.Is(err, index.ErrDamaged) && !errors.Is(err, index.ErrVersion) {
				t.Fatal(err)
			}
			refused++
			continue
		}
		r := readerOf(openOver(t, path, x), Config{})
		for i := 0; i < len(blocks); i += 7 {
			got, err := r.Get(t.Context(), blocks[i].CID, Options{})
			switch {
			case err == nil && !bytes.Equal(got, blocks[i].Data):
				t.Fatalf("byte %d: wrong data", off)
			case err != nil && !errors.Is(err, shard.ErrIndex):
				t.Fatalf("byte %d: %v", off, err)
			case err != nil:
				refused++
			}
		}
	}
	if refused == 0 {
		t.Fatal("no damage was noticed")
	}
}

func openOver(t *testing.T, path string, x local.IndexFile) *local.Handle {
	t.Helper()
	m, err := filemount.New(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := local.Open(t.Context(), local.Spec{
		Key: "real", ID: 1, Mount: m, Source: mount.Stat{Size: st.Size}, Payload: shard.Extent{Size: st.Size},
		OpenIndex: func(context.Context) (local.IndexFile, error) { return x, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Drop)
	return h
}
