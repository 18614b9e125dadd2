// Package metrics holds the one list of what a store shows to Prometheus, and
// the collector that shows it.
//
// Every name begins with "dagstore_"; times are in seconds and sizes in bytes.
// What a label can say is listed, too: all series exist from the beginning, and
// there are never more, whatever shards a store has. No label ever holds a key,
// a CID or a URL.
package metrics
