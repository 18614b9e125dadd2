package doctor

import (
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	slowSync = 20 * time.Millisecond
	noSync   = 5 * time.Microsecond
)

// Sync judges how long it takes until 4 KiB are durable.
func Sync(times []time.Duration, err error) Finding {
	const check = "fsync"
	if err != nil {
		return bad(check, Fault, "see that the folder can be written and synced by who runs this", "%v", err)
	}
	slices.Sort(times)
	median, worst := times[len(times)/2], times[len(times)-1]
	text := fmt.Sprintf("4 KiB are durable after %v (median of %d, %v at worst)", round(median), len(times), round(worst))
	switch {
	case median > slowSync:
		return bad(check, Warning, "put the store on an SSD; CARs may stay where they are", "%s: so many changes a second, and no more, are acknowledged one by one", text)
	case median < noSync:
		return bad(check, Warning, "make sure that the disk does not ignore fsync", "%s, which no disk can do: a power cut may lose what was acknowledged", text)
	}
	return ok(check, "%s", text)
}

func round(d time.Duration) time.Duration {
	if d > time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}

// fewFiles is how many files a store wants to have open: idle shards, tables of the
// catalogue, connections.
const fewFiles = 4096

// Files judges how many files this user may have open; 0: nobody knows.
func Files(limit uint64) Finding {
	const check = "open files"
	switch {
	case limit == 0:
		return ok(check, "there is no limit that this program knows of")
	case limit < fewFiles:
		return bad(check, Warning, fmt.Sprintf("ulimit -n %d, or LimitNOFILE= in the unit", 16*fewFiles), "%s may be open; with many shards and readers that is few", number(limit))
	}
	return ok(check, "%s may be open", number(limit))
}

// Mappings are how many index files a store maps at most; as many again are kept
// for the rest of the process.
const (
	Mappings    = 32_768
	restOfMaps  = 8_192
	enoughFiles = Mappings + restOfMaps
)

// Maps judges vm.max_map_count against the number of shards; 0: there is none.
// shards is -1 if that is not known.
func Maps(most uint64, shards int64) Finding {
	const check = "mappings"
	need := uint64(enoughFiles)
	if shards >= 0 {
		need = min(need, uint64(shards)+restOfMaps)
	}
	switch {
	case most == 0:
		return ok(check, "there is no limit that this program knows of")
	case most < need:
		return bad(check, Warning, fmt.Sprintf("sysctl -w vm.max_map_count=%d, and the same in /etc/sysctl.d", 2*enoughFiles),
			"vm.max_map_count is %s; the indices of this store may take %s", number(most), number(need))
	}
	return ok(check, "vm.max_map_count is %s; the indices of this store take %s at most", number(most), number(need))
}

// A Disk is how full a file system is.
type Disk struct {
	Total, Free int64 // bytes; free for this user
	Inodes      int64 // free ones; -1 if there is no such number
}

const (
	reserve   = 64 << 20
	spare     = 1 << 30
	spareOf   = 20 // a twentieth
	fewInodes = 100_000
)

// Space judges how much room there is.
func Space(d Disk) Finding {
	const check = "space"
	least := min(int64(spare), d.Total/spareOf)
	text := fmt.Sprintf("%s of %s are free", size(d.Free), size(d.Total))
	const do = "make room on the disk of the store, or lower the quota for copies"
	switch {
	case d.Free < reserve:
		return bad(check, Fault, do, "%s: below %s nothing is changed but by removals", text, size(reserve))
	case d.Free < least:
		return bad(check, Fault, do, "%s: below %s nothing new is begun", text, size(least))
	case d.Free < 2*least:
		return bad(check, Warning, do, "%s: below %s nothing new is begun", text, size(least))
	case d.Inodes >= 0 && d.Inodes < fewInodes:
		return bad(check, Warning, "make room on the disk of the store, or use a file system with more of them",
			"%s, but only %s more files fit: a shard takes one", text, number(uint64(d.Inodes)))
	}
	return ok(check, "%s", text)
}

// Quota judges what copies of CARs may have against the room that there is. used is
// what they have, or -1 if that is not known.
func Quota(quota, used int64, d Disk) Finding {
	const check = "quota"
	known := max(used, 0)
	left := quota - known
	switch {
	case quota == 0:
		return ok(check, "no copies of CARs that lie elsewhere are kept")
	case left > d.Free:
		return bad(check, Warning, "lower the quota, by --quota or [copies] of the configuration, or make room",
			"copies may grow by %s, and only %s are free: the disk fills up first", size(left), size(d.Free))
	case used < 0:
		return ok(check, "copies may have %s", size(quota))
	}
	return ok(check, "copies have %s of %s", size(used), size(quota))
}

// fileSkew is how far the times of files may be from the clock.
const fileSkew = 2 * time.Second

// earliest is before this program was written.
var earliest = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// Clock judges the clock of this machine: now, and the time that a file got which
// was written at that moment.
func Clock(now, file time.Time) Finding {
	const check = "clock"
	const do = "have the clock set by NTP (timedatectl set-ntp true)"
	switch skew := now.Sub(file).Abs(); {
	case now.Before(earliest):
		return bad(check, Fault, do, "it says %s: certificates are refused, and so are requests to S3", now.UTC().Format(time.DateTime))
	case !file.IsZero() && skew > fileSkew:
		return bad(check, Warning, do+", also where the disk is", "files of the store's disk are %v apart from it", skew.Round(time.Second))
	}
	return ok(check, "%s", now.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// A Source is a server, or this machine, where sources lie.
type Source struct {
	Host   string // scheme and authority; "file" for this machine
	Shards int64  // how many lie there, as far as was looked
	Asked  int    // how many of them were asked how they are
	Failed int    // of these, those that could not tell
	Err    error  // why the first of them could not
	Took   time.Duration
}

// Reached judges whether sources can be reached.
func Reached(s Source) Finding {
	check := "source " + s.Host
	text := fmt.Sprintf("%d of its %s asked", s.Asked, plural(s.Shards, "shard"))
	switch {
	case s.Failed == s.Asked && s.Failed > 0:
		return bad(check, Fault, "see whether it is there, and whether address and credentials are right", "none of %s can be reached: %v", text, s.Err)
	case s.Failed > 0:
		return bad(check, Warning, `"dagstore ls --status failed" and "dagstore recover" for those that are back, "dagstore remount" for those that were moved`,
			"%d of %s cannot be reached: %v", s.Failed, text, s.Err)
	}
	return ok(check, "%s, the first answered in %v", text, round(s.Took))
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%s %ss", number(uint64(n)), noun)
}

func number(n uint64) string { return humanize.Comma(int64(min(n, 1<<62))) }

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
