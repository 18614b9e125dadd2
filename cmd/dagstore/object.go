package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/dagstore/dagstore/shard"
)

// A shardObject is one line of --json. Fields are only ever added.
type shardObject struct {
	Key         string   `json:"key"`
	Status      string   `json:"status"` // ready, lazy, indexing, failed or removing
	State       string   `json:"state"`  // of the shard's lifecycle, in lower case
	Sections    int64    `json:"sections"`
	Multihashes int64    `json:"multihashes"` // different ones, identity included
	Bytes       int64    `json:"bytes"`       // of the source
	Roots       []string `json:"roots"`
	Mount       string   `json:"mount"`
	Verified    string   `json:"verified"`         // none, sampled or full
	Faults      int64    `json:"faults,omitempty"` // bad blocks, which are not served
	Error       string   `json:"error,omitempty"`

	// Of "add --dry-run" alone: new, unchanged, changed, colliding or failed.
	Plan string `json:"plan,omitempty"`
}

// objectOf is what --json prints about a shard.
func objectOf(info shard.Info) shardObject {
	o := shardObject{
		Key:         string(info.Key),
		Status:      statusOf(info.State),
		State:       info.State.String(),
		Sections:    info.Sections,
		Multihashes: info.Multihashes,
		Bytes:       info.Bytes,
		Roots:       make([]string, len(info.Roots)),
		Mount:       info.URL,
		Verified:    verifiedName(info.Verified),
		Faults:      info.Faults,
	}
	for i, root := range info.Roots {
		o.Roots[i] = root.String()
	}
	if info.Failure != nil && info.Failure.Err != nil {
		o.Error = info.Failure.Err.Error()
	}
	return o
}

// statuses says which states each status covers. Every state that a listed
// shard can have is in exactly one of them.
var statuses = [...]struct {
	name   string
	states []shard.State
}{
	{"ready", []shard.State{shard.Available, shard.Serving}},
	{"lazy", []shard.State{shard.Registered}},
	{"indexing", []shard.State{shard.Initializing, shard.Recovering}},
	{"failed", []shard.State{shard.Draining, shard.Errored}},
	{"removing", []shard.State{shard.Destroying, shard.Gone}},
}

// statusOf is the word for scripts that covers a state.
func statusOf(state shard.State) string {
	for _, s := range statuses {
		for _, covered := range s.states {
			if covered == state {
				return s.name
			}
		}
	}
	return state.String()
}

// statesOf is the inverse of [statusOf].
func statesOf(status string) ([]shard.State, error) {
	names := make([]string, len(statuses))
	for i, s := range statuses {
		if s.name == status {
			return s.states, nil
		}
		names[i] = s.name
	}
	return nil, fmt.Errorf("no status is called %q; there are %s", status, strings.Join(names, " "))
}

func verifiedName(v shard.Verified) string {
	switch v {
	case shard.Full:
		return "full"
	case shard.Sampled:
		return "sampled"
	case shard.Unverified:
		return "none"
	}
	return "none"
}

// printJSON writes v as one line.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// showBytes is a number of bytes as people read it.
func showBytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < len("KMGTPE")-1 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[prefix])
}

// badBlocks is "1 bad block" or "3 bad blocks".
func badBlocks(n int64) string { return plural(n, "bad block") }

// plural is "1 block" or "3 blocks".
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
