package matrix

// GlobMatches reports whether a pattern of characters, ? and *, in any case of
// letters, matches the whole of a text in lower case. It never goes back
// beyond the last *, so a pattern costs at most its length times that of the
// text, and a text is a name of at most 255 bytes.
//
// https://spec.matrix.org/v1.19/appendices/#glob-style-matching
func GlobMatches[P []byte | string](pattern P, text string) bool {
	p, t := 0, 0
	star, retry := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || lowerByte(pattern[p]) == text[t]):
			p++
			t++
		case star >= 0:
			retry++
			p, t = star+1, retry
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
