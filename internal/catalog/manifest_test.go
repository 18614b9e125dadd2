package catalog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"
)

// TestManifestGolden holds the format still. A change here needs a new version.
func TestManifestGolden(t *testing.T) {
	m := &Manifest{
		Key: "k", Name: "n", Rule: "r", Version: 2, Index: 7, Count: 3, Made: time.Unix(1_700_000_000, 5).UTC(),
		Length: 2, CRC: 0x01020304, Data: []byte("xy"),
	}
	key, value := manifestKey(m.Key, m.Name), encodeManifest(m)
	if got := hex.EncodeToString(key); got != "6e00016b6e" {
		t.Errorf("key %s", got)
	}
	const want = "01" + "07" + "06" + "02" + "0172" + "00" + "04" + "04030201" + "027879" + "80c49fd50c05"
	if got := hex.EncodeToString(value[:len(value)-crcSize]); got != want {
		t.Errorf("encoded as\n%s, want\n%s", got, want)
	}
	for i := range value {
		bad := bytes.Clone(value)
		bad[i] ^= 0x10
		for _, v := range [][]byte{bad, value[:i]} {
			var d *DamagedManifestError
			if _, err := parseManifest(key, v); !errors.Is(err, ErrDamaged) || !errors.As(err, &d) || d.Name != "n" {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
	if _, err := parseManifest(manifestKey("k", "other"), value); !errors.Is(err, ErrDamaged) {
		t.Errorf("under another name: %v", err)
	}
	for _, bad := range []string{"n", "n\x00", "n\x00\x02k", "n\x00\x01k"} {
		if _, err := parseManifest([]byte(bad), value); !errors.Is(err, ErrDamaged) {
			t.Errorf("key %q: %v", bad, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	m := &Manifest{Key: "k", Name: "n", Index: 7, Length: 2, Data: []byte("xy")}
	f.Add(manifestKey("k", "n"), encodeManifest(m))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		m, err := parseManifest(key, value)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		again, err := parseManifest(key, encodeManifest(m))
		if err != nil || !bytes.Equal(again.Data, m.Data) || again.Count != m.Count {
			t.Fatalf("%+v, %v, was %+v", again, err, m)
		}
	})
}
