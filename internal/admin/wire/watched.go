package wire

import "time"

// Watched is a place that is looked at for CARs that come to it.
type Watched struct {
	Place   string     `json:"place"` // path or URL
	Kind    string     `json:"kind"`  // folder, prefix or list
	Looking bool       `json:"looking"`
	Last    *time.Time `json:"last,omitempty"` // when it was looked at to its end
	Next    *time.Time `json:"next,omitempty"`
	Seen    int64      `json:"seen"` // CARs that the last whole look has found

	Waiting  int64 `json:"waiting"`  // that must rest
	Taking   int64 `json:"taking"`   // that are being added
	Failed   int64 `json:"failed"`   // that could not be added
	Changed  int64 `json:"changed"`  // that are another revision than the store has indexed
	Vanished int64 `json:"vanished"` // that the store has and the place has not

	// Since the process began.
	Added    int64 `json:"added"`
	Replaced int64 `json:"replaced"`
	Requests int64 `json:"requests"` // that looks have taken

	Error string `json:"error,omitempty"` // why it cannot be looked at now

	// By name, 1,000 of each at most.
	FailedCARs   []WatchedCAR `json:"failed_cars,omitempty"`
	VanishedCARs []WatchedCAR `json:"vanished_cars,omitempty"`
}

// WatchedCAR is a CAR in such a place that something is wrong with.
type WatchedCAR struct {
	Key   string    `json:"key"`
	Name  string    `json:"name"` // path or URL
	Since time.Time `json:"since"`
	Error string    `json:"error,omitempty"`
}

// WatchedPlaces is an answer.
type WatchedPlaces struct {
	Places []Watched `json:"places"`
}
