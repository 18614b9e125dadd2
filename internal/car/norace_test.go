//go:build !race

package car

// timed says whether how long something takes means anything: not under the
// race detector.
const timed = true
