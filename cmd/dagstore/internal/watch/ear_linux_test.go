package watch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	most, numErr := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || numErr != nil || most > 20_000 {
		t.Skipf("the queue is not known, or too long to be filled: %s", bytes.TrimSpace(text))
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
	// What has been read is not in the queue: one buffer of the shortest events.
	name := filepath.Join(dir, "x.car")
	for i := range most/2 + 4096 {
		if err := os.WriteFile(name+strconv.Itoa(i), nil, 0o600); err != nil {
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

// A writer who takes three times as long as a file must rest is waited for,
// with the system telling of each of his writes. A writer who was held up for
// that long himself begins again.
func TestSlowWriterHeard(t *testing.T) {
	const rests = 500 * time.Millisecond
	r := newRig(t)
	r.watch(told(rests))
	r.listens()
	for attempt := range 10 {
		key := fmt.Sprintf("slow%d", attempt)
		data, longest := car("the beginning"), time.Duration(0)
		began := time.Now()
		for last := began; time.Since(began) < 3*rests; {
			r.write(r.dir, key+".car", data)
			longest = max(longest, time.Since(last))
			last = time.Now()
			data = append(data, 0) // null padding is the end of a CAR
			time.Sleep(rests / 50)
		}
		early := r.count("added " + key)
		if early > 0 && longest < rests/2 {
			t.Fatalf("it was taken up while it was written, with pauses of no more than %v", longest)
		}
		r.event("added " + key)
		if early == 0 {
			if info, err := r.store.Info(t.Context(), keyOf(key)); err != nil || info.Bytes != int64(len(data)-1) {
				t.Errorf("it has %d bytes of %d: %v", info.Bytes, len(data)-1, err)
			}
			return
		}
	}
	t.Skip("this machine is too busy to write without pauses: " + strings.Join(r.happened(), ", "))
}
