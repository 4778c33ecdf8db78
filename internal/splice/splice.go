// Package splice puts what a program writes between two marks of a document
// that is otherwise written by people.
package splice

import (
	"fmt"
	"os"
	"strings"
)

// Marks are the lines around what one program writes.
type Marks struct{ Begin, End string }

// By returns the marks of a program.
func By(program string) Marks {
	return Marks{"<!-- what follows is written by " + program + " -->\n", "<!-- what precedes is written by " + program + " -->\n"}
}

// Into returns the document with the text between the marks. Where they are
// missing it stands at the end, and an empty document begins with the title.
func (m Marks) Into(document, title, text string) (string, error) {
	text = m.Begin + "\n" + strings.Trim(text, "\n") + "\n\n" + m.End
	if document == "" {
		return "# " + title + "\n\n" + text, nil
	}
	before, rest, found := strings.Cut(document, m.Begin)
	if !found {
		return strings.TrimRight(document, "\n") + "\n\n" + text, nil
	}
	_, after, found := strings.Cut(rest, m.End)
	if !found {
		return "", fmt.Errorf("the document has %q and no %q", strings.TrimSpace(m.Begin), strings.TrimSpace(m.End))
	}
	return before + text + after, nil
}

// IntoFile does the same to a file, which it makes if there is none.
func (m Marks) IntoFile(path, title, text string) error {
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read document: %w", err)
	}
	whole, err := m.Into(string(old), title, text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(whole), 0o644); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}
