package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

// R1: names made of keys neither leave their folder, nor collide, on file
// systems that fold case too, nor are too long or mean something to a system.
func TestR01ExportedNames(t *testing.T) {
	long := strings.Repeat("é", shard.MaxKey/2)
	keys := []shard.Key{
		"a", "A", "a/b", "a%2Fb", "a%2fb", "a\\b", "..", ".", "../../etc/passwd", "/", "a.", "-rf", "~", "a~", "CON", "con", "con.x", "aux", "com1", "COM1",
		"com10", "lpt0", "nul.car", "x\x00y", "x\ny", "é", "e\u0301", "É", shard.Key(long), shard.Key(long[:len(long)-2] + "è"),
		shard.Key(strings.Repeat("a", 160)), shard.Key(strings.Repeat("a", 161)), shard.Key(strings.Repeat("A", 160)), "_con", " ", "a ",
	}
	seen := map[string]shard.Key{}
	for _, key := range keys {
		name := fileNameOf(key) + ".car.idx"
		folded := strings.ToLower(name)
		if other, ok := seen[folded]; ok {
			t.Errorf("%q and %q are both called %q", key, other, name)
		}
		seen[folded] = key
		base, _, _ := strings.Cut(folded, ".")
		if len(name) > 255 || !filepath.IsLocal(name) || filepath.Base(name) != name || strings.ContainsAny(name, `/\:*?"<>|`) || name[0] == '-' || name[0] == '.' || reserved(base) {
			t.Errorf("%q is called %q", key, name)
		}
	}
}
