// Package zstdmount mounts CARs that lie compressed with Zstandard (RFC 8878)
// at a place that another kind of mount reaches. It wraps that kind's opener:
//
//	reg := mount.Registry{
//		"file":      filemount.Open,
//		"zstd+file": zstdmount.Wrap(filemount.Open),
//	}
//	m, err := reg.Open("zstd+file:///srv/cars/photos.car.zst")
//
// The size of the CAR is known if the source offers ranges and says it: by the
// seek table of the seekable format, or in the header of its first frame. It is
// then held against what the frames hold, so a source of several frames with
// sizes needs a table. Else Stat gives -1. A version is that of the compressed
// source.
//
// Ranges are offered if the source has a seek table and offers ranges itself;
// a source of that format is an ordinary one with a table in its last frame,
// which "t2sz" and other tools write. A frame is decoded from its beginning, so
// small frames make small reads: 1 to 4 MiB serve well. A table with more than
// a million frames or with a frame of more than 64 MiB is not used for ranges.
//
// Compressed bytes may claim much. A stream holds at most [Config].MaxWindow
// and about 2 MiB besides, gives at most MaxRatio bytes for each byte that the
// source has sent, and ends with [ErrLimit] at MaxSize: a bomb costs its
// readers what they let come, and nothing is decoded ahead of them.
package zstdmount
