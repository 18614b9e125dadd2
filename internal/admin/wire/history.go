package wire

import "time"

// A History is the last minutes of a process.
type History struct {
	Since   time.Time `json:"since"`   // when the process began
	Samples []Sample  `json:"samples"` // rising by time
}

// A Sample is what has happened since the one before.
type Sample struct {
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"` // since the one before

	// Of the gateway of the same process; 0 if it has none.
	Requests int64   `json:"requests"`
	Failed   int64   `json:"failed"`        // with a status from 500 on
	Bytes    int64   `json:"bytes"`         // sent
	P50      float64 `json:"p50,omitempty"` // seconds until the first byte, of half of the requests at most
	P99      float64 `json:"p99,omitempty"` // of 99 in 100

	Blocks  int64 `json:"blocks"`  // read and found good, whoever wanted them
	Queued  int   `json:"queued"`  // at that moment, as of [Stats]
	Working int   `json:"working"` // likewise
}
