// Package matrix holds the vocabulary of the Matrix protocol: identifiers,
// error codes, room versions and the small types that every other package
// speaks in.
//
// It is pure. It does no I/O, reads no clock, starts no goroutine and logs
// nothing, so everything in it can be tested with a table.
package matrix
