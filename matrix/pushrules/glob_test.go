package pushrules

import (
	"fmt"
	"strings"
	"testing"
)

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, text string
		all, words    bool
	}{
		{"lunc?*", "Lunch plans", true, true},
		{"lunc?*", "LUNCH", true, true},
		{"lunc?*", " lunch", false, true},
		{"lunc?*", "lunc", false, false},
		{"ex*ple", "An example event.", false, true},
		{"ex*ple", "exple", true, true},
		{"ex*ple", "An exciting triple-whammy", false, true},
		{"ex*ple", "unexample", false, false},
		{"tea", "steam", false, false},
		{"tea", "tea", true, true},
		{"tea", "s_tea", false, false},
		{"tea", "thé/tea!", false, true},
		{"tea", "té tea", false, true},
		{"tea", "étea", false, true}, // only ASCII letters make words
		{"tea", "teatea tea", false, true},
		{"@room", "hey @room", false, true},
		{"@room", "hey@room", false, true},
		{"@room", "@rooms", false, false},
		{"", "", true, true},
		{"", "x", false, true},
		{"*", "", true, true},
		{"*", "anything", true, true},
		{"?", "", false, false},
		{"?", "é", true, true},
		{"??", "é", false, false},
		{"**a**", "a", true, true},
		{"a*b*c", "aXbXbXc", true, true},
		{"a*b*c", "acb", false, false},
		{"ÉLOÏSE", "éloïse", true, true},
		{"k", "\u212a", true, true}, // the Kelvin sign is a k
		{"K*", "\u212a", true, true},
		{"a.c", "abc", false, false},
		{"[a-z]", "b", false, false},
	} {
		g := newGlob(tc.pattern)
		if got := g.matchAll(tc.text); got != tc.all {
			t.Errorf("%q matches all of %q: %v", tc.pattern, tc.text, got)
		}
		if got := g.matchWords(tc.text); got != tc.words {
			t.Errorf("%q matches words of %q: %v", tc.pattern, tc.text, got)
		}
	}
}

func TestGlobLength(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxTokens)
	for pattern, ok := range map[string]bool{long: true, long + "a": false, "*" + long + "*": true, long + "?": false} {
		if g := newGlob(pattern); (g != nil) != ok {
			t.Errorf("%d characters: %v", len(pattern), g != nil)
		}
	}
	if g := newGlob("*" + long); !g.matchAll("b"+long) || g.matchAll(long[1:]) || !g.matchWords("b "+long) {
		t.Error("the longest pattern does not match")
	}
}

// A pattern that blows up a matcher that tries one way after the other.
func TestGlobIsLinear(t *testing.T) {
	t.Parallel()
	g := newGlob(strings.Repeat("a*", 100) + "b")
	if text := strings.Repeat("a", 60_000); g.matchAll(text) || g.matchWords(text) {
		t.Error("matches")
	}
}

// slowly is the definition of a match, without regard to time.
func slowly(pattern, text []rune) bool {
	switch {
	case len(pattern) == 0:
		return len(text) == 0
	case pattern[0] == '*':
		return slowly(pattern[1:], text) || len(text) > 0 && slowly(pattern, text[1:])
	case len(text) == 0:
		return false
	}
	return (pattern[0] == '?' || fold(pattern[0]) == fold(text[0])) && slowly(pattern[1:], text[1:])
}

func slowlyInWords(pattern, text []rune) bool {
	at := func(i int) rune {
		if i < 0 || i >= len(text) {
			return -1
		}
		return text[i]
	}
	for i := 0; i <= len(text); i++ {
		for j := i; j <= len(text); j++ {
			if atBoundary(at(i-1), at(i)) && atBoundary(at(j-1), at(j)) && slowly(pattern, text[i:j]) {
				return true
			}
		}
	}
	return false
}

func FuzzGlob(f *testing.F) {
	f.Add("ex*ple", "An example event.")
	f.Add("a?*b", "aXb _b")
	f.Add("**", "é\u212a")
	f.Add("@room", "hey@room")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		p, s := []rune(pattern), []rune(text)
		if len(p) > 10 || len(s) > 14 {
			return
		}
		g := newGlob(string(p))
		if got, want := g.matchAll(string(s)), slowly(p, s); got != want {
			t.Errorf("%q matches all of %q: %v", string(p), string(s), got)
		}
		if got, want := g.matchWords(string(s)), slowlyInWords(p, s); got != want {
			t.Errorf("%q matches words of %q: %v", string(p), string(s), got)
		}
	})
}

func BenchmarkGlob(b *testing.B) {
	text := strings.Repeat("An exciting triple-whammy, isn't it? ", 30)
	for _, pattern := range []string{"whammi", "w*mmi", "*a*e*i*o*u*!"} {
		b.Run(fmt.Sprintf("%s in %d bytes", pattern, len(text)), func(b *testing.B) {
			g := newGlob(pattern)
			for b.Loop() {
				if g.matchWords(text) {
					b.Fatal("matches")
				}
			}
		})
	}
}
