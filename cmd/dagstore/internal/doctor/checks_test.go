package doctor_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/doctor"
)

// TestChecks: what is made of each measurement.
func TestChecks(t *testing.T) {
	ms := func(n int) []time.Duration { return []time.Duration{time.Duration(n) * time.Millisecond} }
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	disk := func(total, free, inodes int64) doctor.Disk {
		return doctor.Disk{Total: total, Free: free, Inodes: inodes}
	}
	const gib = 1 << 30
	away := errors.New("connection refused")
	for _, c := range []struct {
		got   doctor.Finding
		level doctor.Level
		what  string
	}{
		{doctor.FileSystem("ext4"), doctor.OK, "ext4"},
		{doctor.FileSystem("0x1234"), doctor.OK, "0x1234"},
		{doctor.FileSystem(""), doctor.OK, "does not know"},
		{doctor.FileSystem("nfs"), doctor.Fault, "a crash of client or server"},
		{doctor.FileSystem("smb"), doctor.Fault, "no hard links"},
		{doctor.FileSystem("network.lustre"), doctor.Fault, "network.lustre: it is of another machine"},
		{doctor.FileSystem("fuse.sshfs"), doctor.Fault, "fuse.sshfs: it is of another machine"},
		{doctor.FileSystem("fuse.mergerfs"), doctor.Warning, "fuse.mergerfs: what fsync and mapping do"},
		{doctor.FileSystem("9p"), doctor.Fault, "virtual machine"},
		{doctor.FileSystem("fuse"), doctor.Warning, "the program behind it"},
		{doctor.FileSystem("tmpfs"), doctor.Warning, "in memory"},
		{doctor.FileSystem("overlay"), doctor.Warning, "container"},
		{doctor.FileSystem("fat"), doctor.Warning, "no hard links"},

		{doctor.Sync(ms(4), nil), doctor.OK, "durable after 4ms (median of 1, 4ms at worst)"},
		{doctor.Sync(ms(40), nil), doctor.Warning, "one by one"},
		{doctor.Sync([]time.Duration{100, 90, 80}, nil), doctor.Warning, "no disk can do"},
		{doctor.Sync(nil, os.ErrPermission), doctor.Fault, "permission denied"},

		{doctor.Files(0), doctor.OK, "no limit"},
		{doctor.Files(1024), doctor.Warning, "1,024 may be open"},
		{doctor.Files(65536), doctor.OK, "65,536"},

		{doctor.Maps(0, 5), doctor.OK, "no limit"},
		{doctor.Maps(65530, 1_000_000), doctor.OK, "40,960 at most"},
		{doctor.Maps(20_000, 1_000_000), doctor.Warning, "vm.max_map_count is 20,000; the indices of this store may take 40,960"},
		{doctor.Maps(20_000, 100), doctor.OK, "8,292 at most"},
		{doctor.Maps(20_000, -1), doctor.Warning, "40,960"},

		{doctor.Space(disk(100*gib, 50*gib, -1)), doctor.OK, "50 GiB of 100 GiB are free"},
		{doctor.Space(disk(100*gib, 3*gib/2, -1)), doctor.Warning, "below 1.0 GiB"},
		{doctor.Space(disk(100*gib, gib-1, -1)), doctor.Fault, "nothing new is begun"},
		{doctor.Space(disk(100*gib, 1, -1)), doctor.Fault, "nothing is changed"},
		{doctor.Space(disk(10*gib, gib*3/4, -1)), doctor.Warning, "below 512 MiB"},
		{doctor.Space(disk(100*gib, 50*gib, 5)), doctor.Warning, "only 5 more files"},
		{doctor.Space(disk(100*gib, 50*gib, 1_000_000)), doctor.OK, ""},

		{doctor.Quota(0, 0, disk(gib, gib, -1)), doctor.OK, "no copies"},
		{doctor.Quota(10*gib, 9*gib, disk(gib, gib, -1)), doctor.OK, "9.0 GiB of 10 GiB"},
		{doctor.Quota(10*gib, -1, disk(100*gib, 11*gib, -1)), doctor.OK, "10 GiB"},
		{doctor.Quota(10*gib, 0, disk(20*gib, 2*gib, -1)), doctor.Warning, "may grow by 10 GiB, and only 2.0 GiB"},

		{doctor.Clock(now, now), doctor.OK, "2026-11-30 12:00:00 UTC"},
		{doctor.Clock(now, time.Time{}), doctor.OK, ""},
		{doctor.Clock(now, now.Add(-time.Minute)), doctor.Warning, "1m0s apart"},
		{doctor.Clock(time.Unix(0, 0), time.Unix(0, 0)), doctor.Fault, "1970-01-01"},

		{doctor.Reached(doctor.Source{Host: "https://x", Shards: 1200, Asked: 3}), doctor.OK, "3 of its 1,200 shards asked"},
		{doctor.Reached(doctor.Source{Host: "https://x", Shards: 1, Asked: 1, Failed: 1, Err: away}), doctor.Fault, "none of 1 of its 1 shard asked can be reached: connection refused"},
		{doctor.Reached(doctor.Source{Host: "file", Shards: 9, Asked: 9, Failed: 2, Err: os.ErrNotExist}), doctor.Warning, "2 of 9 of its 9 shards asked cannot be reached"},
	} {
		if c.got.Level != c.level || !strings.Contains(c.got.What, c.what) {
			t.Errorf("%+v, want %s and %q", c.got, c.level, c.what)
		}
		if (c.got.Do == "") != (c.level == doctor.OK) || c.got.Check == "" {
			t.Errorf("%+v: what is there to do?", c.got)
		}
	}
}

// TestLocal: where a store cannot be.
func TestLocal(t *testing.T) {
	for kind, local := range map[string]bool{
		"": true, "ext4": true, "0x9fa0": true, "tmpfs": true, "overlay": true, "fuse": true, "fuse.gocryptfs": true, "9p": true, "ceph": true,
		"nfs": false, "smb": false, "fuse.sshfs": false, "fuse.s3fs": false, "fuse.rclone": false, "fuse.glusterfs": false, "network.afs": false,
	} {
		err := doctor.Local(kind)
		if (err == nil) != local {
			t.Errorf("%q: %v", kind, err)
		}
		if far, is := errors.AsType[*doctor.NetworkError](err); !local && (!is || far.Kind != kind || !strings.Contains(err.Error(), kind+": ")) {
			t.Errorf("%q: %v", kind, err)
		}
	}
}

// TestTable is how findings are shown.
func TestTable(t *testing.T) {
	all := []doctor.Finding{
		doctor.FileSystem("nfs"), doctor.Files(65536), doctor.Maps(20_000, 1_000_000),
	}
	var out bytes.Buffer
	if err := doctor.Table(&out, all); err != nil {
		t.Fatal(err)
	}
	const want = `fault    file system  nfs: locks and fsync are not what the catalogue relies on: a crash of client or server can damage it, and two machines can open it at once
                      → keep the store on a local disk; CARs may lie on the share
ok       open files   65,536 may be open
warning  mappings     vm.max_map_count is 20,000; the indices of this store may take 40,960
                      → sysctl -w vm.max_map_count=81920, and the same in /etc/sysctl.d
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
	if warnings, faults := doctor.Count(all); warnings != 1 || faults != 1 {
		t.Errorf("%d, %d", warnings, faults)
	}
}

// TestProbes: what this machine says. Files that are written are gone afterwards.
func TestProbes(t *testing.T) {
	dir := t.TempDir()
	spill := filepath.Join(dir, "spill")
	if err := os.Mkdir(spill, 0o755); err != nil {
		t.Fatal(err)
	}
	times, written, err := doctor.TimeSync(dir)
	if err != nil || len(times) < 10 || time.Since(written).Abs() > time.Hour {
		t.Errorf("%d times, %v, %v", len(times), written, err)
	}
	for _, at := range []string{dir, spill} {
		names, err := os.ReadDir(at)
		if err != nil || len(names) > 1 || len(names) == 1 && names[0].Name() != "spill" {
			t.Errorf("%s: %v, %v", at, names, err)
		}
	}
	if _, _, err := doctor.TimeSync(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if at, err := doctor.Beneath(filepath.Join(dir, "a", "b")); at != dir || err != nil {
		t.Errorf("%s, %v", at, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := doctor.Beneath(file); err == nil {
		t.Error("a file is taken for a folder")
	}
	if runtime.GOOS == "linux" {
		if kind, err := doctor.FileSystemOf("/proc"); kind != "0x9fa0" || err != nil {
			t.Errorf("/proc is %q, %v", kind, err)
		}
		if kind, err := doctor.FileSystemOf(dir); kind == "" || err != nil {
			t.Errorf("%q, %v", kind, err)
		}
		if doctor.MostMaps() == 0 || doctor.OpenFiles() == 0 {
			t.Error("limits cannot be told")
		}
	}
}
