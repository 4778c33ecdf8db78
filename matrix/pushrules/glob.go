package pushrules

import (
	"unicode"
	"unicode/utf8"
)

// maxTokens is how many characters a pattern may have: an identifier fits, and
// the states of the matcher fit into four machine words.
const maxTokens = 255

// set is a set of states; state i means that i tokens of the pattern have
// matched.
type set [(maxTokens + 1) / 64]uint64

func (s *set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }
func (s *set) add(i int)      { s[i/64] |= 1 << (i % 64) }

// glob matches a pattern of characters, ? and *. It follows all ways through
// the pattern at once, so its time is the length of the text whatever the
// pattern is.
//
// https://spec.matrix.org/v1.19/appendices/#glob-style-matching
type glob struct {
	tokens int          // how many characters and ? there are
	loops  set          // states in which a * takes any character
	any    set          // states in which a ? takes any character
	on     map[rune]set // states in which this character is taken
	first  rune         // the character that every match begins with; -1 if any
	plain  string       // the pattern, if it has neither ? nor *
	isText bool         // plain holds
}

// newGlob compiles a pattern, or returns nil when it is too long.
func newGlob(pattern string) *glob { return compileGlob(pattern, true) }

// newLiteral compiles a text in which ? and * mean themselves.
func newLiteral(text string) *glob { return compileGlob(text, false) }

func compileGlob(pattern string, wild bool) *glob {
	g := &glob{on: make(map[rune]set), plain: pattern, isText: true}
	for _, r := range pattern {
		if wild && r == '*' {
			g.loops.add(g.tokens)
			g.isText = false
			continue
		}
		if g.tokens == maxTokens {
			return nil
		}
		if wild && r == '?' {
			g.any.add(g.tokens)
			g.isText = false
		} else {
			states := g.on[fold(r)]
			states.add(g.tokens)
			g.on[fold(r)] = states
		}
		g.tokens++
	}
	g.first = -1
	if head, _ := utf8.DecodeRuneInString(pattern); g.tokens > 0 && !g.loops.has(0) && !g.any.has(0) {
		g.first = fold(head)
	}
	return g
}

// step follows one character from every state.
func (g *glob) step(states *set, r rune) {
	takes := g.on[fold(r)]
	var carry uint64
	for i := range states {
		moved := states[i] & (takes[i] | g.any[i])
		stayed := states[i] & g.loops[i]
		states[i] = moved<<1 | carry | stayed
		carry = moved >> 63
	}
}

// matchAll reports whether the whole text matches, in any case of letters.
func (g *glob) matchAll(text string) bool {
	if g.isText {
		return equalFold(g.plain, text)
	}
	var states set
	states.add(0)
	for _, r := range text {
		if g.step(&states, r); states == (set{}) {
			return false
		}
	}
	return states.has(g.tokens)
}

// matchWords reports whether a part of the text matches that begins and ends
// at the boundary of a word, in any case of letters.
//
// https://spec.matrix.org/v1.19/client-server-api/#conditions-1
func (g *glob) matchWords(text string) bool {
	var states set
	before := rune(-1) // the character before this one; -1 at both ends
	for _, r := range text {
		if atBoundary(before, r) {
			if states.has(g.tokens) {
				return true
			}
			if g.first < 0 || g.first == fold(r) {
				states.add(0)
			}
		}
		if states != (set{}) { // it is, for most characters of most texts
			g.step(&states, r)
		}
		before = r
	}
	states.add(0)
	return states.has(g.tokens)
}

// atBoundary reports whether words can begin and end between two characters:
// everywhere but inside a word.
func atBoundary(before, after rune) bool { return !isWord(before) || !isWord(after) }

func isWord(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
}

// fold returns the same character for all cases of a letter.
func fold(r rune) rune {
	if r < utf8.RuneSelf {
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return least
}

// equalFold is strings.EqualFold with the folding of this package, so that a
// pattern means the same with and without a star.
func equalFold(a, b string) bool {
	for a != "" && b != "" {
		ra, na := utf8.DecodeRuneInString(a)
		rb, nb := utf8.DecodeRuneInString(b)
		if ra != rb && fold(ra) != fold(rb) {
			return false
		}
		a, b = a[na:], b[nb:]
	}
	return a == b
}
