package roomserver

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/maypok86/otter/v2"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

const (
	// spaceMemory is how long what another server told of a space holds, and
	// spaceMemoryBytes how much is kept of it.
	spaceMemory      = time.Minute
	spaceMemoryBytes = 8 << 20
	// maxSummaryText bounds the texts of what another server tells of a room.
	maxSummaryText = 16 << 10
)

// ToldHierarchy is what servers tell each other of a space.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
type ToldHierarchy struct {
	Room         *SpaceRoom      `json:"room"`
	Children     []*SpaceRoom    `json:"children"`
	Inaccessible []matrix.RoomID `json:"inaccessible_children"`
}

// toldSpace is what another server told of a space, checked.
type toldSpace struct {
	Room     *SpaceRoom
	children map[matrix.RoomID]*SpaceRoom
	shut     map[matrix.RoomID]bool
	size     uint32
}

// newSpaceMemory returns the cache of what other servers told of spaces.
func newSpaceMemory() *otter.Cache[string, *toldSpace] {
	return otter.Must(&otter.Options[string, *toldSpace]{
		MaximumWeight:    spaceMemoryBytes,
		Weigher:          func(_ string, t *toldSpace) uint32 { return t.size },
		ExpiryCalculator: otter.ExpiryWriting[string, *toldSpace](spaceMemory),
	})
}

// askSpace asks the servers that may be in a room for what it is. nil means that
// none told.
func (s *Server) askSpace(ctx context.Context, id matrix.RoomID, via []matrix.ServerName, suggestedOnly bool) *toldSpace {
	for _, server := range via {
		if server == "" || server == s.self || ctx.Err() != nil {
			continue
		}
		// One user's via must not decide what another is told: what a server says
		// is remembered as its word alone.
		key := fmt.Sprintf("%t %s %s", suggestedOnly, server, id)
		if told, ok := s.spaces.GetIfPresent(key); ok {
			return told
		}
		raw, err := s.remote.Hierarchy(ctx, server, id, suggestedOnly)
		var told *toldSpace
		if err == nil {
			told, err = readSpace(raw, id, suggestedOnly)
		}
		if err != nil {
			s.log.InfoContext(ctx, "no summary of a room", "room_id", id, "destination", server, "error", err)
			continue
		}
		s.spaces.Set(key, told)
		return told
	}
	return nil
}

// readSpace reads what another server tells of a space. What is not of its form
// is left out.
func readSpace(raw []byte, id matrix.RoomID, suggestedOnly bool) (*toldSpace, error) {
	clean, err := canonicaljson.Canonicalise(raw, canonicaljson.Lenient)
	if err != nil {
		return nil, err
	}
	var in struct {
		Room         json.RawMessage   `json:"room"`
		Children     []json.RawMessage `json:"children"`
		Inaccessible []matrix.RoomID   `json:"inaccessible_children"`
	}
	if err := json.Unmarshal(clean, &in); err != nil {
		return nil, matrix.BadJSON("what is told of a space is not of its form")
	}
	out := &toldSpace{Room: readSpaceRoom(in.Room, suggestedOnly), size: uint32(len(clean)),
		children: make(map[matrix.RoomID]*SpaceRoom), shut: make(map[matrix.RoomID]bool)}
	if out.Room == nil || out.Room.RoomID != id {
		return nil, matrix.BadJSON("another room is told of than was asked for")
	}
	for _, child := range in.Children[:min(len(in.Children), maxSpaceChildren)] {
		if room := readSpaceRoom(child, suggestedOnly); room != nil {
			out.children[room.RoomID] = room
		}
	}
	for _, shut := range in.Inaccessible[:min(len(in.Inaccessible), maxSpaceChildren)] {
		out.shut[shut] = true
	}
	return out, nil
}

// readSpaceRoom returns a room that another server tells of, nil where that is
// of no use.
func readSpaceRoom(raw json.RawMessage, suggestedOnly bool) *SpaceRoom {
	var room SpaceRoom
	if len(raw) == 0 || json.Unmarshal(raw, &room) != nil {
		return nil
	}
	if _, err := matrix.ParseRoomID(string(room.RoomID)); err != nil || room.Joined < 0 {
		return nil
	}
	for _, text := range []string{room.Name, room.Topic, room.AvatarURL, room.CanonicalAlias, room.JoinRule, room.RoomType,
		room.Encryption, string(room.RoomVersion)} {
		if len(text) > maxSummaryText {
			return nil
		}
	}
	if room.JoinRule == "" {
		room.JoinRule = "public" // of servers that tell of no others
	}
	children := []*SpaceChild{}
	for _, child := range room.Children[:min(len(room.Children), maxSpaceChildren)] {
		if child == nil {
			continue
		}
		if _, err := matrix.ParseUserID(string(child.Sender)); err != nil {
			continue
		}
		if child = child.valid(); child != nil && (child.suggested || !suggestedOnly) {
			children = append(children, child)
		}
	}
	room.Children = children
	sortChildren(room.Children)
	return &room
}

// HierarchyFor answers hierarchy: a space and those of its children that this
// server is in and users of another may see. A room that they may not see is
// 404 M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
func (s *Server) HierarchyFor(ctx context.Context, origin matrix.ServerName, id matrix.RoomID, suggestedOnly bool) (ToldHierarchy, error) {
	who := asker{server: origin}
	out := ToldHierarchy{Children: []*SpaceRoom{}, Inaccessible: []matrix.RoomID{}}
	known, err := s.lookAt(ctx, who, []matrix.RoomID{id})
	if err != nil {
		return out, err
	}
	p := known[id]
	may := false
	if p != nil && p.resident {
		if may, err = s.mayKnow(ctx, who, p); err != nil {
			return out, err
		}
	}
	if !may {
		return out, matrix.NotFound("there is no such room, or it is not open to your users")
	}
	if out.Room, err = s.spaceRoom(ctx, p, suggestedOnly); err != nil || len(out.Room.Children) == 0 {
		return out, err
	}
	var ids []matrix.RoomID
	for _, child := range out.Room.Children {
		if child.StateKey != id && !slices.Contains(ids, child.StateKey) {
			ids = append(ids, child.StateKey)
		}
	}
	if known, err = s.lookAt(ctx, who, ids); err != nil {
		return out, err
	}
	for _, id := range ids {
		p := known[id]
		if p == nil || !p.resident {
			continue
		}
		may, err := s.mayKnow(ctx, who, p)
		switch {
		case err != nil:
			return out, err
		case !may:
			out.Inaccessible = append(out.Inaccessible, id)
			continue
		}
		room, err := s.spaceRoom(ctx, p, suggestedOnly)
		if err != nil {
			return out, err
		}
		out.Children = append(out.Children, room)
	}
	return out, nil
}
