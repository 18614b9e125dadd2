package watch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inotifyEvent is an event as the kernel writes it.
func inotifyEvent(number int32, what uint32, name string) []byte {
	padded := 0
	if name != "" {
		padded = (len(name)/16 + 1) * 16
	}
	buf := binary.NativeEndian.AppendUint32(nil, uint32(number))
	buf = binary.NativeEndian.AppendUint32(buf, what)
	buf = binary.NativeEndian.AppendUint32(buf, 0)
	buf = binary.NativeEndian.AppendUint32(buf, uint32(padded))
	return append(buf, append([]byte(name), make([]byte, padded-len(name))...)...)
}

// What the kernel writes is taken apart as inotify(7) describes it; what is cut
// off is left.
func TestParse(t *testing.T) {
	var heard []string
	e := &inotify{paths: map[int32]listened{1: {below: ""}, 2: {below: "sub"}}, hears: func(below string, n news) {
		heard = append(heard, fmt.Sprintf("%s %d", below, n))
	}}
	whole := inotifyEvent(2, unix.IN_MOVED_TO, "z.car")
	e.parse(slices.Concat(
		inotifyEvent(1, unix.IN_CREATE, "a.car"),
		inotifyEvent(2, unix.IN_MOVED_TO, "b.car"),
		inotifyEvent(2, unix.IN_CREATE|unix.IN_ISDIR, "new"),
		inotifyEvent(1, unix.IN_MOVED_TO|unix.IN_ISDIR, "came"),
		inotifyEvent(1, unix.IN_MOVED_FROM|unix.IN_ISDIR, "went"),
		inotifyEvent(1, unix.IN_CLOSE_WRITE, ".hidden.car"),
		inotifyEvent(1, unix.IN_CLOSE_WRITE, "x.car.part"),
		inotifyEvent(3, unix.IN_CLOSE_WRITE, "unknown.car"),
		inotifyEvent(-1, unix.IN_Q_OVERFLOW, ""),
		inotifyEvent(2, unix.IN_IGNORED, ""),
		inotifyEvent(2, unix.IN_CREATE, "late.car"),
		whole[:len(whole)-1],
	))
	want := []string{
		fmt.Sprintf("a.car %d", written), fmt.Sprintf("sub/b.car %d", moved), fmt.Sprintf("sub/new %d", opened),
		fmt.Sprintf("came %d", opened|moved), fmt.Sprintf("went %d", opened), fmt.Sprintf(" %d", written),
	}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
}

// What is not on this machine is known by its file system.
func TestDistant(t *testing.T) {
	for magic, want := range map[uint32]bool{
		0x6969: true, 0xfe534d42: true, 0xff534d42: true, 0x65735546: true, 0x01021997: true, // nfs, smb2, cifs, fuse, 9p
		0xef53: false, 0x01021994: false, 0x58465342: false, 0x9123683e: false, 0x794c7630: false, // ext4, tmpfs, xfs, btrfs, overlay
	} {
		if distantTypes[magic] != want {
			t.Errorf("%#x is distant: %v", magic, !want)
		}
	}
	if distant("/proc") || distant(filepath.Join(t.TempDir(), "absent")) {
		t.Error("what is here is distant")
	}
}

// A queue of the kernel that really overflows is heard of.
func TestKernelOverflow(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	release, all := make(chan struct{}), make(chan struct{})
	var once sync.Once
	e, err := newEar(func(below string, _ news) {
		<-release // the reader is busy
		if below == "" {
			once.Do(func() { close(all) })
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	open := sync.OnceFunc(func() { close(release) })
	defer open()
	if err := e.listenTo(dir, "here"); err != nil {
		t.Fatal(err)
	}
	// The same event twice in a row is one, so two files take turns. What has been read is
	// not in the queue: one buffer of the shortest events.
	for i := range most + 8192 {
		f, err := os.OpenFile(filepath.Join(dir, []string{"x.car", "y.car"}[i%2]), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open()
	select {
	case <-all:
	case <-time.After(time.Minute):
		t.Error("nothing is said of the overflow")
	}
}

// passes lets time pass for the place, and waits until it has looked at what is due
// then.
func (r *rig) passes(d time.Duration) {
	r.t.Helper()
	p := r.place
	p.mu.Lock()
	p.table.epoch = p.table.epoch.Add(-d)
	for i := range p.rests {
		p.rests[i].due = p.rests[i].due.Add(-d)
	}
	p.mu.Unlock()
	p.folder.wake()
	r.until("what is due is looked at", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.rests) == 0 || time.Until(p.rests[0].due) > 0
	})
}

// sees waits until the place knows a file as it is now.
func (r *rig) sees(name string) {
	r.t.Helper()
	f, ok := r.place.folder.find(name)
	if !ok {
		r.t.Fatalf("%s is not there", name)
	}
	r.until(name+" is seen as it is", func() bool {
		r.place.mu.Lock()
		defer r.place.mu.Unlock()
		t := r.place.table
		return t.entries[t.id(string(f.Key))].stamp == t.stamp(&f)
	})
}

// A writer who takes three times as long as a file must rest is waited for, with the
// system alone telling of each of his writes. Time goes by as the test says, so that
// no machine is too busy for it.
func TestSlowWriterHeard(t *testing.T) {
	const rests = time.Hour
	r := newRig(t)
	r.watch(told(rests))
	r.listens()
	looks := r.w.Status()[0].Looks
	data := car("the beginning")
	for range 9 {
		data = append(data, 0) // null padding is the end of a CAR
		r.write(r.dir, "slow.car", data)
		r.sees("slow.car")
		r.passes(rests / 3)
		r.want()
	}
	r.passes(rests - rests/3 - time.Minute)
	r.want()
	if s := r.w.Status()[0]; s.Waiting != 1 {
		t.Errorf("%+v", s)
	}
	r.passes(2 * time.Minute)
	r.event("added slow")
	r.want("added slow")
	if info, err := r.store.Info(t.Context(), "slow"); err != nil || info.Bytes != int64(len(data)) {
		t.Errorf("it has %d bytes of %d: %v", info.Bytes, len(data), err)
	}
	if s := r.w.Status()[0]; s.Looks != looks {
		t.Errorf("%d looks, want %d", s.Looks, looks)
	}
}
