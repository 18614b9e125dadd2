// Package front is the side of "dagstore serve" that faces the network: it
// serves a handler over HTTP/1.1 and HTTP/2, with TLS or without, reads
// certificates again when they change, ends in an orderly way, and shows to
// those who watch the program how it is.
//
// What a single request may take is the business of the handler.
package front
