// Package fsmount mounts CARs that lie in a file system of the program: what is
// embedded in it, an archive, a folder, anything that is an [io/fs.FS].
//
//	//go:embed cars
//	var embedded embed.FS
//
//	systems := fsmount.Systems{"assets": {FS: embedded, InPlace: true}}
//	reg := mount.Registry{"fs": systems.Open}
//	m, err := reg.Open("fs:assets/cars/photos.car")
//
// The URL of a file is "fs:", the name that the program gives the file system,
// a slash and the path, both percent-escaped byte by byte. A store that is
// opened again looks for the same names: a program that has renamed a file
// system finds its CARs absent.
//
// What a file offers decides how it is read. An [io.ReaderAt] (embed.FS,
// os.DirFS) can be read at random, an [io.Seeker] by ranges, and anything else,
// such as a compressed file of a zip.Reader, from its beginning alone.
package fsmount
