package syncapi

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/maypok86/otter/v2"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// ListFilter says which rooms stand in a list. What is nil leaves nothing out.
type ListFilter struct {
	Direct, Encrypted, Invited *bool
	RoomTypes, NotRoomTypes    []*string // nil in a list is a room without a type
	Tags, NotTags              []string
	Spaces                     []matrix.RoomID
}

// needsKinds reports whether the filter asks for what the rooms are.
func (f *ListFilter) needsKinds() bool {
	return f.Encrypted != nil || f.RoomTypes != nil || f.NotRoomTypes != nil
}

// kind is what a room is, as of a position.
type kind struct {
	at        storage.Position
	encrypted bool
	typ       *string
}

// maxKinds bounds the rooms whose kind is kept in memory.
const maxKinds = 200_000

func newKinds() *otter.Cache[int64, kind] {
	return otter.Must(&otter.Options[int64, kind]{MaximumSize: maxKinds})
}

// shelves holds the rooms of an account against the filters of its lists.
type shelves struct {
	kinds   map[int64]kind
	shelf   shelf
	inSpace map[matrix.RoomID]map[matrix.RoomID]bool // by space
}

// readShelves reads what the filters need to know.
func (s *Server) readShelves(ctx context.Context, r *storage.Reader, a *account, list []listed, lists []*SlidingList, at storage.Position) (*shelves, error) {
	out := &shelves{shelf: s.notifier.shelfOf(a)}
	for _, l := range lists {
		var err error
		if l.Filter.needsKinds() && out.kinds == nil {
			if out.kinds, err = s.readKinds(ctx, r, list, at); err != nil {
				return nil, err
			}
		}
		if l.Filter.Spaces != nil {
			if err := out.readSpaces(ctx, r, list, l.Filter.Spaces); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (n *notifier) shelfOf(a *account) shelf {
	n.mu.Lock()
	defer n.mu.Unlock()
	return a.shelf
}

// readKinds reads what the rooms are of which that is not known, or was before
// something happened in them. Of a room that one is invited to it is known what
// the other server told.
func (s *Server) readKinds(ctx context.Context, r *storage.Reader, list []listed, at storage.Position) (map[int64]kind, error) {
	kinds := make(map[int64]kind, len(list))
	var unknown []int64
	for _, l := range list {
		k, ok := s.kinds.GetIfPresent(l.nid)
		switch {
		case l.other != nil && l.other.Stripped != "":
			kinds[l.nid] = strippedKind(l.other.Stripped)
		case ok && k.at >= l.activity && l.word == "join":
			kinds[l.nid] = k
		default:
			unknown = append(unknown, l.nid)
		}
	}
	found := make(map[int64]*kind, len(unknown))
	for _, nid := range unknown {
		found[nid] = &kind{at: at}
	}
	for _, typ := range []string{"m.room.create", "m.room.encryption"} {
		events, err := rooms.StateEventsOf(ctx, r, unknown, typ)
		if err != nil {
			return nil, err
		}
		for nid, e := range events {
			found[nid].learn(typ, e.Content())
		}
	}
	for nid, k := range found {
		kinds[nid] = *k
		s.kinds.Set(nid, *k)
	}
	return kinds, nil
}

func (k *kind) learn(typ string, content []byte) {
	switch typ {
	case "m.room.encryption":
		k.encrypted = true
	case "m.room.create":
		var word string
		if json.Unmarshal(canonicaljson.Field(content, "type"), &word) == nil {
			k.typ = &word
		}
	}
}

func strippedKind(text string) (k kind) {
	var events []struct {
		Type    string          `json:"type"`
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal([]byte(text), &events) == nil {
		for _, e := range events {
			k.learn(e.Type, e.Content)
		}
	}
	return k
}

// readSpaces reads which rooms are in some spaces. A space counts only where
// the user has joined it.
func (sh *shelves) readSpaces(ctx context.Context, r *storage.Reader, list []listed, spaces []matrix.RoomID) error {
	if sh.inSpace == nil {
		sh.inSpace = make(map[matrix.RoomID]map[matrix.RoomID]bool)
	}
	var nids []int64
	ids := make(map[int64]matrix.RoomID)
	for _, l := range list {
		if l.word == "join" && slices.Contains(spaces, l.id) && sh.inSpace[l.id] == nil {
			nids = append(nids, l.nid)
			ids[l.nid] = l.id
			sh.inSpace[l.id] = make(map[matrix.RoomID]bool)
		}
	}
	children, err := rooms.SpaceChildren(ctx, r, nids)
	for nid, list := range children {
		for _, child := range list {
			sh.inSpace[ids[nid]][child] = true
		}
	}
	return err
}

// wants reports whether a filter leaves a room in.
func (sh *shelves) wants(f *ListFilter, l *listed) bool {
	k := sh.kinds[l.nid]
	hasType := func(list []*string) bool {
		return slices.ContainsFunc(list, func(t *string) bool {
			return t == nil && k.typ == nil || t != nil && k.typ != nil && *t == *k.typ
		})
	}
	hasTag := func(list []string) bool {
		return slices.ContainsFunc(sh.shelf.tags[l.id], func(tag string) bool { return slices.Contains(list, tag) })
	}
	switch {
	case f.Direct != nil && *f.Direct != l.direct,
		f.Invited != nil && *f.Invited != (l.word == "invite"),
		f.Encrypted != nil && *f.Encrypted != k.encrypted,
		f.RoomTypes != nil && !hasType(f.RoomTypes),
		f.NotRoomTypes != nil && hasType(f.NotRoomTypes),
		f.Tags != nil && !hasTag(f.Tags),
		f.NotTags != nil && hasTag(f.NotTags):
		return false
	case f.Spaces != nil:
		return slices.ContainsFunc(f.Spaces, func(id matrix.RoomID) bool { return sh.inSpace[id][l.id] })
	}
	return true
}
