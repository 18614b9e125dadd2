package doctor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// magics are the numbers of the file systems that can be told apart, from
// linux/magic.h and from the file systems themselves.
var magics = map[int64]string{
	unix.EXT4_SUPER_MAGIC:      "ext4",
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	0x2fc12fc1:                 "zfs",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	0xca451a4e:                 "bcachefs",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.RAMFS_MAGIC:           "tmpfs",
	unix.NFS_SUPER_MAGIC:       "nfs",
	unix.SMB_SUPER_MAGIC:       "smb",
	unix.CIFS_SUPER_MAGIC:      "smb",
	unix.SMB2_SUPER_MAGIC:      "smb",
	unix.AFS_SUPER_MAGIC:       "network.afs",
	unix.AFS_FS_MAGIC:          "network.afs",
	unix.CODA_SUPER_MAGIC:      "network.coda",
	unix.NCP_SUPER_MAGIC:       "network.ncp",
	0x19830326:                 "network.beegfs",
	0x0bd00bd0:                 "network.lustre",
	unix.CEPH_SUPER_MAGIC:      "ceph",
	unix.V9FS_MAGIC:            "9p",
	unix.FUSE_SUPER_MAGIC:      "fuse",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.MSDOS_SUPER_MAGIC:     "fat",
	unix.EXFAT_SUPER_MAGIC:     "fat",
}

// FileSystemOf returns the kind of the file system that path is on, or its number
// in hexadecimal. Of one by FUSE the kind says which it is, if that can be told, as
// in "fuse.sshfs"; of one of another machine it may begin with "network.".
func FileSystemOf(path string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return "", err
	}
	magic := int64(uint32(st.Type)) // its width depends on the machine
	name, known := magics[magic]
	switch {
	case !known:
		return "0x" + strconv.FormatInt(magic, 16), nil
	case name == "fuse":
		return fuseOf(path), nil
	}
	return name, nil
}

// fuseOf is the kind of a file system by FUSE, which has one number for all.
func fuseOf(path string) string {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "fuse"
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "fuse"
	}
	defer mounts.Close()  // it was only read
	dev := uint64(st.Dev) //nolint:unconvert // its width depends on the machine
	if kind := mountedAs(mounts, unix.Major(dev), unix.Minor(dev)); strings.HasPrefix(kind, "fuse.") {
		return kind
	}
	return "fuse"
}

// mountedAs returns the type of the file system of a device, as proc(5) has it in
// mountinfo; "" if it is not there.
func mountedAs(mountinfo io.Reader, major, minor uint32) string {
	device := fmt.Sprintf("%d:%d", major, minor)
	for lines := bufio.NewScanner(mountinfo); lines.Scan(); {
		before, after, found := strings.Cut(lines.Text(), " - ") // optional fields end there
		if fields := strings.Fields(before); !found || len(fields) < 3 || fields[2] != device {
			continue
		}
		if kind := strings.Fields(after); len(kind) > 0 {
			return kind[0]
		}
	}
	return ""
}

// FreeInodes returns how many more files the file system takes that path is on; -1
// if it has no such number.
func FreeInodes(path string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil || st.Files == 0 {
		return -1
	}
	return int64(min(st.Ffree, 1<<62))
}

// MostMaps returns vm.max_map_count; 0 if it cannot be told.
func MostMaps() uint64 {
	text, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
