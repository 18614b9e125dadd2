//go:build !linux

package main

import "context"

// listenerOf is not known here.
func listenerOf(context.Context, string) int { return 0 }

// isStopped is not known here.
func isStopped(int) bool { return false }
