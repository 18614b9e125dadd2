// Package archtest holds the tests of the project's frame: who may import
// whom, what a package may link, how sources are written, and that
// docs/api.txt is what the public packages export. Its one function lists
// sentinels, for the tests of the tables that must have a row for each.
package archtest
