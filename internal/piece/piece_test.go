package piece

import (
	"bytes"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ipfs/go-cid"
)

// blocksOf is a run of blocks of 127 bytes, the n-th of which is full of n.
func blocksOf(n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, bytes.Repeat([]byte{byte(i)}, inQuad)...)
	}
	return b
}

// zeros is a reader of n zeros.
func zeros(n int64) io.Reader { return io.LimitReader(endless{}, n) }

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestVectors: the test cases of FRC-0069.
func TestVectors(t *testing.T) {
	four := blocksOf(4)
	for _, c := range []struct {
		data    io.Reader
		v1, v2  string
		padding int64
	}{
		{bytes.NewReader(four), "baga6ea4seaqes3nobte6ezpp4wqan2age2s5yxcatzotcvobhgcmv5wi2xh5mbi", "bafkzcibcaaces3nobte6ezpp4wqan2age2s5yxcatzotcvobhgcmv5wi2xh5mbi", 0},
		{bytes.NewReader(nil), "", "bafkzcibcp4bdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy", 127},
		{zeros(127), "", "bafkzcibcaabdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy", 0},
		{zeros(128), "", "bafkzcibcpybwiktap34inmaex4wbs6cghlq5i2j2yd2bb2zndn5ep7ralzphkdy", 126},
		{io.MultiReader(bytes.NewReader(four), zeros(4*127)), "baga6ea4seaqn42av3szurbbscwuu3zjssvfwbpsvbjf6y3tukvlgl2nf5rha6pa", "bafkzcibcaac542av3szurbbscwuu3zjssvfwbpsvbjf6y3tukvlgl2nf5rha6pa", 0},
		{io.MultiReader(bytes.NewReader(four), zeros(4)), "baga6ea4seaqn42av3szurbbscwuu3zjssvfwbpsvbjf6y3tukvlgl2nf5rha6pa", "bafkzcibd7abqlxticxolgseegik2stpfgkkuwyf6kufex3doorkvmzpjuxwe4dz4", 504},
		{io.MultiReader(bytes.NewReader(four), zeros(5)), "baga6ea4seaqn42av3szurbbscwuu3zjssvfwbpsvbjf6y3tukvlgl2nf5rha6pa", "bafkzcibd64bqlxticxolgseegik2stpfgkkuwyf6kufex3doorkvmzpjuxwe4dz4", 503},
	} {
		sum, err := Of(c.data)
		if err != nil {
			t.Fatal(err)
		}
		root, height := sum.Root()
		if got := V2(root, sum.Size()); got.String() != c.v2 {
			t.Errorf("%d bytes: %s, want %s", sum.Size(), got, c.v2)
		}
		id, ok := Parse(cid.MustParse(c.v2))
		if room, _ := Room(id.Height); !ok || id.Size != sum.Size() || id.Root != root || id.Height != height || room-id.Size != c.padding {
			t.Errorf("%s says %+v, %v", c.v2, id, ok)
		}
		if c.v1 != "" && id.V1().String() != c.v1 {
			t.Errorf("%s is %s, want %s", c.v2, id.V1(), c.v1)
		}
		if v1, ok := Parse(id.V1()); !ok || v1.Root != root || v1.Size != -1 || !sum.Matches(v1) || !sum.Matches(id) {
			t.Errorf("%s says %+v, %v", id.V1(), v1, ok)
		}
	}
	// Too large to be summed here: 32 and 64 GiB of zeros.
	for v1, want := range map[string]struct {
		v2   string
		size int64
	}{
		"baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq": {"bafkzcibcaapao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq", 32 << 30 / 128 * 127},
		"baga6ea4seaqomqafu276g53zko4k23xzh4h4uecjwicbmvhsuqi7o4bhthhm4aq": {"bafkzcibcaap6mqafu276g53zko4k23xzh4h4uecjwicbmvhsuqi7o4bhthhm4aq", 64 << 30 / 128 * 127},
	} {
		id, ok := Parse(cid.MustParse(v1))
		if got := V2(id.Root, want.size); !ok || got.String() != want.v2 {
			t.Errorf("%s of %d bytes is %s, want %s", v1, want.size, got, want.v2)
		}
		back, ok := Parse(cid.MustParse(want.v2))
		if !ok || back.Size != want.size || back.V1().String() != v1 {
			t.Errorf("%s says %+v, %v", want.v2, back, ok)
		}
		// A tree of zeros needs no bytes.
		var s Sum
		if *s.zero(int(back.Height)) != back.Root {
			t.Errorf("the tree of height %d over zeros is not that of %s", back.Height, v1)
		}
	}
	digest, err := hex.DecodeString("01559120220004496dae0cc9e265efe5a006e80626a5dc5c409e5d3155c13984caf6c8d5cfd605")
	if c, castErr := cid.Cast(digest); err != nil || castErr != nil || c.String() != "bafkzcibcaaces3nobte6ezpp4wqan2age2s5yxcatzotcvobhgcmv5wi2xh5mbi" {
		t.Error(c, err, castErr)
	}
}

// TestPadded: a piece that was filled up to a larger one is still one of its bytes.
func TestPadded(t *testing.T) {
	data := blocksOf(3)
	sum, err := Of(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for height := uint8(4); height < 9; height++ {
		room, _ := Room(height)
		whole, err := Of(io.MultiReader(bytes.NewReader(data), zeros(room-int64(len(data)))))
		if err != nil {
			t.Fatal(err)
		}
		root, h := whole.Root()
		v2, _ := Parse(V2(root, room))
		v1, _ := Parse(v2.V1())
		if h != height || !sum.Matches(v1) || !sum.Matches(v2) {
			t.Errorf("height %d: %d, %v, %v", height, h, sum.Matches(v1), sum.Matches(v2))
		}
		v2.Height++
		if sum.Matches(v2) {
			t.Errorf("height %d: a piece of another height matches", height)
		}
	}
	other, err := Of(bytes.NewReader(data[1:]))
	if err != nil {
		t.Fatal(err)
	}
	root, _ := other.Root()
	if id, _ := Parse(V2(root, other.Size())); sum.Matches(id) {
		t.Error("other bytes match")
	}
	if id, _ := Parse(V2(root, sum.Size())); sum.Matches(id) {
		t.Error("other bytes of that length match")
	}
	same, _ := sum.Root()
	if id, _ := Parse(V2(same, sum.Size()-1)); sum.Matches(id) {
		t.Error("a shorter piece matches")
	}
}

// TestWrites: how the bytes come does not matter, nor that the sum was asked before.
func TestWrites(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 20_000)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for range 50 {
		n := rng.IntN(len(data))
		at, parts := 0, new(Sum)
		for at < n {
			m := min(n-at, rng.IntN(400))
			if _, err := parts.Write(data[at : at+m]); err != nil {
				t.Fatal(err)
			}
			at += m
			parts.Root()
		}
		whole := new(Sum)
		if _, err := whole.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		got, h := parts.Root()
		if want, height := simple(data[:n]); got != want || h != height || parts.Size() != int64(n) {
			t.Fatalf("%d bytes in parts: %x of height %d, want %x of %d", n, got, h, want, height)
		}
		if again, _ := whole.Root(); again != got {
			t.Fatalf("%d bytes at once: %x", n, again)
		}
	}
}

// simple makes the whole tree, bit by bit and level by level.
func simple(data []byte) (node, uint8) {
	room := inQuad
	for ; room < len(data); room *= 2 {
	}
	level := make([]node, room/inQuad*4)
	for i := range len(data) * 8 {
		if data[i/8]>>(i%8)&1 == 1 {
			leaf, bit := i/254, i%254
			level[leaf][bit/8] |= 1 << (bit % 8)
		}
	}
	height := uint8(0)
	for ; len(level) > 1; height++ {
		for i := range len(level) / 2 {
			level[i] = above(&level[2*i], &level[2*i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0], height
}

// TestNoPieces: what is no piece CID is told apart.
func TestNoPieces(t *testing.T) {
	root := make([]byte, nodeSize)
	for name, c := range map[string]cid.Cid{
		"undefined":    cid.Undef,
		"version 0":    cid.MustParse("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"),
		"raw":          cid.MustParse("bafkreihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq"),
		"v1 as raw":    makeCID(cid.Raw, hashV1, root),
		"v2 codec":     makeCID(codecUnsealed, hashV2, append([]byte{0, 4}, root...)),
		"v1 short":     makeCID(codecUnsealed, hashV1, root[1:]),
		"v2 short":     makeCID(cid.Raw, hashV2, append([]byte{0, 4}, root[1:]...)),
		"v2 long":      makeCID(cid.Raw, hashV2, append([]byte{0, 4, 0}, root...)),
		"v2 low":       makeCID(cid.Raw, hashV2, append([]byte{0, 1}, root...)),
		"v2 high":      makeCID(cid.Raw, hashV2, append([]byte{0, MaxHeight + 1}, root...)),
		"v2 varint":    makeCID(cid.Raw, hashV2, append([]byte{0x80, 0, 4}, root...)),
		"half padding": makeCID(cid.Raw, hashV2, append([]byte{127, 3}, root...)),
		"all padding":  makeCID(cid.Raw, hashV2, append([]byte{0xfe, 1, 2}, root...)),
		"255 bits":     makeCID(codecUnsealed, hashV1, append(root[:31:31], 0x40)),
	} {
		if id, ok := Parse(c); ok {
			t.Errorf("%s: %+v", name, id)
		}
	}
	if c := V2(node{}, -1); c.Defined() {
		t.Errorf("a piece of -1 bytes: %s", c)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq", "bafkzcibd64bqlxticxolgseegik2stpfgkkuwyf6kufex3doorkvmzpjuxwe4dz4"} {
		f.Add(cid.MustParse(text).Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := cid.Cast(data)
		if err != nil {
			return
		}
		id, ok := Parse(c)
		if !ok {
			return
		}
		back := id.V1()
		if id.Size >= 0 {
			back = V2(id.Root, id.Size)
		}
		if !back.Equals(c) {
			t.Fatalf("%s says %+v, which is %s", c, id, back)
		}
	})
}

func BenchmarkSum(b *testing.B) {
	data := make([]byte, 1<<20)
	b.SetBytes(int64(len(data)))
	var s Sum
	for b.Loop() {
		if _, err := s.Write(data); err != nil {
			b.Fatal(err)
		}
	}
}
