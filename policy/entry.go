package policy

import (
	"encoding/json"
	"strconv"
	"time"
)

// Entry is a name of the document, and when it holds. An entry that is nothing
// but a name is written as a text.
type Entry struct {
	Name string `json:"name"`
	// Starts and Ends bound when the entry holds; Ends is the first moment it
	// no longer does. Reason says why.
	Starts time.Time `json:"starts,omitzero"`
	Ends   time.Time `json:"ends,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// Names returns entries that always hold.
func Names(names ...string) []Entry {
	out := make([]Entry, len(names))
	for i, name := range names {
		out[i].Name = name
	}
	return out
}

// setName lets a document say a name where an entry is wanted.
func (e *Entry) setName(name string) { e.Name = name }

// MarshalJSON writes a text where the entry is nothing but a name.
func (e Entry) MarshalJSON() ([]byte, error) {
	if e.Starts.IsZero() && e.Ends.IsZero() && e.Reason == "" {
		return json.Marshal(e.Name)
	}
	type entry Entry // without this method
	return json.Marshal(entry(e))
}

// Delegation lets local documents add organisations to the floor.
type Delegation struct {
	// To are the organisations whose servers may do so, by ID. Empty is every
	// organisation of class government.
	To []string `json:"to,omitempty"`
	// Classes are those of the organisations that may be added.
	Classes []string `json:"classes" enum:"government,external"`
	// Homeservers are the names that an added organisation may have: a server,
	// or *.domain for every server below it. Empty is none.
	Homeservers []string `json:"homeservers,omitempty"`
	// EmailDomains are the domains that an added organisation may have. Empty
	// is none.
	EmailDomains []string `json:"email_domains,omitempty"`
	// Starts and Ends bound when the delegation holds, and with it everything
	// that was added by it.
	Starts time.Time `json:"starts,omitzero"`
	Ends   time.Time `json:"ends,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// period is when an entry holds. The zero period is always.
type period struct{ starts, ends time.Time }

// newPeriod returns nil where there are no dates.
func newPeriod(starts, ends time.Time) *period {
	if starts.IsZero() && ends.IsZero() {
		return nil
	}
	return &period{starts, ends}
}

// outside says why now is not in the period, or "". An end is over at a time
// that nobody gave.
func (p *period) outside(now time.Time) Reason {
	switch {
	case p == nil:
		return ""
	case !p.starts.IsZero() && now.Before(p.starts):
		return ReasonNotStarted
	case !p.ends.IsZero() && (now.IsZero() || !now.Before(p.ends)):
		return ReasonEnded
	}
	return ""
}

// denies reports whether a denial holds at now. One holds at a time that
// nobody gave.
func (p *period) denies(now time.Time) bool { return now.IsZero() || p.outside(now) == "" }

// dates notes dates in the wrong order.
func (c *compiler) dates(starts, ends time.Time, path string) *period {
	if !starts.IsZero() && !ends.IsZero() && !starts.Before(ends) {
		c.wrong(path+".ends", "is not after the start")
	}
	return newPeriod(starts, ends)
}

// delegation checks what the floor lets others add.
func (c *compiler) delegation(d Delegation, path string) {
	c.dates(d.Starts, d.Ends, path)
	for i, id := range d.To {
		if !c.ids[id] {
			c.wrong(path+".to["+strconv.Itoa(i)+"]", "%q is no organisation of this document", clip(id))
		}
	}
	if len(d.Classes) == 0 {
		c.wrong(path+".classes", "names no class: government or external")
	}
	for i, class := range d.Classes {
		c.word(path+".classes["+strconv.Itoa(i)+"]", class, "government", "external")
	}
	for i, name := range d.Homeservers {
		if _, err := parseServerPattern(name); err != nil {
			c.wrong(path+".homeservers["+strconv.Itoa(i)+"]", "%q %v", clip(name), err)
		}
	}
	for i, name := range d.EmailDomains {
		if _, err := parsePattern(name); err != nil {
			c.wrong(path+".email_domains["+strconv.Itoa(i)+"]", "%q %v", clip(name), err)
		}
	}
}
