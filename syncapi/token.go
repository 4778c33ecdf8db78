package syncapi

import (
	"strconv"
	"strings"

	"beffroi/matrix"
	"beffroi/storage"
)

// token says up to where a client knows everything: a position of the log, the
// version of who is typing, and up to where it has messages to its device,
// which is less than the position where there were too many for one answer.
//
// Its first part is a token of the room server, so that a client can ask for
// members or messages by it.
type token struct {
	pos      storage.Position
	typing   typingVersion
	messages storage.Position
}

// typingVersion is what a client knows of typing: how many times somebody had
// begun or stopped, and whether somebody was typing then in a room of its
// account. Who believes that nobody is need not be told so after a restart.
type typingVersion uint64

func newTypingVersion(count uint64, someone bool) typingVersion {
	if someone {
		return typingVersion(count<<1 | 1)
	}
	return typingVersion(count << 1)
}

func (v typingVersion) count() uint64 { return uint64(v >> 1) }

func (v typingVersion) someone() bool { return v&1 == 1 }

// maxToken bounds a token: three numbers and their letters.
const maxToken = 64

// String returns the token as clients get it.
func (t token) String() string {
	out := strconv.AppendInt([]byte{'s'}, int64(t.pos), 10)
	out = strconv.AppendUint(append(out, "_t"...), uint64(t.typing), 10)
	if t.messages != t.pos {
		out = strconv.AppendInt(append(out, "_d"...), int64(t.messages), 10)
	}
	return string(out)
}

// parseToken reads a token of [token.String]. Anything else is 400
// M_INVALID_PARAM.
func parseToken(text string) (t token, err error) {
	invalid := matrix.InvalidParam("since is not a token of sync")
	parts := strings.Split(text, "_")
	if len(text) > maxToken || len(parts) < 2 || len(parts) > 3 {
		return t, invalid
	}
	var numbers [3]uint64
	for i, part := range parts {
		digits, ok := strings.CutPrefix(part, "std"[i:i+1])
		if !ok {
			return t, invalid
		}
		if numbers[i], err = strconv.ParseUint(digits, 10, 63); err != nil {
			return t, invalid
		}
	}
	t = token{storage.Position(numbers[0]), typingVersion(numbers[1]), storage.Position(numbers[0])}
	if len(parts) == 3 {
		t.messages = storage.Position(numbers[2])
	}
	if t.messages > t.pos || t.String() != text {
		return t, invalid
	}
	return t, nil
}
