// Package archtest holds the tests of the project's frame: who may import
// whom, what a package may link, how sources are written, and that
// docs/api.txt is what the public packages export. It has no code of its own.
package archtest
