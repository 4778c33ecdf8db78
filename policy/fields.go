package policy

// field returns the raw value of a key at the top of a canonical JSON object,
// or nil. Canonical JSON escapes no letter, so comparing the bytes of a key
// compares the key. It does not allocate, and what is no object has no fields.
func field(object []byte, key string) []byte {
	i := skipSpace(object, 0)
	if i >= len(object) || object[i] != '{' {
		return nil
	}
	for i = skipSpace(object, i+1); i < len(object) && object[i] == '"'; {
		end := skipString(object, i)
		if end < 0 {
			return nil
		}
		found := string(object[i+1:end-1]) == key
		if i = skipSpace(object, end); i >= len(object) || object[i] != ':' {
			return nil
		}
		start := skipSpace(object, i+1)
		if end = skipValue(object, start); end < 0 {
			return nil
		}
		if found {
			return object[start:end]
		}
		if i = skipSpace(object, end); i >= len(object) || object[i] != ',' {
			return nil
		}
		i = skipSpace(object, i+1)
	}
	return nil
}

// text returns the string of a raw value without escapes, as bytes.
func text(raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, false
	}
	return raw[1 : len(raw)-1], true
}

// word returns the raw value if it is one of the words, without allocating.
func word(raw []byte, words ...string) string {
	if b, ok := text(raw); ok {
		for _, w := range words {
			if string(b) == w {
				return w
			}
		}
	}
	return ""
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index behind the string that begins at i, or -1.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// skipValue returns the index behind the value that begins at i, or -1.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 {
				return -1
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // behind a number or a word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return -1
}
