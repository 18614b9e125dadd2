package mounttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
)

// faultyCar mounts the bytes of car with faults.
func faultyCar(script ...Fault) mount.Mount {
	var cars memmount.Set
	return Faulty(cars.Put("car", car), script...)
}

// ways are the calls that open, each reading all of the source by itself.
var ways = map[string]func(context.Context, mount.Mount) ([]byte, error){
	"Open": func(ctx context.Context, m mount.Mount) ([]byte, error) {
		return slurp(m.Open(ctx))
	},
	"OpenRange": func(ctx context.Context, m mount.Mount) ([]byte, error) {
		return slurp(mount.OpenRange(ctx, m, mount.Range{Length: -1}))
	},
	"OpenFile": func(ctx context.Context, m mount.Mount) ([]byte, error) {
		f, err := mount.OpenFile(ctx, m)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		buf := make([]byte, len(car))
		n, err := f.ReadAt(buf, 0)
		return buf[:n], err
	},
}

func slurp(r io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestFaults(t *testing.T) {
	flipped := bytes.Clone(car)
	flipped[100] ^= 1
	for name, c := range map[string]struct {
		fault Fault
		want  []byte
		err   error
	}{
		"none":         {Fault{}, car, nil},
		"fail":         {Fault{At: 100, Do: Fail, Err: errOwn}, car[:100], errOwn},
		"fail unnamed": {Fault{At: 100, Do: Fail}, car[:100], ErrFault},
		"fail at once": {Fault{At: -1, Do: Fail, Err: errOwn}, nil, errOwn},
		"fail at 0":    {Fault{Do: Fail, Err: errOwn}, nil, errOwn},
		"short":        {Fault{At: 100, Do: Short}, car[:100], io.EOF},
		"flip":         {Fault{At: 100, Do: Flip}, flipped, nil},
		"past the end": {Fault{At: int64(len(car)) + 1, Do: Fail}, car, nil},
	} {
		for way, read := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				m := faultyCar(c.fault)
				err := c.err
				if err == io.EOF && way != "OpenFile" {
					err = nil // io.ReadAll takes it for the end, as it should
				}
				if got, gotErr := read(t.Context(), m); !bytes.Equal(got, c.want) || !errors.Is(gotErr, err) {
					t.Errorf("%d bytes, %v; not %d, %v", len(got), gotErr, len(c.want), err)
				}
				if got, err := read(t.Context(), m); !bytes.Equal(got, car) || err != nil {
					t.Errorf("after the script: %d bytes, %v", len(got), err)
				}
			})
		}
	}
}

func TestPanics(t *testing.T) {
	for _, at := range []int64{-1, 0, 100} {
		for way, read := range ways {
			func() {
				defer func() {
					if p := recover(); p != ErrFault {
						t.Errorf("%s at %d: panics with %v", way, at, p)
					}
				}()
				_, err := read(t.Context(), faultyCar(Fault{At: at, Do: Panic}))
				t.Errorf("%s at %d: no panic, %v", way, at, err)
			}()
		}
	}
}

func TestHangEndsWithItsContext(t *testing.T) {
	for _, at := range []int64{-1, 0, 100} {
		for way, read := range ways {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began := time.Now()
				_, err := read(ctx, faultyCar(Fault{At: at, Do: Hang}))
				if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != time.Hour {
					t.Errorf("%s at %d: %v after %v", way, at, err, took)
				}
			})
		}
	}
}

func TestHangEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := faultyCar(Fault{Do: Hang}, Fault{Do: Hang})
		stream, err := m.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		file, err := mount.OpenFile(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Minute)
			_ = stream.Close()
			_ = file.Close()
		}()
		if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Read gives %v", err)
		}
		if _, err := file.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("ReadAt gives %v", err)
		}
	})
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		got, err := ways["OpenFile"](t.Context(), faultyCar(Fault{At: 100, Do: Slow, Delay: time.Minute}))
		if took := time.Since(began); !bytes.Equal(got, car) || err != nil || took != time.Minute {
			t.Errorf("%d bytes, %v after %v", len(got), err, took)
		}
		began = time.Now()
		got, err = ways["Open"](t.Context(), faultyCar(Fault{At: 100, Do: Slow, Delay: time.Minute}))
		if took := time.Since(began); !bytes.Equal(got, car) || err != nil || took < 2*time.Minute {
			t.Errorf("%d bytes, %v after %v", len(got), err, took)
		}
	})
}

// What a mount does not offer, it does not offer with faults either.
func TestFaultyKeepsWhatIsOptional(t *testing.T) {
	var cars memmount.Set
	good := cars.Put("car", car)
	for _, m := range []mount.Mount{
		good,
		struct{ mount.Mount }{good},
		struct{ mount.RangeOpener }{good.(mount.RangeOpener)},
		struct{ mount.FileOpener }{good.(mount.FileOpener)},
	} {
		_, ranges := m.(mount.RangeOpener)
		_, local := m.(mount.FileOpener)
		f := Faulty(m)
		if _, ok := f.(mount.RangeOpener); ok != ranges {
			t.Errorf("%T: RangeOpener is %v, not %v", f, ok, ranges)
		}
		if _, ok := f.(mount.FileOpener); ok != local {
			t.Errorf("%T: FileOpener is %v, not %v", f, ok, local)
		}
	}
	reg := mount.Registry{"mem": cars.Open}
	if err := Test(t.Context(), reg, Faulty(good), car); err != nil {
		t.Errorf("with no faults: %v", err)
	}
}

// The misdeeds are those that the suite finds.
func TestSuiteFindsFaults(t *testing.T) {
	var cars memmount.Set
	good := cars.Put("car", car)
	reg := mount.Registry{"mem": cars.Open}
	for _, f := range []Fault{
		{At: 10, Do: Fail}, {At: 10, Do: Short}, {At: 10, Do: Flip}, {At: 10, Do: Panic},
	} {
		if err := Test(t.Context(), reg, Faulty(good, f), car); err == nil {
			t.Errorf("%+v is not found", f)
		}
	}
}

// A File with a fault is right before the place, wherever a read begins.
func TestFaultyFileByOffset(t *testing.T) {
	f, err := mount.OpenFile(t.Context(), faultyCar(Fault{At: 100, Do: Fail}))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		off  int64
		size int
		n    int
		err  error
	}{{0, 100, 100, nil}, {90, 10, 10, nil}, {90, 11, 10, ErrFault}, {100, 1, 0, ErrFault}, {500, 10, 0, ErrFault}} {
		buf := make([]byte, c.size)
		n, err := f.ReadAt(buf, c.off)
		if n != c.n || !errors.Is(err, c.err) || !bytes.Equal(buf[:n], car[c.off:c.off+int64(n)]) {
			t.Errorf("%d bytes at %d: %d, %v", c.size, c.off, n, err)
		}
	}
}
