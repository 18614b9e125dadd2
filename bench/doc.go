// Command bench measures what docs/numbers.md lists, and prints a table.
//
//	go run ./bench                     # the short form: a few minutes
//	go run ./bench -full               # as the numbers are written down
//	go run ./bench -run get-all,get-1k # some rows
//
// Times mean little on a machine that others use too, so each row measures
// beside its own figure a limit: the least that any implementation has to do.
// Both are taken in turns, in one process, and their medians are compared. A
// row that misses its goal stays in the table with "no".
package main
