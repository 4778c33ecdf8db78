package roomserver

import (
	"encoding/json"
	"slices"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage/rooms"
)

const (
	// maxFilterBytes and maxFilterEntries bound a filter of a client: each
	// event is held against every entry.
	maxFilterBytes   = 64 << 10
	maxFilterEntries = 1000
)

// Filter says which events of rooms a client wants. A nil list excludes
// nothing; an empty one includes nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#filtering
type Filter struct {
	Limit                   int             `json:"limit,omitempty"`
	Types                   []string        `json:"types,omitempty"` // * stands for any characters
	NotTypes                []string        `json:"not_types,omitempty"`
	Senders                 []matrix.UserID `json:"senders,omitempty"`
	NotSenders              []matrix.UserID `json:"not_senders,omitempty"`
	Rooms                   []matrix.RoomID `json:"rooms,omitempty"`
	NotRooms                []matrix.RoomID `json:"not_rooms,omitempty"`
	ContainsURL             *bool           `json:"contains_url,omitempty"`
	LazyLoadMembers         bool            `json:"lazy_load_members,omitempty"`
	IncludeRedundantMembers bool            `json:"include_redundant_members,omitempty"`
	UnreadThreads           bool            `json:"unread_thread_notifications,omitempty"`
	// Only events to which others relate: in one of these ways, by one of these.
	RelatedByRelTypes []string        `json:"related_by_rel_types,omitempty"`
	RelatedBySenders  []matrix.UserID `json:"related_by_senders,omitempty"`
}

// ParseFilter reads a filter for events of rooms; empty is the filter that
// wants everything. What is no filter is 400 M_BAD_JSON or M_NOT_JSON.
func ParseFilter(raw []byte) (f Filter, err error) {
	if len(raw) == 0 {
		return f, nil
	}
	if len(raw) > maxFilterBytes {
		return f, matrix.TooLarge("a filter has at most %d bytes", maxFilterBytes)
	}
	if !json.Valid(raw) {
		return f, matrix.NotJSON("the filter is not JSON")
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, matrix.BadJSON("the filter: %v", err)
	}
	return f, f.Check()
}

// Check refuses a filter that is larger than any client's.
func (f *Filter) Check() error {
	for _, n := range []int{len(f.Types), len(f.NotTypes), len(f.Senders), len(f.NotSenders), len(f.Rooms), len(f.NotRooms),
		len(f.RelatedByRelTypes), len(f.RelatedBySenders)} {
		if n > maxFilterEntries {
			return matrix.InvalidParam("a list of a filter has at most %d entries", maxFilterEntries)
		}
	}
	if f.Limit < 0 {
		return matrix.InvalidParam("the limit of a filter is negative")
	}
	return nil
}

// All reports whether the filter wants every event of the rooms it wants.
func (f *Filter) All() bool {
	return f.Types == nil && f.NotTypes == nil && f.Senders == nil && f.NotSenders == nil && f.ContainsURL == nil &&
		!f.byRelation()
}

// WantsSender reports whether a filter wants what comes from a user.
func (f *Filter) WantsSender(user matrix.UserID) bool {
	return !slices.Contains(f.NotSenders, user) && (f.Senders == nil || slices.Contains(f.Senders, user))
}

// byRelation reports whether the filter asks for what relates to an event.
func (f *Filter) byRelation() bool { return len(f.RelatedByRelTypes)+len(f.RelatedBySenders) > 0 }

// WantsRoom reports whether the filter wants events of a room.
func (f *Filter) WantsRoom(id matrix.RoomID) bool {
	return !slices.Contains(f.NotRooms, id) && (f.Rooms == nil || slices.Contains(f.Rooms, id))
}

// Wants reports whether the filter wants an event of a room that it wants.
func (f *Filter) Wants(e *rooms.Event) bool {
	switch {
	case slices.Contains(f.NotSenders, e.Sender()) || matchesType(f.NotTypes, e.Type()):
		return false
	case f.Senders != nil && !slices.Contains(f.Senders, e.Sender()):
		return false
	case f.Types != nil && !matchesType(f.Types, e.Type()):
		return false
	case f.ContainsURL != nil:
		url := canonicaljson.Field(e.Content(), "url")
		return (len(url) > 0 && url[0] == '"') == *f.ContainsURL
	}
	return true
}

func matchesType(patterns []string, typ string) bool {
	for _, p := range patterns {
		if p == typ || strings.Contains(p, "*") && starMatches(p, typ) {
			return true
		}
	}
	return false
}

// starMatches reports whether a pattern, in which * stands for any characters,
// matches a whole text.
func starMatches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}
