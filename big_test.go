package dagstore

import (
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// Bodies of large blocks are never read to index them: not by AutoIndex, on
// this machine, and not by Hop, wherever they lie.
func TestLargeBodiesAreNotRead(t *testing.T) {
	const blocks, size = 12, 1 << 20
	for name, c := range map[string]struct {
		policy IndexPolicy
		far    bool
	}{"auto": {AutoIndex, false}, "hop": {Hop, false}, "hop elsewhere": {Hop, true}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			read := r.meters(c.far)
			m := r.putBytes("a.car", cartest.RandomV1(1, blocks, size))
			if err := r.store.Register(r.ctx(), "a", m, &RegisterOptions{Index: c.policy}); err != nil {
				t.Fatal(err)
			}
			if n := read.Load(); n > blocks*5000+20_000 {
				t.Errorf("%d bytes were read of %d", n, blocks*size)
			}
			r.has(cartest.Random(1, blocks, size))
		})
	}
}

// B20 and B21 in a CAR that is large enough to be hashed by several goroutines:
// both are listed where they lie, in the order of the CAR, and their neighbours are served.
func TestB20B21HashedBeside(t *testing.T) {
	good := cartest.Random(1, 3000, 1000)
	data := cartest.AppendHeader(nil, []cid.Cid{good[0].CID})
	var want []shard.Fault
	for i, b := range good {
		switch i {
		case 700, 2500:
			want = append(want, shard.Fault{Kind: shard.BadHash, Offset: int64(len(data))})
			bad := cartest.Raw([]byte{byte(i), byte(i >> 8)})
			data = cartest.AppendSection(data, bad.CID.Bytes(), b.Data)
		case 1400:
			want = append(want, shard.Fault{Kind: shard.BadCID, Offset: int64(len(data))})
			id := append([]byte{1, 0x55, 0xfa, 0xff, 0xff, 0x03, 32}, make([]byte, 32)...)
			data = cartest.AppendSection(data, id, b.Data)
		}
		data = cartest.AppendBlock(data, b)
	}
	r := newRig(t)
	r.register("a", r.putBytes("a.car", data), &RegisterOptions{Verify: true})
	in := r.info("a")
	if in.Faults != int64(len(want)) || len(in.Faulty) != len(want) || in.Verified != shard.Full {
		t.Fatalf("%+v", in)
	}
	for i, f := range in.Faulty {
		if f.Kind != want[i].Kind || f.Offset != want[i].Offset {
			t.Errorf("fault %d is %+v, want %+v", i, f, want[i])
		}
	}
	r.has(good)
}
