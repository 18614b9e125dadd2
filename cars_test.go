package dagstore

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ipld/go-car/v2"

	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// carsFolder holds real CARs by others, and facts.tsv that says what is in them.
const carsFolder = "../shared/cars"

// facts is one line of facts.tsv.
type facts struct {
	file                  string
	good                  bool
	sections, multihashes int64
}

func readFacts(t *testing.T) []facts {
	f, err := os.Open(filepath.Join(carsFolder, "facts.tsv"))
	if err != nil {
		t.Skip("no folder of real CARs beside the project; the made ones are tested in internal/car")
	}
	defer f.Close()
	var all []facts
	for s := bufio.NewScanner(f); s.Scan(); {
		col := strings.Split(s.Text(), "\t")
		if col[0] == "file" {
			continue
		}
		sections, _ := strconv.ParseInt(col[4], 10, 64)
		multihashes, _ := strconv.ParseInt(col[5], 10, 64)
		all = append(all, facts{col[0], col[9] == "end", sections, multihashes})
	}
	return all
}

// Every real CAR is taken or refused as the facts say; of the good ones every
// block is read byte for byte, before and after a restart.
func TestRealCARs(t *testing.T) {
	r := newRig(t)
	all := readFacts(t)
	for _, f := range all {
		m, err := filemount.New(filepath.Join(carsFolder, f.file))
		if err != nil {
			t.Fatal(err)
		}
		err = r.store.Register(r.ctx(), shard.Key(f.file), m, &RegisterOptions{Verify: true})
		if !f.good {
			var about *shard.Error
			var fault *shard.Fault
			if !errors.Is(err, shard.ErrCAR) || !errors.As(err, &about) || !errors.As(err, &fault) || string(about.Key) != f.file {
				t.Errorf("%s is bad, and: %v", f.file, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s is good, and: %v", f.file, err)
			continue
		}
		in := r.info(shard.Key(f.file))
		if in.Sections != f.sections || in.Multihashes != f.multihashes || in.Faults != 0 {
			t.Errorf("%s: %d sections, %d multihashes, %d faults; the facts say %d, %d, 0", f.file, in.Sections, in.Multihashes, in.Faults, f.sections, f.multihashes)
		}
	}
	compareBlocks(t, r, all)
	r.reopen()
	compareBlocks(t, r, all)
}

// compareBlocks reads every block that go-car finds in the good CARs, from the
// shard and from all shards.
func compareBlocks(t *testing.T, r *rig, all []facts) {
	t.Helper()
	everywhere := r.store.Blockstore(nil)
	for _, f := range all {
		if !f.good {
			continue
		}
		src, err := os.Open(filepath.Join(carsFolder, f.file))
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := car.NewBlockReader(src, car.ZeroLengthSectionAsEOF(true))
		if err != nil {
			t.Fatal(f.file, err)
		}
		a := r.acquire(shard.Key(f.file))
		n := int64(0)
		for b, err := blocks.Next(); err == nil; b, err = blocks.Next() {
			n++
			for where, bs := range map[string]*Blockstore{"shard": a.Blockstore(), "store": everywhere} {
				got, err := bs.Get(r.ctx(), b.Cid())
				if err != nil || string(got.RawData()) != string(b.RawData()) {
					t.Fatalf("%s: %v from the %s: %v", f.file, b.Cid(), where, err)
				}
			}
		}
		if n != f.sections {
			t.Errorf("%s: go-car reads %d sections, the facts say %d", f.file, n, f.sections)
		}
		a.Close()
		src.Close()
	}
}
