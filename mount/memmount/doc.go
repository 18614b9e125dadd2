// Package memmount mounts CARs that lie in the memory of this process: for
// tests, and for programs that make CARs as they go.
//
//	var cars memmount.Set
//	m := cars.Put("greeting", car)
//	reg := mount.Registry{"mem": cars.Open}
//
// A [Set] names them, as a file system names files. It belongs to the program
// and ends with the process: a store that is opened again finds those sources
// absent until the program has put them there again.
package memmount
