package mount_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/mount/mounttest"
)

const text = "0123456789abcdefghij"

// plain hides what a mount offers beside its three methods.
type plain struct{ mount.Mount }

func newCar() (mount.Registry, mount.Mount) {
	var cars memmount.Set
	return mount.Registry{"mem": cars.Open}, cars.Put("car", []byte(text))
}

func read(r io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

func TestOptionalInterfaces(t *testing.T) {
	_, m := newCar()
	ctx := t.Context()
	if got, err := read(mount.OpenRange(ctx, m, mount.Range{Offset: 10, Length: 3})); got != "abc" || err != nil {
		t.Errorf("OpenRange gives %q, %v", got, err)
	}
	if _, err := mount.OpenRange(ctx, plain{m}, mount.Range{Length: 1}); !errors.Is(err, mount.ErrNoRanges) {
		t.Errorf("OpenRange without ranges gives %v", err)
	}
	f, err := mount.OpenFile(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [3]byte
	if _, err := f.ReadAt(b[:], 10); string(b[:]) != "abc" || err != nil {
		t.Errorf("ReadAt gives %q, %v", b, err)
	}
	if _, err := mount.OpenFile(ctx, plain{m}); !errors.Is(err, mount.ErrNotLocal) {
		t.Errorf("OpenFile of what is not local gives %v", err)
	}
	if _, err := mount.OpenSibling(plain{m}, ".idx"); !errors.Is(err, mount.ErrNoSiblings) {
		t.Errorf("what has nothing beside it gives %v", err)
	}
}

// asked is a mount that must not be asked for a range.
type asked struct{ mount.Mount }

func (asked) OpenRange(context.Context, mount.Range) (io.ReadCloser, error) {
	panic("asked for a range that no source has")
}

func TestOpenRangeChecks(t *testing.T) {
	_, m := newCar()
	for _, r := range []mount.Range{
		{Offset: -1, Length: 1}, {Length: -2}, {Offset: math.MinInt64, Length: math.MinInt64}, {Offset: 1, Length: math.MaxInt64},
	} {
		if _, err := mount.OpenRange(t.Context(), asked{m}, r); !errors.Is(err, mount.ErrRange) {
			t.Errorf("%v gives %v", r, err)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		offset, length, size, want int64 // want -1: ErrRange
	}{
		{0, -1, 10, 10}, {3, -1, 10, 7}, {10, -1, 10, 0}, {11, -1, 10, -1}, {0, 10, 10, 10}, {0, 11, 10, -1}, {10, 0, 10, 0},
		{11, 0, 10, -1}, {0, -1, 0, 0}, {-1, 1, 10, -1}, {0, -2, 10, -1}, {1, math.MaxInt64, 10, -1}, {math.MaxInt64, 0, math.MaxInt64, 0},
		{0, math.MaxInt64, math.MaxInt64, math.MaxInt64}, {math.MaxInt64, -1, 10, -1},
	} {
		in := mount.Range{Offset: c.offset, Length: c.length, Version: "v"}
		out, err := in.Resolve(c.size)
		if c.want == -1 {
			if !errors.Is(err, mount.ErrRange) {
				t.Errorf("%v of %d: %v, %v", in, c.size, out, err)
			}
			continue
		}
		if want := (mount.Range{Offset: c.offset, Length: c.want, Version: "v"}); err != nil || out != want {
			t.Errorf("%v of %d: %v, %v", in, c.size, out, err)
		}
	}
}

func TestRegistry(t *testing.T) {
	reg, m := newCar()
	reg["none"] = func(string) (mount.Mount, error) { return nil, nil }
	reg["zstd+mem"] = func(url string) (mount.Mount, error) { return reg.Open(strings.TrimPrefix(url, "zstd+")) }
	for url, want := range map[string]string{
		"mem:car":                   m.URL(),
		"MeM:car":                   m.URL(),
		"zstd+mem:car":              m.URL(),
		"mem:car#bytes=0-0":         m.URL() + "#bytes=0-0",
		"mem:car#bytes=5-9":         m.URL() + "#bytes=5-9",
		"mem:car%23bytes=5-9":       "mem:car%23bytes=5-9",
		"mem:#bytes=5-900000000000": "mem:#bytes=5-900000000000",
		fmt.Sprintf("mem:x#bytes=0-%d", int64(math.MaxInt64-1)): "mem:x#bytes=0-9223372036854775806",
	} {
		if got, err := reg.Open(url); err != nil || got.URL() != want {
			t.Errorf("%q: %v, %v", url, got, err)
		}
	}
	for url, want := range map[string]error{
		"": mount.ErrURL, "car": mount.ErrURL, ":car": mount.ErrURL, "/a:b": mount.ErrURL, "1a:b": mount.ErrURL, "a b:c": mount.ErrURL,
		"é:c": mount.ErrURL, "http://x": mount.ErrScheme, "C:\\x": mount.ErrScheme, "none:x": mount.ErrURL, "mem:%": mount.ErrURL,
		"mem:car#": mount.ErrURL, "mem:car#bytes": mount.ErrURL, "mem:car#bytes=": mount.ErrURL, "mem:car#bytes=1": mount.ErrURL,
		"mem:car#bytes=2-1": mount.ErrURL, "mem:car#bytes=01-2": mount.ErrURL, "mem:car#bytes=+1-2": mount.ErrURL,
		"mem:car#bytes=1-2-3": mount.ErrURL, "mem:car#bytes=-1-2": mount.ErrURL, "mem:car#bytes=1-": mount.ErrURL,
		"mem:car#Bytes=1-2": mount.ErrURL, "mem:car#bytes=1-2#bytes=0-0": mount.ErrURL, "mem:car#bytes=0-9223372036854775807": mount.ErrURL,
		"mem:car#bytes=0-99999999999999999999": mount.ErrURL, "mem:car#t=1": mount.ErrURL,
	} {
		if got, err := reg.Open(url); !errors.Is(err, want) {
			t.Errorf("%q: %v, %v; not %v", url, got, err, want)
		}
	}
}

// A password that does not belong into a URL does not get into a log.
func TestErrorsHoldNoCredential(t *testing.T) {
	for _, url := range []string{"//ann:secret@host/x", "ftp://ann:secret@host/x", "secret", "/secret:x", "mem://ann:secret@host/x#y",
		"mem://host/x#access_token=secret", "mem://host/x#bytes=secret-1"} {
		reg, _ := newCar()
		if _, err := reg.Open(url); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestHost(t *testing.T) {
	for url, want := range map[string]string{
		"https://a.example/b": "https://a.example", "https://a.example:8443?x": "https://a.example:8443", "s3://bucket/key": "s3://bucket",
		"zstd+https://a#bytes=0-1": "zstd+https://a", "file:///srv/a.car": "file://", "mem:a": "mem", "https://a": "https://a", "": "", "x": "",
	} {
		if got := mount.Host(url); got != want {
			t.Errorf("%q lies on %q, want %q", url, got, want)
		}
	}
}

func TestEscapePath(t *testing.T) {
	var all strings.Builder
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	for path, want := range map[string]string{
		"": "", "/a/b.car": "/a/b.car", "%": "%25", "%41": "%2541", "\xff é": "%FF%20%C3%A9", "a#b?c": "a%23b%3Fc",
		all.String()[:48]: "%00%01%02%03%04%05%06%07%08%09%0A%0B%0C%0D%0E%0F%10%11%12%13%14%15%16%17%18%19%1A%1B%1C%1D%1E%1F%20!%22%23$%25&'()*+,-./",
	} {
		if got := mount.EscapePath(path); got != want {
			t.Errorf("%q is spelt %q, not %q", path, got, want)
		}
	}
	if got, err := mount.UnescapePath(mount.EscapePath(all.String())); got != all.String() || err != nil {
		t.Errorf("not all bytes survive: %q, %v", got, err)
	}
	for _, bad := range []string{"%", "a%", "%4", "%4g", "%g4", "%%41", "%2f", "%2F"} {
		if got, err := mount.UnescapePath(bad); !errors.Is(err, mount.ErrURL) {
			t.Errorf("%q is %q, %v", bad, got, err)
		}
	}
}

func FuzzRegistry(f *testing.F) {
	f.Add("mem:car#bytes=0-9", int64(0), int64(10))
	f.Add("mem:%ff#bytes=9223372036854775806-9223372036854775806", int64(math.MinInt64), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, url string, offset, length int64) {
		reg, m := newCar()
		if m, err := reg.Open(url); err == nil {
			if again, err := reg.Open(m.URL()); err != nil || again.URL() != m.URL() {
				t.Fatalf("%q is spelt %q, which opens as %v, %v", url, m.URL(), again, err)
			}
		}
		// A section whose URL opens is the one that was cut; all others fail.
		for _, base := range []mount.Mount{m, mount.Section(m, 5, 10)} {
			cut := mount.Section(base, offset, length)
			again, err := reg.Open(cut.URL())
			want, wantErr := read(cut.Open(t.Context()))
			if err != nil {
				if !errors.Is(wantErr, mount.ErrRange) {
					t.Fatalf("%q cannot be opened (%v), the section can: %v", cut.URL(), err, wantErr)
				}
				continue
			}
			if got, err := read(again.Open(t.Context())); got != want || (err == nil) != (wantErr == nil) {
				t.Fatalf("%q is %q, %v; was %q, %v", cut.URL(), got, err, want, wantErr)
			}
		}
	})
}

func TestBusyError(t *testing.T) {
	answer := errors.New("503 Service Unavailable")
	var err error = &mount.BusyError{After: time.Minute, Err: answer}
	if !errors.Is(err, mount.ErrBusy) || !errors.Is(err, answer) || !strings.Contains(err.Error(), "1m0s") {
		t.Errorf("it is %v", err)
	}
	if err = (&mount.BusyError{Err: answer}); strings.Contains(err.Error(), "wait") {
		t.Errorf("a source that does not say how long gives %v", err)
	}
}

func ExampleOpenSibling() {
	var cars memmount.Set
	car := cars.Put("photos.car", []byte("CAR"))
	cars.Put("photos.car.idx", []byte("its index"))
	beside, err := mount.OpenSibling(car, ".idx")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(beside.URL())
	fmt.Println(read(beside.Open(context.Background())))
	// Output:
	// mem:photos.car.idx
	// its index <nil>
}

func ExampleSection() {
	var cars memmount.Set
	piece := cars.Put("piece", []byte("padding CAR padding"))
	car := mount.Section(piece, 8, 3)
	fmt.Println(car.URL())
	fmt.Println(read(car.Open(context.Background())))
	// Output:
	// mem:piece#bytes=8-10
	// CAR <nil>
}

// The suite reads a section by all ways that its base offers.
func TestSectionLaws(t *testing.T) {
	reg, m := newCar()
	for name, c := range map[string]struct {
		m    mount.Mount
		want string
	}{
		"whole":        {mount.Section(m, 0, 20), text},
		"middle":       {mount.Section(m, 5, 10), text[5:15]},
		"last":         {mount.Section(m, 19, 1), text[19:]},
		"of a section": {mount.Section(mount.Section(m, 5, 10), 2, 3), text[7:10]},
	} {
		if err := mounttest.Test(t.Context(), reg, c.m, []byte(c.want)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
