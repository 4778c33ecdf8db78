package policystore

import (
	"crypto/rand"
	"time"
)

// crockford is Base 32 without letters that look like digits, in the order of
// their bytes, so that IDs sort as their times do.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// idLength is the length of a decision ID: 10 characters of time, 16 of chance.
const idLength = 26

// newID returns a decision ID: 48 bits of milliseconds and 80 random bits.
func newID(now time.Time) string {
	var out [idLength]byte
	ms := uint64(now.UnixMilli())
	for i := 9; i >= 0; i-- {
		out[i] = crockford[ms&31]
		ms >>= 5
	}
	_, _ = rand.Read(out[10:]) // it never fails
	for i := 10; i < idLength; i++ {
		out[i] = crockford[out[i]&31]
	}
	return string(out[:])
}
