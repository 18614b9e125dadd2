package car

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// A sparse is a file of null bytes with data at its beginning.
type sparse struct {
	data []byte
	size int64
	read int64
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), s.size-off))
	clear(p[:n])
	if off < int64(len(s.data)) {
		copy(p[:n], s.data[off:])
	}
	s.read += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *sparse) reader() *io.SectionReader { return io.NewSectionReader(s, 0, s.size) }

// TestEnormousFiles is the first part of B32: sparse files of a size that
// nobody could read.
func TestEnormousFiles(t *testing.T) {
	const tib = 1 << 40
	huge := cartest.AppendUvarint(bytes.Clone(goodV1), tib)
	huge = append(huge, goodBlocks[0].CID.Bytes()...)

	t.Run("B32/null bytes after the last section", func(t *testing.T) {
		f := &sparse{data: goodV1, size: tib}
		checkBounds(t, 0, func() error {
			got := collect(f.reader(), Options{Size: tib})
			if got.err != nil || got.res.Sections != 3 || got.res.Trailing {
				t.Errorf("%d sections, trailing %v, %v", got.res.Sections, got.res.Trailing, got.err)
			}
			if r := got.res; r.Padding < maxPadding || r.End+r.Padding+r.Unread != tib || r.PayloadSize != tib {
				t.Errorf("ends at %d, padding %d, unread %d", r.End, r.Padding, r.Unread)
			}
			return nil
		})
	})
	t.Run("B32/a section of a TiB", func(t *testing.T) {
		f := &sparse{data: huge, size: 2 * tib}
		checkBounds(t, 0, func() error {
			checkFault(t, "default limits", collect(f.reader(), Options{Size: 2 * tib}).err, shard.BadSection, int64(len(goodV1)))
			return nil
		})
	})
	t.Run("B32/a section of a TiB that may be", func(t *testing.T) {
		f := &sparse{data: huge, size: int64(len(huge)) + tib - 36}
		got := collect(f.reader(), Options{Size: f.size, Limits: Limits{Section: Unlimited}})
		if got.err != nil || len(got.sections) != 4 || got.sections[3].Size != tib-36 {
			t.Errorf("%d sections, %v", len(got.sections), got.err)
		}
		if f.read > 1<<20 {
			t.Errorf("%d bytes were read to pass over one body", f.read)
		}
	})
	t.Run("B32/null bytes for a header", func(t *testing.T) {
		checkBounds(t, 0, func() error {
			checkFault(t, "sparse", collect((&sparse{size: tib}).reader(), Options{Size: tib}).err, shard.BadHeader, 0)
			return nil
		})
	})
}

// TestChangingFiles is the second part of B32: the source is at fault, not the
// CAR, where it is shorter or longer than it said. This is R24, too.
func TestChangingFiles(t *testing.T) {
	blocks := append(cartest.Random(2, 3, 100), cartest.RandomBlock(2, 3, 1<<20))
	v1 := cartest.V1([]cid.Cid{blocks[0].CID}, blocks)
	for name, file := range map[string][]byte{"v1": v1, "v2": cartest.V2(v1, cartest.Container{})} {
		size := int64(len(file))
		for cut := int64(0); cut < size; cut += 1 + cut/3 {
			for _, how := range readings(file[:cut], Options{}) {
				how.opt.Size = size
				err := collect(how.r, how.opt).err
				if !errors.Is(err, shard.ErrSource) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, shard.ErrCAR) {
					t.Fatalf("%s shrunk to %d of %d, %s: %v", name, cut, size, how.name, err)
				}
				var at int64 // a body was jumped over: it ends somewhere before
				if n, _ := fmt.Sscanf(lastPart(err, "it ends after "), "%d", &at); n == 1 && at != cut {
					t.Fatalf("%s shrunk to %d of %d, %s: %v", name, cut, size, how.name, err)
				}
			}
		}
		for _, how := range readings(append(bytes.Clone(file), "\x00and more"...), Options{}) {
			how.opt.Size = size
			if err := collect(how.r, how.opt).err; !errors.Is(err, shard.ErrChanged) || errors.Is(err, shard.ErrCAR) {
				t.Errorf("%s grown from %d, %s: %v", name, size, how.name, err)
			}
		}
	}
}

// lastPart returns what follows sep in the text of err.
func lastPart(err error, sep string) string {
	_, after, _ := strings.Cut(err.Error(), sep)
	return after
}

func TestSourceErrorsPassThrough(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name       string
		err        error
		wantSource bool
	}{
		{"another error", broken, true},
		{"connection lost", io.ErrUnexpectedEOF, true},
		{"changed", shard.ErrChanged, false},
		{"cancelled", context.Canceled, false},
	} {
		for _, at := range []int{0, 5, 60, len(goodV1) - 10, len(goodV1)} {
			r := io.MultiReader(bytes.NewReader(goodV1[:at]), iotest.ErrReader(c.err))
			err := collect(r, Options{}).err
			if _, isFault := errors.AsType[*shard.Fault](err); isFault || !errors.Is(err, c.err) {
				t.Errorf("%s at %d: got %v", c.name, at, err)
			}
			if errors.Is(err, shard.ErrSource) != c.wantSource {
				t.Errorf("%s at %d: wraps ErrSource is %v: %v", c.name, at, !c.wantSource, err)
			}
		}
	}
	stuck := readerFunc(func([]byte) (int, error) { return 0, nil })
	if err := collect(stuck, Options{}).err; !errors.Is(err, io.ErrNoProgress) || !errors.Is(err, shard.ErrSource) {
		t.Errorf("a reader that returns nothing: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestContextEndsScan(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var header, endless bytes.Reader
	header.Reset(goodHeader)
	section := cartest.AppendBlock(nil, goodBlocks[0])
	sections := readerFunc(func(p []byte) (int, error) {
		if endless.Len() == 0 {
			endless.Reset(section)
		}
		return endless.Read(p)
	})
	n := 0
	res, err := Scan(ctx, io.MultiReader(&header, sections), Options{}, func(*Section) error {
		if n++; n == 1000 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, shard.ErrSource) {
		t.Errorf("got %v", err)
	}
	if res.Sections > 1000+2*bufferSize/int64(len(section)) {
		t.Errorf("%d sections were read after it ended", res.Sections-1000)
	}
}

func TestEmitErrorIsReturned(t *testing.T) {
	for _, verify := range []bool{false, true} {
		stop := errors.New("stop")
		n := 0
		_, err := Scan(context.Background(), bytes.NewReader(goodV1), Options{Verify: verify}, func(*Section) error {
			n++
			return stop
		})
		if err != stop || n != 1 {
			t.Errorf("after %d sections: got %v, want the error itself", n, err)
		}
	}
}

func TestBodiesAreJumpedOver(t *testing.T) {
	data := cartest.RandomV1(1, 64, 1<<20)
	f := &sparse{data: data, size: int64(len(data))}
	got := collect(f.reader(), Options{Size: f.size})
	if got.err != nil || len(got.sections) != 64 {
		t.Fatalf("%d sections, %v", len(got.sections), got.err)
	}
	if f.read > 64*(firstRead+1)*2 {
		t.Errorf("%d bytes read of 64 blocks of a MiB", f.read)
	}
}

func TestScanStartsWhereTheReaderStands(t *testing.T) {
	r := bytes.NewReader(append([]byte("0123456789"), goodV1...))
	if _, err := r.Seek(10, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	got := collect(r, Options{Size: int64(len(goodV1))})
	if got.err != nil || len(got.sections) != 3 || got.sections[0].Offset != int64(len(goodHeader)) {
		t.Errorf("%d sections, %v", len(got.sections), got.err)
	}
	if pos, _ := r.Seek(0, io.SeekCurrent); pos != 10 {
		t.Errorf("its position is now %d", pos)
	}
}

// TestPipe: an *os.File has the methods of a file also where it cannot seek.
func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data := cartest.RandomV1(1, 3, 300<<10)
	wrote := make(chan error, 1)
	go func() {
		_, err := w.Write(data)
		wrote <- errors.Join(err, w.Close())
	}()
	got := collect(r, Options{Verify: true})
	if got.err != nil || len(got.sections) != 3 {
		t.Errorf("%d sections, %v", len(got.sections), got.err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

func TestProgress(t *testing.T) {
	const size = 300 << 10
	data := cartest.RandomV1(1, 40, size)
	for _, how := range readings(data, Options{}) {
		var calls, last int64
		how.opt.Progress = func(done int64) {
			calls++
			if done <= last || done-last < progressStep && done != int64(len(data)) {
				t.Errorf("%s: %d after %d", how.name, done, last)
			}
			last = done
		}
		if err := collect(how.r, how.opt).err; err != nil {
			t.Fatal(err)
		}
		if last != int64(len(data)) || calls < 5 {
			t.Errorf("%s: %d of %d in %d calls", how.name, last, len(data), calls)
		}
	}
}
