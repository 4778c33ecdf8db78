// Package search stores what people and messages are found by.
package search

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

const (
	// maxWord bounds a word, in characters: what is longer nobody types.
	maxWord = 40
	// maxWords bounds the words of one text that are indexed.
	maxWords = 2000
)

// Words returns the words of a text in a form in which those that people take
// for the same are the same: without accents, in lower case. A word has letters
// and digits and nothing else.
func Words(text string) (list []string) {
	folded := strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return ' '
	}, norm.NFKD.String(text))
	for word := range strings.FieldsSeq(folded) {
		if len(list) == maxWords {
			break
		}
		list = append(list, cut(word, maxWord))
	}
	return list
}

// cut returns the first characters of a word.
func cut(word string, n int) string {
	for i := range word {
		if n == 0 {
			return word[:i]
		}
		n--
	}
	return word
}
