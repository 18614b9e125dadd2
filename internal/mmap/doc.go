// Package mmap maps files for reading, with page faults as errors.
//
// A mapped file that shrinks, or a disk that cannot be read, shows itself as a
// fault in the middle of an ordinary load, which by default ends the process.
// Whoever touches the bytes of a [Mapping] therefore does so in a function
// that begins with
//
//	defer m.Guard(debug.SetPanicOnFault(true), &err)
//
// and gets a [*Fault] as its error instead. [Mapping.ReadAt] does this itself.
// A guard costs a few nanoseconds and does not allocate.
//
// A mapping keeps no file descriptor, so there may be as many of them as the
// kernel allows mappings, whatever the limit on open files.
package mmap
