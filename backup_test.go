package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// backupDir is where the backups of these tests go.
const backupDir = "kept/bak"

// ofBackup selects what a backup to there does; nothing else makes links.
func ofBackup(op vfstest.Op) bool { return op.Within("kept") || op.Links() }

// as is a rig over the store in another folder of the same disk.
func (r *rig) as(dir string) *rig {
	r.t.Helper()
	other := &rig{t: r.t, disk: r.disk, faults: vfstest.Wrap(r.disk), cars: r.cars, cfg: r.cfg, bounds: r.bounds}
	s, err := open(r.ctx(), other.faults, dir, &other.cfg, other.bounds)
	if err != nil {
		r.t.Fatalf("the backup does not open: %v", err)
	}
	other.store = s
	r.t.Cleanup(func() { s.Close() })
	return other
}

func (r *rig) backup(dir string, opts *BackupOptions) BackupReport {
	r.t.Helper()
	report, err := r.store.Backup(r.ctx(), dir, opts)
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

// isThere reports whether a name is on the disk.
func (r *rig) isThere(name string) bool {
	_, err := r.disk.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// settled checks that a backup which has ended has left nothing under the other name.
func (r *rig) settled(done bool) {
	r.t.Helper()
	if r.isThere(backupDir + ".partial") {
		r.t.Error("what was not completed is left")
	}
	if r.isThere(backupDir) != done {
		r.t.Errorf("the backup is there: %v, want %v", !done, done)
	}
	if done && r.isThere(backupDir+"/"+backupFile) {
		r.t.Error("the mark is left")
	}
}

// A backup has what the store had, and each goes its own way from there on.
func TestBackup(t *testing.T) {
	for name, b := range map[string]bounds{"in files": inFiles, "in records": usual} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.bounds = b
			r.reopen()
			kept, m := r.put("kept", 1, 40)
			later, n := r.put("later", 2, 40)
			gone, o := r.put("gone", 3, 40)
			r.register("kept", m, &RegisterOptions{Pin: true, Labels: map[string]string{"a": "b"}})
			r.register("lazy", n, &RegisterOptions{Lazy: true})
			r.register("gone", o, nil)
			r.putManifest("kept", "some", kept[:30])
			r.reopen() // has the inverted index in layers
			if err := r.store.Destroy(r.ctx(), "gone", nil); err != nil {
				t.Fatal(err)
			}
			report := r.backup(backupDir, nil)
			r.settled(true)
			if b.inline == 0 && (report.Linked < 3 || report.LinkedBytes == 0 || report.Copied != 0) {
				t.Errorf("%+v", report)
			}
			if err := r.store.Destroy(r.ctx(), "kept", nil); err != nil {
				t.Fatal(err)
			}
			r.register("late", n, nil)
			r.gc()

			bak := r.as(backupDir)
			bak.has(kept)
			bak.lacks(gone)
			bak.lacks(later)
			bak.hasMembers("kept", "some", kept[:30])
			if in := bak.info("kept"); in.Labels["a"] != "b" || !in.Local.Pinned || in.State != shard.Available {
				t.Errorf("%+v", in)
			}
			if in := bak.info("lazy"); in.State != shard.Registered {
				t.Errorf("%+v", in)
			}
			bak.agree()
			if report := bak.gc(); report.Files != 0 || len(report.Foreign) != 0 {
				t.Errorf("what is nobody's came along: %+v", report)
			}
			bak.register("new", o, nil)
			bak.has(gone)
			bak.agree()
			r.lacks(kept)
			r.has(later)
			r.agree()

			// A backup can be backed up, and its name is not free.
			if _, err := bak.store.Backup(r.ctx(), backupDir, nil); !errors.Is(err, fs.ErrExist) {
				t.Errorf("over itself: %v", err)
			}
			bak.backup("second", nil)
			again := r.as("second")
			again.has(kept)
			again.agree()
		})
	}
}

// Shards come, go and change while backups are made: each has all that was
// there before, agrees with itself, and goes on.
func TestBackupUnderLoad(t *testing.T) {
	r := newRig(t)
	var steady [][]cartest.Block
	for i := range uint64(8) {
		blocks, m := r.put(fmt.Sprint("steady", i), i, 30)
		r.register(shard.Key(fmt.Sprint("steady", i)), m, nil)
		steady = append(steady, blocks)
	}
	ctx, stop := context.WithCancel(r.ctx())
	var lanes sync.WaitGroup
	rounds := make([]int, 4)
	for lane := range rounds {
		lanes.Go(func() {
			key := shard.Key(fmt.Sprint("busy", lane))
			for ctx.Err() == nil {
				m := r.putBytes(string(key), cartest.RandomV1(uint64(100+lane), 30, 100))
				err := r.store.Register(ctx, key, m, nil)
				if err == nil {
					err = r.store.Replace(ctx, key, m, nil)
				}
				if err == nil {
					err = r.store.Destroy(ctx, key, nil)
				}
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("%s: %v", key, err)
					}
					return
				}
				rounds[lane]++
			}
		})
	}
	for i := range 6 {
		before := shard.Key(fmt.Sprint("before", i))
		blocks, m := r.put(string(before), uint64(1000+i), 30)
		r.register(before, m, nil)
		if i == 3 {
			r.gc() // merges
		}
		dir := fmt.Sprint("bak", i)
		r.backup(dir, nil)
		if _, err := r.store.GC(r.ctx()); err != nil {
			t.Error(err)
		}
		bak := r.as(dir)
		for _, s := range append(steady, blocks) {
			bak.has(s)
		}
		bak.gc()
		bak.agree()
		for j := range 4 { // numbers that were given out since are given out here, too
			_, m := r.put(fmt.Sprint("own", j), uint64(2000+j), 30)
			bak.register(shard.Key(fmt.Sprint("own", j)), m, nil)
		}
		bak.agree()
		bak.store.Close()
	}
	stop()
	lanes.Wait()
	for lane, n := range rounds {
		if n == 0 {
			t.Errorf("lane %d did nothing", lane)
		}
	}
	r.gc()
	r.agree()
}

// Files are copied where no link can be made, and the store does not mind.
func TestBackupWithoutLinks(t *testing.T) {
	for _, cause := range []error{syscall.EXDEV, syscall.EPERM, syscall.EMLINK} {
		r := newRig(t)
		blocks, m := r.put("a", 1, 40)
		r.register("a", m, nil)
		r.reopen()
		r.faults.FailAt(0, true, func(op vfstest.Op) bool { return op.Links() }, cause)
		report := r.backup(backupDir, nil)
		if r.faults.Disarm() == 0 {
			t.Error("nobody wanted a link")
		}
		if report.Linked != 0 || report.Copied < 2 || report.CopiedBytes == 0 {
			t.Errorf("%v: %+v", cause, report)
		}
		r.settled(true)
		bak := r.as(backupDir)
		bak.has(blocks)
		bak.agree()
		if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
			t.Errorf("%v: the store is broken: %v", cause, err)
		}
	}
}

// Copies come along if they are wanted, and are forgotten if not.
func TestBackupOfCopies(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	whole, m := r.put("whole", 1, 40)
	parts, n := r.put("parts", 2, 4000)
	r.register("whole", m, &RegisterOptions{Serve: shard.Copy})
	r.register("parts", n, &RegisterOptions{Serve: shard.Sparse})
	r.has(whole)
	r.has(parts[:10])
	r.reopen() // ends what is open: the sparse copy is on disk
	r.until("the sparse copy counts", func() bool { return r.info("parts").Local.Bytes > 0 })
	report := r.backup(backupDir, &BackupOptions{Copies: true})
	r.backup("without", nil)
	if report.Copied == 0 {
		t.Errorf("the sparse copy shares its bytes: %+v", report)
	}

	bak := r.as(backupDir)
	streams := far.streams.Load()
	bak.has(whole)
	bak.has(parts[:10])
	if far.streams.Load() != streams {
		t.Error("the sources were asked although there are copies")
	}
	bak.has(parts[3000:]) // grows apart from the store's
	bak.store.Close()
	r.has(parts[:10])
	r.has(parts[3990:])
	r.agree()

	without := r.as("without")
	if in := without.info("whole"); in.Local.Bytes != 0 || in.Local.Mode != shard.Copy {
		t.Errorf("without copies: %+v", in.Local)
	}
	if report := without.gc(); report.Files != 0 {
		t.Errorf("%+v", report)
	}
	without.agree()
	without.has(whole)
	without.has(parts)
}

// Whatever operation fails: the backup is there and whole, or there is nothing
// of it, and the store goes on in any case. It can be tried again.
func TestBackupWhenOperationsFail(t *testing.T) {
	for _, m := range misfortunes {
		failed := 0
		for n, more := 0, true; more; n++ {
			r := newRig(t)
			blocks, o := r.put("a", 1, 40)
			r.register("a", o, nil)
			r.putManifest("a", "m", blocks[:20])
			r.reopen()
			r.until("it has settled", func() bool { return !r.store.Stats().Counting })
			ofIt := func(op vfstest.Op) bool { return m.selects(op) && ofBackup(op) }
			r.faults.FailAt(n, false, ofIt, m.err)
			_, err := r.store.Backup(r.ctx(), backupDir, nil)
			more = r.faults.Disarm() > n
			switch {
			case err == nil:
				bak := r.as(backupDir)
				bak.has(blocks)
				bak.hasMembers("a", "m", blocks[:20])
				bak.agree()
				bak.store.Close()
			case !more:
				t.Errorf("%s: without a fault: %v", m.name, err)
			default:
				failed++
				if m.err == syscall.ENOSPC != errors.Is(err, ErrNoSpace) {
					t.Errorf("%s at %d: %v", m.name, n, err)
				}
				if r.isThere(backupDir) { // but for the last sync
					r.as(backupDir).agree()
				} else {
					r.backup(backupDir, nil)
					r.settled(true)
				}
			}
			if _, err := r.store.GC(r.ctx()); err != nil {
				t.Errorf("%s at %d: the store: %v", m.name, n, err)
			}
			other, p := r.put("b", 2, 20)
			r.register("b", p, nil)
			r.has(blocks)
			r.has(other)
			r.store.Close()
		}
		t.Logf("%s: %d backups failed", m.name, failed)
		if failed == 0 {
			t.Errorf("%s: no backup failed", m.name)
		}
	}
}

// A crash before each operation: afterwards the backup is not there, or opens and
// has all; and the next one to the same place succeeds.
func TestBackupCrashes(t *testing.T) {
	images, there := 0, 0
	for _, percent := range []int{0, 50, 100} {
		r := newRig(t)
		blocks, m := r.put("a", 1, 40)
		r.register("a", m, nil)
		r.putManifest("a", "m", blocks[:20])
		r.reopen()
		var disks []*vfstest.Disk
		r.faults.Arm(func(op vfstest.Op) bool { return op.Changes() && ofBackup(op) }, func(n int, _ vfstest.Op) error {
			disks = append(disks, r.disk.Crash(percent, uint64(n)))
			return nil
		})
		r.backup(backupDir, nil)
		r.faults.Disarm()
		disks = append(disks, r.disk.Crash(percent, 0))
		r.store.Close()
		for i, disk := range disks {
			images++
			after := &rig{t: t, disk: disk, cars: r.cars, cfg: r.cfg, bounds: r.bounds}
			after.open()
			after.has(blocks)
			last := i == len(disks)-1
			switch is := after.isThere(backupDir); {
			case is:
				there++
				bak := after.as(backupDir)
				bak.has(blocks)
				bak.hasMembers("a", "m", blocks[:20])
				bak.agree()
				bak.store.Close()
			case last:
				t.Error("a backup that was acknowledged is gone")
			default:
				// Between the last two steps it is whole, and has its other name.
				if !after.isThere(backupDir + ".partial/" + versionFile) {
					if _, err := open(after.ctx(), after.faults, backupDir+".partial", &Config{NoCreate: true}, after.bounds); !errors.Is(err, ErrNoStore) {
						t.Errorf("what was not completed opens as a store: %v", err)
					}
				}
				after.backup(backupDir, nil)
				after.settled(true)
				after.as(backupDir).has(blocks)
			}
			after.agree()
			after.store.Close()
		}
	}
	t.Logf("%d images, the backup was there in %d", images, there)
	if images < 60 || there < 3 {
		t.Errorf("%d images, the backup was there in %d", images, there)
	}
}
