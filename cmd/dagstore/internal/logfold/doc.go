// Package logfold keeps a log readable when one thing goes wrong many times.
//
// A [Handler] stands before another handler of log/slog. Warnings and errors
// with one message may be written a few times in a window of time; what comes
// beyond that, and what says the same as a line of the window word for word, is
// counted. When the window ends, one line tells how many there were, with the
// last of them as the example. Nothing of lower levels is held back.
package logfold
