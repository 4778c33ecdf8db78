package syncapi

import (
	"context"
	"slices"
	"strconv"

	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/storage/rooms"
)

// What names a room: its members do where none of these is set.
const (
	typeName  = "m.room.name"
	typeAlias = "m.room.canonical_alias"
)

// readSummaries counts the members of the joined rooms whose members or names
// changed, and finds who stands for a room without a name.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
func (a *answer) readSummaries(ctx context.Context) error {
	var changed []*room
	var nids []int64
	for _, rm := range a.list {
		if rm.section == joined && !rm.hidden && (rm.whole || a.renamed(rm)) {
			changed = append(changed, rm)
			nids = append(nids, rm.RoomNID)
		}
	}
	named, err := a.named(ctx, changed)
	if err != nil {
		return err
	}
	nids = slices.DeleteFunc(nids, func(nid int64) bool { return named[nid] })
	heroes, err := rooms.Heroes(ctx, a.r, a.req.User, nids)
	if err != nil {
		return err
	}
	for _, rm := range changed {
		rm.heroes = heroes[rm.RoomNID]
		rm.summary = appendSummary(nil, rm, named[rm.RoomNID])
	}
	return nil
}

// renamed reports whether what a client calls a room may have changed.
func (a *answer) renamed(rm *room) bool {
	return slices.ContainsFunc(a.deltas[rm.RoomNID], func(d rooms.Delta) bool {
		return d.Type == typeMember || d.StateKey == "" && (d.Type == typeName || d.Type == typeAlias)
	})
}

// named returns which rooms have a name or an alias.
func (a *answer) named(ctx context.Context, list []*room) (map[int64]bool, error) {
	named := make(map[int64]bool, len(list))
	var unread []int64
	for _, rm := range list {
		if rm.base == nil {
			unread = append(unread, rm.RoomNID)
			continue
		}
		for _, typ := range []string{typeName, typeAlias} {
			named[rm.RoomNID] = named[rm.RoomNID] || names(a.loaded[rm.base[event.StateTuple{Type: typ}]])
		}
	}
	for _, typ := range []string{typeName, typeAlias} {
		found, err := rooms.StateEventsOf(ctx, a.r, unread, typ)
		if err != nil {
			return nil, err
		}
		for nid, e := range found {
			named[nid] = named[nid] || names(e)
		}
	}
	return named, nil
}

// names reports whether a name or an alias is set, and not to nothing.
func names(e *rooms.Event) bool {
	if e == nil {
		return false
	}
	field := "name"
	if e.Type() == typeAlias {
		field = "alias"
	}
	value := canonicaljson.Field(e.Content(), field)
	return len(value) > len(`""`) && value[0] == '"'
}

func appendSummary(out []byte, rm *room, named bool) []byte {
	out = append(out, '{')
	if !named {
		out = append(out, `"m.heroes":[`...)
		for i, user := range rm.heroes {
			if i > 0 {
				out = append(out, ',')
			}
			out = canonicaljson.AppendString(out, string(user))
		}
		out = append(out, `],`...)
	}
	out = strconv.AppendInt(append(out, `"m.invited_member_count":`...), rm.Invited, 10)
	out = strconv.AppendInt(append(out, `,"m.joined_member_count":`...), rm.Joined, 10)
	return append(out, '}')
}
