// Package doctor looks at what a store stands on (its disk, the limits of the
// system, the clock, the servers of its sources, what stands before it) and says
// what could go wrong with it, and what to do.
//
// What is looked at is a measurement, taken by the functions of probe*.go; what is
// made of it is a function from that to a [Finding], which every test can call.
// Nothing here opens a store.
package doctor
