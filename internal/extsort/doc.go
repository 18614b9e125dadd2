// Package extsort sorts rows of fixed width in bounded memory.
//
// A [Pool] holds the budget: the memory of all of its [Sorter]s together and
// the file they spill sorted runs to. A Sorter takes rows of one width and gives
// them back in the order of their bytes. So a caller puts the key first,
// big-endian, and what breaks ties after it.
//
// Rows gather in buckets by their first byte, and a bucket is sorted when all
// rows have come: by a counting sort on the bits in which its rows differ,
// while they are in the cache. Keys that are alike cost comparisons, n log n of
// them, never more.
package extsort
