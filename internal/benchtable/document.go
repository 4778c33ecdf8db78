package main

import (
	"errors"
	"strings"
)

// The marks around what this command writes. The rest of the document is
// other people's.
const (
	begin = "<!-- what follows is written by make bench -->\n"
	end   = "<!-- what precedes is written by make bench -->\n"
)

// splice puts a text between the marks of a document, or makes the document.
func splice(document, text string) (string, error) {
	if document == "" {
		return "# Benchmarks\n\n" + begin + "\n" + text + "\n" + end, nil
	}
	before, rest, found := strings.Cut(document, begin)
	if !found {
		return strings.TrimRight(document, "\n") + "\n\n" + begin + "\n" + text + "\n" + end, nil
	}
	_, after, found := strings.Cut(rest, end)
	if !found {
		return "", errors.New("the document has the first mark of make bench and not the second")
	}
	return before + begin + "\n" + text + "\n" + end + after, nil
}
