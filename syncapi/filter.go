package syncapi

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/maypok86/otter/v2"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/users"
)

const (
	// defaultTimeline and maxTimeline are how many events of a room one answer has.
	defaultTimeline = 10
	maxTimeline     = 100
	// maxFilterBytes bounds a filter in the query. Stored ones have the same limit.
	maxFilterBytes = 64 << 10
	// maxFilterID bounds the ID of a stored one.
	maxFilterID = 255
	// maxFilters and maxKeptFilter bound the stored filters that are kept in
	// memory, and the bytes of one. Those of clients have a few hundred.
	maxFilters    = 20_000
	maxKeptFilter = 4 << 10
	// maxFields and maxFieldDepth bound event_fields: every event is cut to them.
	maxFields     = 100
	maxFieldDepth = 10
)

// filter says what a client wants to hear of.
//
// https://spec.matrix.org/v1.19/client-server-api/#filtering
type filter struct {
	EventFields []string          `json:"event_fields"`
	EventFormat string            `json:"event_format"`
	Presence    roomserver.Filter `json:"presence"`
	AccountData roomserver.Filter `json:"account_data"`
	Room        roomFilter        `json:"room"`

	fields  []fieldPath // of EventFields
	threads bool        // counts are told for each thread
}

type roomFilter struct {
	Rooms        []matrix.RoomID   `json:"rooms"`
	NotRooms     []matrix.RoomID   `json:"not_rooms"`
	IncludeLeave bool              `json:"include_leave"`
	AccountData  roomserver.Filter `json:"account_data"`
	Ephemeral    roomserver.Filter `json:"ephemeral"`
	State        roomserver.Filter `json:"state"`
	Timeline     roomserver.Filter `json:"timeline"`
}

// filterKey names a stored filter. What it says never changes: its ID is made of
// its content.
type filterKey struct {
	user matrix.UserID
	id   string
}

// newFilters returns the memory of stored filters, so that a sync need not read
// its own every time.
func newFilters() *otter.Cache[filterKey, *filter] {
	return otter.Must(&otter.Options[filterKey, *filter]{MaximumSize: maxFilters})
}

// readFilter returns the filter that a request names: an ID, or JSON. An ID
// that does not exist is 400 M_INVALID_PARAM.
func (s *Server) readFilter(ctx context.Context, user matrix.UserID, text string) (*filter, error) {
	switch {
	case text == "":
		return parseFilter([]byte("{}"))
	case text[0] == '{':
		return parseFilter([]byte(text))
	case len(text) > maxFilterID:
		return nil, matrix.InvalidParam("no such filter")
	}
	key := filterKey{user, text}
	if f, ok := s.filters.GetIfPresent(key); ok {
		return f, nil
	}
	var content string
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		content, err = users.Filter(ctx, r, user, text)
		return err
	})
	if matrix.IsCode(err, "M_NOT_FOUND") {
		return nil, matrix.InvalidParam("no such filter")
	}
	if err != nil {
		return nil, err
	}
	f, err := parseFilter([]byte(content))
	if err == nil && len(content) <= maxKeptFilter {
		s.filters.Set(key, f)
	}
	return f, err
}

func parseFilter(raw []byte) (*filter, error) {
	if len(raw) > maxFilterBytes {
		return nil, matrix.TooLarge("a filter has at most %d bytes", maxFilterBytes)
	}
	if _, err := canonicaljson.Canonicalise(raw, canonicaljson.Lenient); err != nil {
		return nil, err
	}
	f := new(filter)
	if err := json.Unmarshal(raw, f); err != nil {
		return nil, matrix.BadJSON("a field of the filter is not of its type")
	}
	if f.EventFormat != "" && f.EventFormat != "client" && f.EventFormat != "federation" {
		return nil, matrix.InvalidParam("event_format is client or federation")
	}
	all := roomserver.Filter{Rooms: f.Room.Rooms, NotRooms: f.Room.NotRooms}
	for _, part := range []*roomserver.Filter{&all, &f.Presence, &f.AccountData, &f.Room.AccountData, &f.Room.Ephemeral,
		&f.Room.State, &f.Room.Timeline} {
		if err := part.Check(); err != nil {
			return nil, err
		}
	}
	if f.Room.Timeline.Limit == 0 {
		f.Room.Timeline.Limit = defaultTimeline
	}
	f.Room.Timeline.Limit = min(f.Room.Timeline.Limit, maxTimeline)
	f.threads = f.Room.Timeline.UnreadThreads
	var err error
	f.fields, err = parseFields(f.EventFields)
	return f, err
}

// wantsRoom reports whether the client wants to hear of a room at all.
func (f *filter) wantsRoom(id matrix.RoomID) bool {
	return !slices.Contains(f.Room.NotRooms, id) && (f.Room.Rooms == nil || slices.Contains(f.Room.Rooms, id))
}

// lazy reports whether the client wants only the members that it needs. The
// specification puts the word into the filter for state, and old clients into
// that for the timeline.
func (f *filter) lazy() bool { return f.Room.State.LazyLoadMembers || f.Room.Timeline.LazyLoadMembers }

// redundant reports whether the client wants those that it has got before, too.
func (f *filter) redundant() bool {
	return f.Room.State.IncludeRedundantMembers || f.Room.Timeline.IncludeRedundantMembers
}

// wantsNothing reports whether a filter leaves everything out.
func wantsNothing(f *roomserver.Filter) bool {
	return f.Types != nil && len(f.Types) == 0 || f.Senders != nil && len(f.Senders) == 0
}

// wantsType reports whether a filter wants something of a type that no event
// of a room carries.
func wantsType(f *roomserver.Filter, typ string) bool {
	return !anyType(f.NotTypes, typ) && (f.Types == nil || anyType(f.Types, typ))
}

func anyType(patterns []string, typ string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return globMatches(p, typ) })
}

// globMatches reports whether a pattern, in which * stands for any characters,
// matches a text. It never goes back by more than one star.
func globMatches(pattern, text string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	for ok {
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(text, part)
		}
		_, text, ok = strings.Cut(text, part)
		rest = more
	}
	return false
}
