//go:build !race

package blocks

// raceEnabled: see the other file.
const raceEnabled = false
