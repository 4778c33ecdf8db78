package syncapi

import "testing"

func TestTokensRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range []token{{}, {5, 0, 5}, {5, newTypingVersion(1_750_000_000_000, true), 5}, {1 << 62, 7, 3}, {9, 1, 0}} {
		got, err := parseToken(want.String())
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", want, got, err, want)
		}
	}
	for count, someone := range map[uint64]bool{0: false, 3: true} {
		if v := newTypingVersion(count, someone); v.count() != count || v.someone() != someone {
			t.Errorf("version of %d, %v: %d, %v", count, someone, v.count(), v.someone())
		}
	}
}

func FuzzToken(f *testing.F) {
	for _, text := range []string{"", "s", "s1_t2", "s1_t2_d1", "s5_t2_d1", "s-1_t2", "s01_t2", "s1_t2_d1_x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseToken(text)
		if err == nil && (got.String() != text || got.pos < 0 || got.messages > got.pos) {
			t.Errorf("%q is %+v", text, got)
		}
	})
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte(`{"room":{"timeline":{"limit":1,"types":["m.*"]}},"event_fields":["content.body"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := parseFilter(raw)
		if err == nil && (got.Room.Timeline.Limit < 1 || got.Room.Timeline.Limit > maxTimeline) {
			t.Errorf("limit %d", got.Room.Timeline.Limit)
		}
	})
}

func TestGlobs(t *testing.T) {
	t.Parallel()
	for pattern, cases := range map[string]map[string]bool{
		"m.room.message": {"m.room.message": true, "m.room.messages": false, "": false},
		"m.*":            {"m.room.message": true, "m.": true, "org.m.": false},
		"*":              {"": true, "anything": true},
		"m.*.b*d":        {"m.a.bcd": true, "m.a.b.bd": true, "m.a.bc": false, "m..bd": true, "m.bd": false},
		"a*a":            {"a": false, "aa": true, "aba": true},
		"**x":            {"x": true, "yx": true, "xy": false},
	} {
		for text, want := range cases {
			if globMatches(pattern, text) != want {
				t.Errorf("%q matches %q: %v", pattern, text, !want)
			}
		}
	}
}
