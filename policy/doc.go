// Package policy decides who may be with whom: a versioned document goes in,
// decisions come out.
//
// The package is pure. It does no I/O, starts no goroutine, takes no lock and
// reads no clock but the one in the request, so the same question on the same
// document has the same answer on every server. [ParseDocument] reads a
// document, [Compile] checks it and makes an immutable [Snapshot] of it, and
// [Engine] holds the active one. [Snapshot.Decide] judges a request,
// [Snapshot.AdmitEvent] an event on the state before it, and
// [Snapshot.PrepareRoom] a room that is about to be made.
//
// No decision holds anything of a message: only names, codes and numbers.
package policy
