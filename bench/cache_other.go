//go:build !linux

package main

import (
	"errors"
	"time"
)

// errNotCold says that this system does not tell what a row has to know.
var errNotCold = errors.New("the page cache of a file cannot be dropped, or its reads not be counted, on this system")

func dropCache(string) error { return errNotCold }

func majorFaults() (int64, error) { return 0, errNotCold }

// cpuTime is not known.
func cpuTime() time.Duration { return 0 }
