package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers is the order in which the data flows. A package imports only what
// stands in a group above its own, never its own group: neighbours do not know
// each other.
var layers = []struct {
	why    string // what the group is, and so why it must not look down
	groups []string
}{
	{"crash-testable files, mapping with faults as errors, metrics, bounded sorting, files without a name: they know nothing of CARs", []string{
		"internal/vfs internal/mmap internal/metrics internal/extsort internal/scratch"}},
	{"what CIDs say: denylists of them, pieces of Filecoin. They know nothing of ours", []string{"internal/denylist internal/piece"}},
	{"plain values that everything speaks in", []string{"shard"}},
	{"what a block says by itself: it knows no CAR and no store", []string{"internal/nodes"}},
	{"sources know no store", []string{
		"mount",
		"internal/hosts",    // what is wrong with a server; it wraps mounts of all kinds
		"internal/netguard", // which addresses any kind may be led to; it refuses in the words of mount
		"mount/filemount mount/memmount mount/fsmount mount/httpmount mount/s3mount mount/ftpmount mount/sftpmount mount/zstdmount",
		"mount/mounttest"}},
	{"CAR bytes to records: it neither stores nor looks up", []string{"internal/car"}},
	{"one shard's index: it knows no other shard", []string{"index", "index/carindex index/indextest"}},
	{"the inverted index: it knows index ids, not shards' lives", []string{"internal/layers"}},
	{"the table: it does nothing by itself", []string{"internal/lifecycle"}},
	{"what survives and where it lies: it decides nothing", []string{"internal/catalog internal/copies internal/segment internal/local"}},
	{"the loop: it performs what the table says", []string{"internal/engine"}},
	{"verified reads, over what the engine has opened", []string{"internal/blocks"}},
	{"the library: nothing below knows its Config", []string{"."}},
	{"faces of the library: each stands alone", []string{
		"dag gateway cluster internal/admin/wire", "internal/admin/client internal/admin/page",
		"internal/admin"}}, // the server of the API: it shows the page, and reads DAGs for who walks them
	{"the command", []string{"cmd/dagstore"}},
	{"tools of the project: nobody imports them", []string{
		"internal/servertest", // servers for tests and for rows of bench, which starts them as tests do
		"bench internal/archtest internal/demo internal/longtest internal/testtotals"}},
}

// alone lists packages that import less of ours than their place allows.
var alone = map[string]struct {
	allowed []string
	why     string
}{
	"shard":              {nil, "the values import nothing of the project, so that everything may import them"},
	"internal/lifecycle": {[]string{"shard"}, "the table is pure: it must be testable over every node, without I/O"},
}

// ranks flattens layers: the place of each folder, and what its group is.
func ranks() (rank map[string]int, why map[string]string) {
	rank, why = make(map[string]int), make(map[string]string)
	next := 0
	for _, layer := range layers {
		for _, group := range layer.groups {
			for folder := range strings.FieldsSeq(group) {
				rank[folder] = next
				why[folder] = layer.why
			}
			next++
		}
	}
	return rank, why
}

// home is the folder whose place in the order holds for folder, and whether
// folder is a suite of it.
func home(rank map[string]int, folder string) (owner string, suite, ok bool) {
	if _, ok := rank[folder]; ok {
		return folder, false, true
	}
	// The parts of a command stand where it stands.
	for _, command := range []string{"cmd/dagstore", "bench", "internal/demo"} {
		if covers(command, folder) {
			return command, false, true
		}
	}
	parent, base := path.Split(folder)
	parent = strings.TrimSuffix(parent, "/")
	_, ok = rank[parent]
	return parent, true, ok && strings.HasSuffix(base, "test")
}

// TestImports holds every package against the order.
func TestImports(t *testing.T) {
	rank, why := ranks()
	for _, p := range list(t, false, "./...") {
		folder := p.folder()
		if _, _, ok := home(rank, folder); !ok {
			t.Errorf("%s has no place in the order of imports: give it one in layers, with the reason", folder)
			continue
		}
		for _, imported := range p.Imports {
			if !ours(imported) {
				continue
			}
			if fault := importFault(rank, why, folder, folderOf(imported)); fault != "" {
				t.Error(fault)
			}
		}
	}
}

// importFault says why from must not import to, or nothing.
func importFault(rank map[string]int, why map[string]string, from, to string) string {
	if rule, ok := alone[from]; ok && !slices.Contains(rule.allowed, to) {
		return fmt.Sprintf("%s imports %s: %s", from, to, rule.why)
	}
	owner, _, _ := home(rank, from)
	target, suite, ok := home(rank, to)
	switch {
	case !ok:
		return fmt.Sprintf("%s imports %s, which has no place in the order", from, to)
	case suite:
		return fmt.Sprintf("%s imports %s: a suite is for tests", from, to)
	case target == owner:
		return "" // a suite imports its package, and the parts of a command each other
	case rank[target] >= rank[owner]:
		return fmt.Sprintf("%s imports %s, which does not stand above it: %s", from, to, why[owner])
	}
	return ""
}

// TestImportFault holds the test above against imports that it must refuse.
func TestImportFault(t *testing.T) {
	rank, why := ranks()
	for _, bad := range []struct{ from, to string }{
		{"shard", "internal/vfs"},                   // the values import nothing
		{"internal/lifecycle", "internal/car"},      // the table is pure
		{"internal/catalog", "internal/engine"},     // down the line
		{"internal/catalog", "internal/local"},      // a neighbour
		{"mount", "mount/filemount"},                // later on its own line
		{"mount/filemount", "mount/memmount"},       // a neighbour on its own line
		{"internal/engine", "."},                    // nothing below knows Config
		{".", "gateway"},                            // faces stand on the library
		{"gateway", "cmd/dagstore"},                 // nobody imports a command
		{"gateway", "internal/car/cartest"},         // suites are for tests
		{"cmd/dagstore", "bench"},                   // tools are for nobody
		{"cmd/dagstore", "internal/unheardof"},      // no place
		{"internal/car/cartest", "internal/layers"}, // a suite stands where its package does
	} {
		if importFault(rank, why, bad.from, bad.to) == "" {
			t.Errorf("%s may import %s", bad.from, bad.to)
		}
	}
	for _, good := range []struct{ from, to string }{
		{".", "internal/blocks"},
		{"internal/engine", "internal/lifecycle"},
		{"mount/filemount", "mount"},
		{"internal/car/cartest", "internal/car"},
		{"cmd/dagstore", "cmd/dagstore/internal/x"},
		{"bench", "."},
	} {
		if fault := importFault(rank, why, good.from, good.to); fault != "" {
			t.Error(fault)
		}
	}
}

// TestSuitesAreForTests: what ends in "test" is imported by no product code.
func TestSuitesAreForTests(t *testing.T) {
	for _, p := range list(t, false, "./...") {
		for _, imported := range p.Imports {
			if ours(imported) && strings.HasSuffix(imported, "test") && p.folder() != "bench" { // it measures what tests do
				t.Errorf("%s imports %s, which is a suite for tests", p.folder(), folderOf(imported))
			}
		}
	}
}
