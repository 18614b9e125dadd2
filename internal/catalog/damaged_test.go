package catalog

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

const damagedAt = 2 // of five records

// damagedCatalog has five records with intents and indices, one of which
// cannot be understood.
func damagedCatalog(t *testing.T) (*Embedded, *Batch) {
	t.Helper()
	c, err := Open(t.Context(), Config{FS: vfstest.NewDisk(), Dir: "/catalog"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(t.Context()) }) // is checked by those who close it
	b := &Batch{}
	for i := range 5 {
		r := lazy(i)
		r.Intent, r.Index.ID = Initialize, index.ID(101+i)
		b.Puts = append(b.Puts, Put{Record: r})
	}
	if err := c.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	key := recordKey(lazy(damagedAt).Key)
	if err := c.db.Set(key, []byte("neither a record nor its checksum"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := c.advance(); err != nil {
		t.Fatal(err)
	}
	return c, b
}

// TestDamagedRecord: a record that cannot be understood is reported and
// listed, hides nobody, and is not overwritten by accident.
func TestDamagedRecord(t *testing.T) {
	c, b := damagedCatalog(t)
	key := lazy(damagedAt).Key
	var d *DamagedError
	if _, err := c.Get(t.Context(), key); !errors.As(err, &d) || d.Key != key || !errors.Is(err, ErrDamaged) {
		t.Errorf("get: %v", err)
	}
	var listed []string
	for r, err := range c.Records(t.Context(), Filter{}) {
		switch {
		case errors.As(err, &d):
			listed = append(listed, "damaged "+string(d.Key))
		case err != nil:
			t.Fatal(err)
		default:
			listed = append(listed, string(r.Key))
		}
	}
	var want []string
	for i := range b.Puts {
		want = append(want, string(lazy(i).Key))
	}
	want[damagedAt] = "damaged " + want[damagedAt]
	if !slices.Equal(listed, want) {
		t.Errorf("listed %q", listed)
	}
	for _, expect := range []uint64{0, 1} {
		r := lazy(damagedAt)
		r.Revision = expect + 1
		if err := c.Apply(t.Context(), &Batch{Puts: []Put{{r, expect}}}); !errors.As(err, &d) {
			t.Errorf("put over it, expecting %d: %v", expect, err)
		}
	}
	if err := c.Apply(t.Context(), &Batch{Deletes: []Delete{{key, 1}}}); !errors.As(err, &d) {
		t.Errorf("delete: %v", err)
	}
}

// TestDamagedRecordGoes: a damaged record can be got rid of, or replaced, with
// all that belongs to it.
func TestDamagedRecordGoes(t *testing.T) {
	key := lazy(damagedAt).Key
	again := lazy(damagedAt)
	again.Revision = 9
	for what, b := range map[string]*Batch{
		"delete": {Deletes: []Delete{{key, AnyRevision}}},
		"put":    {Puts: []Put{{again, AnyRevision}}},
	} {
		t.Run(what, func(t *testing.T) {
			c, _ := damagedCatalog(t)
			if err := c.Apply(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			r, err := c.Get(t.Context(), key)
			if what == "delete" && !errors.Is(err, ErrNotFound) || what == "put" && (err != nil || r.Revision != 9) {
				t.Errorf("get: %+v, %v", r, err)
			}
			if _, err := c.Owner(t.Context(), 101+damagedAt); !errors.Is(err, ErrNotFound) {
				t.Errorf("owner: %v", err)
			}
			var queue []shard.Key
			for q, err := range c.Intents(t.Context(), 0) {
				if err != nil {
					t.Fatal(err)
				}
				queue = append(queue, q.Key)
			}
			want := []shard.Key{lazy(0).Key, lazy(1).Key, lazy(3).Key, lazy(4).Key}
			if !slices.Equal(queue, want) {
				t.Errorf("queue is %q", queue)
			}
		})
	}
}

// TestDamagedMeta: a catalogue whose own values cannot be understood is
// refused, not made anew.
func TestDamagedMeta(t *testing.T) {
	for what, harm := range map[string]func(*pebble.DB) error{
		"meta is changed": func(db *pebble.DB) error { return db.Set([]byte{spaceMeta}, []byte("x"), pebble.Sync) },
		"meta is gone":    func(db *pebble.DB) error { return db.Delete([]byte{spaceMeta}, pebble.Sync) },
		"counter is gone": func(db *pebble.DB) error { return db.Delete([]byte{spaceCounter}, pebble.Sync) },
	} {
		disk := vfstest.NewDisk()
		c, err := Open(t.Context(), Config{FS: disk, Dir: "/catalog"})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(harm(c.db), c.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Config{FS: disk, Dir: "/catalog"}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestLaterFormat: a catalogue of a later version is refused, and not one byte
// of it is changed.
func TestLaterFormat(t *testing.T) {
	disk := vfstest.NewDisk()
	c, err := Open(t.Context(), Config{FS: disk, Dir: "/catalog"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	marker := fmt.Sprintf("/catalog/marker.format-version.999999.%03d", uint64(format)+1)
	f, err := disk.Create(marker, "")
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	before := disk.String()
	if _, err := Open(t.Context(), Config{FS: disk, Dir: "/catalog"}); !errors.Is(err, ErrVersion) {
		t.Errorf("open: %v", err)
	}
	if after := disk.String(); after != before {
		t.Errorf("the folder was\n%s\nand is\n%s", before, after)
	}
}
