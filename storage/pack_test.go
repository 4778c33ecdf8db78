package storage

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestPackState(t *testing.T) {
	t.Parallel()
	many := make([]StateEntry, 5000)
	for i := range many {
		many[i] = StateEntry{"m.room.member", fmt.Sprintf("@user%05d:interieur.example", i), int64(1000 + i)}
	}
	for name, entries := range map[string][]StateEntry{
		"none":     nil,
		"one":      {{"m.room.create", "", 1}},
		"not set":  {{"m.room.topic", "", 0}, {"a", "b\x00c", 1 << 62}},
		"any text": {{"", "", 3}, {"é\n", strings.Repeat("x", 255), 4}},
		"many":     many,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packed, hash := PackState(entries)
			got, err := UnpackState(packed)
			if err != nil || len(got) != len(entries) {
				t.Fatalf("%d of %d entries, %v", len(got), len(entries), err)
			}
			for _, e := range entries {
				if !slices.Contains(got, e) {
					t.Fatalf("%v is lost", e)
				}
			}
			mixed := slices.Clone(entries)
			rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			if other, otherHash := PackState(mixed); other != packed || otherHash != hash {
				t.Error("the order of the entries matters")
			}
			if len(entries) > 0 {
				mixed[0].NID++
				if _, other := PackState(mixed); other == hash {
					t.Error("another state has the same hash")
				}
			}
		})
	}
	if packed, _ := PackState(many); len(packed) > 20*len(many) {
		t.Errorf("%d bytes an entry", len(packed)/len(many))
	}
}

func TestUnpackRefusesWhatIsNoState(t *testing.T) {
	t.Parallel()
	text := base64.RawStdEncoding.EncodeToString
	for name, packed := range map[string]string{
		"nothing": "", "another kind": "?AAAA", "no base64": "-é", "no zstd": "z" + text([]byte("zstd")),
		"cut short": "-" + text([]byte{200, 1, 'a'}), "no number": "-" + text([]byte{1, 'a', 1, 'b'}),
	} {
		if _, err := UnpackState(packed); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
