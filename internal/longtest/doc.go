// Package longtest says how long the randomized tests of this run are to be,
// and where they begin. The environment tells: with DAGSTORE_LONG=1 they run in
// their long form, and DAGSTORE_SEED=n is the seed of them all. One run with
// one seed makes the same choices as another.
//
//	func TestSomething(t *testing.T) {
//		seed := longtest.Seed()
//		runs := longtest.Runs(200, 100_000)
//		…
//		longtest.Figure(t, "%d runs from seed %d, nothing lost", runs, seed)
//	}
//
// It does not import testing.
package longtest
