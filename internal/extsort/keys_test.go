package extsort

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// keyShapes make the keys of a test.
var keyShapes = map[string]func(r *rand.Rand) uint64{
	"hashes":         func(r *rand.Rand) uint64 { return r.Uint64() },
	"low bits":       func(r *rand.Rand) uint64 { return r.Uint64() >> 40 },
	"few":            func(r *rand.Rand) uint64 { return r.Uint64() % 3 << 62 },
	"one first byte": func(r *rand.Rand) uint64 { return 7<<56 | r.Uint64()>>8 },
	"one":            func(*rand.Rand) uint64 { return 5 },
}

func addKeys(t testing.TB, k *Keys, keys []uint64) {
	t.Helper()
	for _, key := range keys {
		if err := k.Add(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

func allKeys(t testing.TB, k *Keys) (got []uint64) {
	t.Helper()
	if err := k.All(t.Context(), func(keys []uint64) error {
		if len(keys) == 0 {
			t.Error("an empty batch")
		}
		got = append(got, keys...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestKeys(t *testing.T) {
	for name, shape := range keyShapes {
		for _, memory := range []int64{0, 32 << 10, 8 << 20, 64 << 20} {
			for _, n := range []int{0, 1, 15, 16, 17, 5000, flatKeys, flatKeys + 1, 1_200_000} {
				if n > 1<<20 && (memory != 8<<20 || name != "hashes" && name != "one first byte") || n > 100*int(memory+100) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%d/%d", name, memory, n), func(t *testing.T) {
					dir := t.TempDir()
					r := rand.New(rand.NewPCG(1, uint64(n)))
					keys := make([]uint64, n)
					for i := range keys {
						keys[i] = shape(r)
					}
					k := NewKeys(memory, dir)
					addKeys(t, k, keys)
					if k.Len() != int64(n) {
						t.Errorf("Len = %d, want %d", k.Len(), n)
					}
					if in := n*keySize <= int(memory)/4; in && k.Spilled() {
						t.Error("spilled although there was room")
					}
					got := allKeys(t, k)
					slices.Sort(keys)
					if !slices.Equal(got, slices.Compact(keys)) {
						t.Error("keys are lost, made up, repeated or out of order")
					}
					closeKeys(t, k, dir)
				})
			}
		}
	}
}

func closeKeys(t *testing.T, k *Keys, dir string) {
	t.Helper()
	for range 2 {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := k.Add(t.Context(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
}

// TestKeysMemory: what Keys hold is bounded by what they were given.
func TestKeysMemory(t *testing.T) {
	const memory = 8 << 20
	for name, shape := range keyShapes {
		k := NewKeys(memory, t.TempDir())
		r := rand.New(rand.NewPCG(2, 2))
		for range 1_200_000 {
			if err := k.Add(t.Context(), shape(r)); err != nil {
				t.Fatal(err)
			}
		}
		chunks := k.chunks + len(k.free)
		if held := (chunks*keyChunk + cap(k.flat) + cap(k.order) + len(k.tmp)) * keySize; held > memory*5/4 {
			t.Errorf("%s: %d bytes are held, %d were given", name, held, memory)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestKeysStop(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	for _, n := range []int{10, 1000} { // in memory, and spilled
		k := NewKeys(1024, t.TempDir())
		for i := range n {
			if err := k.Add(t.Context(), uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if k.Spilled() != (n == 1000) {
			t.Errorf("%d keys: Spilled = %v", n, k.Spilled())
		}
		if err := k.All(ctx, func([]uint64) error { return nil }); !errors.Is(err, stop) {
			t.Errorf("%d keys: All under an ended context: %v", n, err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		k = NewKeys(1024, t.TempDir())
		for i := range n {
			if err := k.Add(t.Context(), uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.All(t.Context(), func([]uint64) error { return stop }); err != stop {
			t.Errorf("%d keys: All = %v, want the error of yield", n, err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	// A spill looks at the context, too, and what came of it is not known then.
	k := NewKeys(1024, t.TempDir())
	var err error
	for i := uint64(0); err == nil && i < 1000; i++ {
		err = k.Add(ctx, i)
	}
	if !errors.Is(err, stop) {
		t.Errorf("Add under an ended context: %v", err)
	}
	if err := k.All(t.Context(), func([]uint64) error { return nil }); !errors.Is(err, stop) {
		t.Errorf("All after a spill that was cut off: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

// A key that is lost on the way would be a block that is never found.
func TestDamagedKeys(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"changed": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1, 2, 3}, 803)
			return errors.Join(err, f.Close())
		},
		"cut between keys": func(path string) error { return os.Truncate(path, 1600) },
		"cut within a key": func(path string) error { return os.Truncate(path, 1603) },
		"empty":            func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			k := NewKeys(800, t.TempDir())
			defer k.Close()
			r := rand.New(rand.NewPCG(3, 3))
			for range 350 {
				addKeys(t, k, []uint64{r.Uint64()})
			}
			if err := damage(k.spill.f.Name()); err != nil {
				t.Fatal(err)
			}
			if err := k.All(t.Context(), func([]uint64) error { return nil }); !errors.Is(err, ErrSpill) {
				t.Errorf("All = %v, want ErrSpill", err)
			}
		})
	}
}

func TestKeysNoFolder(t *testing.T) {
	k := NewKeys(0, "/no/such/folder")
	var err error
	for i := uint64(0); err == nil && i < 1000; i++ {
		err = k.Add(t.Context(), i)
	}
	if !errors.Is(err, ErrSpill) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder to spill to: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

func BenchmarkKeys(b *testing.B) {
	for _, n := range []int{1000, 2_000_000} {
		for _, memory := range []int64{64 << 20, 8 << 20} {
			b.Run(fmt.Sprintf("%d/%dMiB", n, memory>>20), func(b *testing.B) {
				dir := b.TempDir()
				rng := rand.NewChaCha8([32]byte{})
				b.ReportAllocs()
				for b.Loop() {
					k := NewKeys(memory, dir)
					for range n {
						if err := k.Add(b.Context(), rng.Uint64()); err != nil {
							b.Fatal(err)
						}
					}
					if err := k.All(b.Context(), func([]uint64) error { return nil }); err != nil {
						b.Fatal(err)
					}
					if err := k.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/key")
			})
		}
	}
}
