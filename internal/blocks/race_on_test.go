//go:build race

package blocks

// raceEnabled: under the race detector pools drop what they are given.
const raceEnabled = true
