// Package stateres resolves several states of a room into one: the algorithms
// 1, 2 and 2.1 of the room versions.
//
// It is pure but for the clock of its budget. Events come from a [Store],
// which is asked for many at a time, one level of the auth chains after the
// other; nothing recurses. The result does not depend on the order of the
// states nor on that of any map.
//
// https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
package stateres
