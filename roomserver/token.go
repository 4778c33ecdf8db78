package roomserver

import (
	"strconv"
	"strings"

	"beffroi/matrix"
	"beffroi/storage"
)

// maxToken bounds a token: more digits than a position has say nothing.
const maxToken = 64

// Token returns the name of a place between events: after the event at a
// position and before the next.
func Token(pos storage.Position) string { return "s" + strconv.FormatInt(int64(pos), 10) }

// ParseToken reads a token of [Token], or the first part of one that sync made,
// which says more after an underscore. Anything else is 400 M_INVALID_PARAM.
func ParseToken(token string) (storage.Position, error) {
	place, _, _ := strings.Cut(token, "_")
	digits, ok := strings.CutPrefix(place, "s")
	if !ok || len(token) > maxToken {
		return 0, matrix.InvalidParam("this is no token of this server")
	}
	pos, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || digits[0] == '+' || storage.Position(pos) < firstPosition || storage.Position(pos) > lastPosition {
		return 0, matrix.InvalidParam("this is no token of this server")
	}
	return storage.Position(pos), nil
}

// ParsePlace reads a token that may be absent, which is nil.
func ParsePlace(token string) (*storage.Position, error) {
	if token == "" {
		return nil, nil
	}
	pos, err := ParseToken(token)
	return &pos, err
}
