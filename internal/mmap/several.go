package mmap

import "runtime/debug"

// Faulted is deferred, as [Mapping.Guard] is, by a function that reads several
// mappings and can do its work again, one mapping at a time and each under its
// own guard:
//
//	defer mmap.Faulted(debug.SetPanicOnFault(true), &faulted)
//
// If the function faulted, Faulted ends the panic and sets *faulted: wherever
// it was. That the second time tells whose fault it was, or panics if it was no
// mapping's, is the caller's to see to. Other panics go on. It puts back how
// faults were treated before.
func Faulted(before bool, faulted *bool) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		if _, ok := r.(interface {
			error
			Addr() uintptr
		}); !ok {
			panic(r)
		}
		*faulted = true
	}
}
