package storage

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// StateEntry is one key of a state of a room. In a difference between two
// states a NID of 0 says that the key is not set.
type StateEntry struct {
	Type, Key string
	NID       int64
}

const (
	// packMin is from where on a list is compressed: below it there is nothing
	// to gain.
	packMin = 128
	// maxPacked bounds a list once it is unpacked: half a million members.
	maxPacked = 64 << 20
)

// errPacked says that a packed list was not written by [PackState].
var errPacked = errors.New("storage: this is no packed state")

// PackState writes a list of entries as compressed text, and returns it with
// the hash of what it says. The order of the list does not matter.
func PackState(entries []StateEntry) (packed, hash string) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b StateEntry) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Key, b.Key))
	})
	raw := make([]byte, 0, 32*len(entries))
	for _, e := range entries {
		raw = appendText(raw, e.Type)
		raw = appendText(raw, e.Key)
		raw = binary.AppendUvarint(raw, uint64(e.NID))
	}
	sum := sha256.Sum256(raw)
	hash = base64.RawURLEncoding.EncodeToString(sum[:])
	if len(raw) < packMin {
		return "-" + base64.RawStdEncoding.EncodeToString(raw), hash
	}
	small := coders().in.EncodeAll(raw, nil)
	return "z" + base64.RawStdEncoding.EncodeToString(small), hash
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// UnpackState reads what [PackState] wrote, in the order of types and keys.
func UnpackState(packed string) (entries []StateEntry, err error) {
	if packed == "" {
		return nil, errPacked
	}
	raw, err := base64.RawStdEncoding.DecodeString(packed[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPacked, err)
	}
	switch packed[0] {
	case '-':
	case 'z':
		if raw, err = coders().out.DecodeAll(raw, nil); err != nil {
			return nil, fmt.Errorf("%w: %w", errPacked, err)
		}
	default:
		return nil, errPacked
	}
	for len(raw) > 0 {
		var e StateEntry
		var ok [3]bool
		e.Type, raw, ok[0] = cutText(raw)
		e.Key, raw, ok[1] = cutText(raw)
		e.NID, raw, ok[2] = cutNumber(raw)
		if !ok[0] || !ok[1] || !ok[2] {
			return nil, errPacked
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func cutText(raw []byte) (s string, rest []byte, ok bool) {
	n, raw, ok := cutNumber(raw)
	if !ok || n < 0 || n > int64(len(raw)) {
		return "", nil, false
	}
	return string(raw[:n]), raw[n:], true
}

func cutNumber(raw []byte) (n int64, rest []byte, ok bool) {
	u, size := binary.Uvarint(raw)
	if size <= 0 {
		return 0, nil, false
	}
	return int64(u), raw[size:], true
}

type coder struct {
	in  *zstd.Encoder
	out *zstd.Decoder
}

// coders are made when the first list is packed. Both are safe for concurrent
// use.
var coders = sync.OnceValue(func() coder {
	in, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err) // the options are wrong
	}
	out, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPacked))
	if err != nil {
		panic(err)
	}
	return coder{in, out}
})
