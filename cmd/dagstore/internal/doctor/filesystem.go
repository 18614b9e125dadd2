package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// kinds are the file systems of which there is something to say, by the name that
// [FileSystemOf] gives, up to its first dot.
var kinds = map[string]Finding{
	"nfs":     {Level: Fault, What: "locks and fsync are not what the catalogue relies on: a crash of client or server can damage it, and two machines can open it at once"},
	"smb":     {Level: Fault, What: "locks and fsync are not what the catalogue relies on, and there are no hard links"},
	"network": {Level: Fault, What: "it is of another machine: locks, mapping and fsync are not what the catalogue relies on"},
	"9p":      {Level: Fault, What: "a folder that is shared with a virtual machine: mapping and fsync are not reliable there"},
	"fuse":    {Level: Warning, What: "what fsync and mapping do depends on the program behind it"},
	"tmpfs":   {Level: Warning, What: "it is in memory: all of the store is gone with the machine's next start"},
	"overlay": {Level: Warning, What: "it is the layer of a container, and goes with it"},
	"fat":     {Level: Warning, What: "it has no hard links, so backups copy, and no journal"},
}

// onLocalDisk is what to do about a store on another machine's disk.
const onLocalDisk = "keep the store on a local disk; CARs may lie on the share"

// remedies say what to do about them.
var remedies = map[string]string{
	"nfs": onLocalDisk, "smb": onLocalDisk, "network": onLocalDisk,
	"9p": "keep the store on a disk of the virtual machine", "fuse": "keep the store on a local disk, unless you know it well",
	"tmpfs": "name a folder on a disk by --repo", "overlay": "mount a volume, and name a folder in it by --repo", "fat": "use a file system with a journal",
}

// far are the file systems by FUSE that bring what lies on other machines, as
// mount(8) lists them: "fuse." stands before the name. What is not among them may
// be local, such as ntfs-3g or gocryptfs.
var far = []string{
	"alluxio", "blobfuse", "blobfuse2", "ceph", "ceph-fuse", "curlftpfs", "cvmfs2", "davfs", "davfs2", "fuse_dfs", "gcsfuse", "geesefs",
	"glusterfs", "goofys", "gvfsd-fuse", "hdfs", "ipfs", "juicefs", "lizardfs", "mfs", "moosefs", "mount-s3", "mountpoint-s3", "rclone",
	"s3fs", "s3ql", "saunafs", "seaweedfs", "smbnetfs", "sshfs", "weed",
}

// familyOf is the name by which kinds has a file system.
func familyOf(kind string) string {
	family, program, _ := strings.Cut(kind, ".")
	if family == "fuse" && slices.Contains(far, strings.ToLower(program)) {
		return "network"
	}
	return family
}

// FileSystem judges the file system that the store's folder is on; kind is "" where
// nobody knows.
func FileSystem(kind string) Finding {
	const check = "file system"
	if kind == "" {
		return ok(check, "this program does not know file systems here")
	}
	family := familyOf(kind)
	f, special := kinds[family]
	if !special {
		return ok(check, "%s", kind)
	}
	return bad(check, f.Level, remedies[family], "%s: %s", kind, f.What)
}

// A NetworkError says that a folder is on a file system of another machine, where no
// store can be.
type NetworkError struct {
	Kind string // as [FileSystemOf] gives it
}

func (e *NetworkError) Error() string {
	return fmt.Sprintf("a store cannot be on a network file system, %s: %s", e.Kind, kinds[familyOf(e.Kind)].What)
}

// Local returns a [NetworkError] if a store must not be on a file system of that
// kind. One that nobody knows is taken for one of this machine.
func Local(kind string) error {
	switch familyOf(kind) {
	case "nfs", "smb", "network":
		return &NetworkError{Kind: kind}
	}
	return nil
}
