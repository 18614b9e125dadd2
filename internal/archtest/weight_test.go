package archtest

import (
	"strings"
	"testing"
)

// heavy is what some packages must never link, with the reason. A path covers
// all below it.
var heavy = map[string]string{
	"github.com/ipfs/boxo/gateway":     "libp2p and much more come with it: package gateway alone links it",
	"github.com/ipfs/boxo/blockstore":  "it brings go-datastore and go-log; its method set is enough",
	"github.com/ipfs/boxo/ipld":        "reading DAGs is for packages above the store",
	"github.com/ipld/go-car":           "its index types are for package index/carindex; CARs are parsed by internal/car",
	"github.com/ipfs/go-datastore":     "the catalogue is Pebble, behind an interface of our own",
	"github.com/ipfs/go-log":           "a library logs to the slog.Logger that it is given",
	"github.com/libp2p":                "a store makes no connections",
	"github.com/minio/minio-go":        "object storage is reached by mount/s3mount and cluster alone",
	"github.com/jlaffaye/ftp":          "FTP is reached by mount/ftpmount alone",
	"github.com/pkg/sftp":              "SFTP is reached by mount/sftpmount alone",
	"golang.org/x/crypto/ssh":          "SSH is spoken by mount/sftpmount alone",
	"github.com/klauspost/compress":    "compressed sources are read by mount/zstdmount; the store has it from Pebble",
	"github.com/jackc/pgx":             "databases are reached by package cluster alone",
	"go.opentelemetry.io/otel/sdk":     "the program chooses where its spans go",
	"github.com/spf13/cobra":           "a library has no command line",
	"github.com/schollz/progressbar":   "a library draws nothing",
	"testing":                          "it adds flags to the program that links it",
	"net/http/pprof":                   "it registers handlers by being imported",
	"github.com/dagstore/dagstore/dag": "reading DAGs is for packages above the store",
	"github.com/cockroachdb/pebble":    "only the catalogue keeps records",
	"github.com/prometheus":            "it comes with Pebble, and belongs to the store alone",
	"github.com/DataDog/zstd":          "it needs cgo, and comes with Pebble",
	"github.com/FastFilter/xorfilter":  "filters belong to the inverted index",
	"github.com/ipfs/go-block-format":  "blocks belong to the store",
}

// store is what is part of the store, and so may be linked by dagstore itself.
var store = []string{
	"github.com/cockroachdb/pebble", "github.com/prometheus", "github.com/DataDog/zstd",
	"github.com/FastFilter/xorfilter", "github.com/ipfs/go-block-format", "github.com/klauspost/compress",
}

// TestWeightOfStore: what a program that imports dagstore alone must not link.
func TestWeightOfStore(t *testing.T) {
	checkWeight(t, ".", store)
}

// TestWeightOfValues: the packages that everybody imports stay light.
func TestWeightOfValues(t *testing.T) {
	for _, folder := range []string{"shard", "index", "index/indextest", "internal/car", "internal/lifecycle"} {
		checkWeight(t, folder, nil)
	}
}

// TestWeightOfDAG: who reads DAGs out of something else than a store links none.
func TestWeightOfDAG(t *testing.T) {
	checkWeight(t, "dag", []string{module + "/dag", "github.com/ipfs/go-block-format"})
}

func checkWeight(t *testing.T, folder string, allowed []string) {
	t.Helper()
	for _, p := range list(t, true, "./"+folder) {
		for path, why := range heavy {
			if !covers(path, p.ImportPath) {
				continue
			}
			permitted := false
			for _, a := range allowed {
				permitted = permitted || covers(a, p.ImportPath)
			}
			if !permitted {
				t.Errorf("%s links %s: %s", folder, p.ImportPath, why)
			}
		}
	}
}

// covers reports whether an import path is path, a version of it, or below it.
func covers(path, importPath string) bool {
	return importPath == path || strings.HasPrefix(importPath, path+"/")
}

// light lists the packages of mounts that link the standard library only, so
// that a mount costs a program nothing but its own kind.
var light = []string{
	"mount", "mount/filemount", "mount/memmount", "mount/fsmount", "mount/httpmount", "mount/mounttest", "internal/netguard",
}

func TestWeightOfMounts(t *testing.T) {
	exists := make(map[string]bool)
	for _, p := range list(t, false, "./mount/...", "./internal/netguard") {
		exists[p.folder()] = true
	}
	checked := 0
	for _, folder := range light {
		if !exists[folder] {
			continue // a kind that there is not yet
		}
		checked++
		for _, p := range list(t, true, "./"+folder) {
			if !p.Standard && !covers(module+"/mount", p.ImportPath) && !ofMounts(p.ImportPath) && !standardsOwn(p.ImportPath) {
				t.Errorf("%s links %s: local kinds link the standard library only", folder, p.ImportPath)
			}
		}
	}
	if checked < 2 {
		t.Errorf("only %d packages of mounts were found", checked)
	}
}

// ofMounts reports whether a package is one that kinds share and that programs
// cannot name. It is held to be light itself.
func ofMounts(importPath string) bool {
	return importPath == module+"/internal/netguard"
}

// ofS3 is what s3mount links outside of the standard library: what signs
// requests and finds credentials, and not the client of minio-go, which
// would bring thirty packages more.
var ofS3 = []string{
	module + "/mount", "vendor",
	"github.com/minio/minio-go/v7/pkg/credentials", "github.com/minio/minio-go/v7/pkg/s3utils", "github.com/minio/minio-go/v7/pkg/signer",
	"github.com/minio/md5-simd", "github.com/klauspost/cpuid", "gopkg.in/ini.v1", "golang.org/x/net", "golang.org/x/text",
}

func TestWeightOfS3(t *testing.T) {
	for _, p := range list(t, true, "./mount/s3mount") {
		known := p.Standard
		for _, path := range ofS3 {
			known = known || covers(path, p.ImportPath)
		}
		if !known {
			t.Errorf("mount/s3mount links %s: it has no use for it", p.ImportPath)
		}
	}
}

// standardsOwn reports whether a package is one that the standard library
// itself is built from.
func standardsOwn(importPath string) bool {
	return covers("vendor", importPath)
}

// only lists what a single package of ours may import directly, in product code.
var only = []struct {
	path    string
	allowed []string
	why     string
}{
	{"github.com/ipld/go-car", []string{"index/carindex", "internal/demo", "bench"}, "go-car is the oracle of tests; its types stay in its adapter"},
	{"github.com/cockroachdb/pebble", []string{"internal/catalog", "internal/vfs", "bench"}, "the catalogue is behind an interface"},
	{"github.com/ipfs/boxo/gateway", []string{"gateway", "bench"}, "its maintainers have announced that they stop: one package knows it; bench measures beside it"},
	{"github.com/klauspost/compress", []string{"mount/zstdmount"}, "what is compressed is a matter of one kind of mounts"},
	{"github.com/jlaffaye/ftp", []string{"mount/ftpmount"}, "one kind of mounts speaks FTP"},
	{"github.com/pkg/sftp", []string{"mount/sftpmount"}, "one kind of mounts speaks SFTP"},
	{"golang.org/x/crypto/ssh", []string{"mount/sftpmount"}, "one kind of mounts speaks SSH"},
	{"github.com/spf13/cobra", []string{"cmd/dagstore"}, "a library has no command line"},
	{"github.com/minio/minio-go", []string{"mount/s3mount", "cluster", "internal/servertest", "bench"}, "object storage is reached by these alone; bench signs what it downloads"},
}

func TestSoleImporters(t *testing.T) {
	for _, p := range list(t, false, "./...") {
		for _, imported := range p.Imports {
			for _, rule := range only {
				if !covers(rule.path, imported) {
					continue
				}
				permitted := false
				for _, folder := range rule.allowed {
					permitted = permitted || p.folder() == folder || strings.HasPrefix(p.folder(), folder+"/")
				}
				if !permitted {
					t.Errorf("%s imports %s: %s", p.folder(), imported, rule.why)
				}
			}
		}
	}
}
