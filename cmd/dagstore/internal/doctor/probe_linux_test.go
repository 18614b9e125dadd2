package doctor

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMountedAs: the type of a file system is found by its device.
func TestMountedAs(t *testing.T) {
	const text = `27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
35 27 0:41 / /home/ann/far rw,nosuid,nodev,relatime shared:1 master:2 - fuse.sshfs ann@far:/ rw,user_id=1000
36 27 0:4 / /home/ann/x\040y rw - fuse.rclone far: rw
37 27 0:41
38 27 0:43 / /broken rw - 
`
	for device, want := range map[[2]uint32]string{{0, 41}: "fuse.sshfs", {0, 4}: "fuse.rclone", {254, 0}: "ext4", {0, 43}: "", {0, 1}: ""} {
		if got := mountedAs(strings.NewReader(text), device[0], device[1]); got != want {
			t.Errorf("%v: %q, want %q", device, got, want)
		}
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer mounts.Close()
	var st unix.Stat_t
	if err := unix.Stat("/proc", &st); err != nil {
		t.Fatal(err)
	}
	if got := mountedAs(mounts, unix.Major(st.Dev), unix.Minor(st.Dev)); got != "proc" {
		t.Errorf("/proc is %q", got)
	}
}
