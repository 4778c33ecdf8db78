package syncapi

import (
	"context"
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage/rooms"
	"beffroi/storage/users"
)

// strippedTypes are the parts of a room's state that a guest is told.
//
// https://spec.matrix.org/v1.19/client-server-api/#stripped-state
var strippedTypes = []string{"m.room.create", "m.room.join_rules", typeAlias, "m.room.avatar", typeName,
	"m.room.encryption", "m.room.topic"}

// readInvites reads what there is to tell of the rooms that the user is invited
// to or knocks on: what the other server told, or what the room is here.
func (a *answer) readInvites(ctx context.Context) error {
	var offers []int64
	for _, rm := range a.list {
		if (rm.section == invited || rm.section == knocked) && !rm.hidden {
			offers = append(offers, rm.EventNID)
		}
	}
	if len(offers) == 0 {
		return nil
	}
	if err := a.events(ctx, offers); err != nil {
		return err
	}
	permission, err := users.InvitePermission(ctx, a.r, a.req.User)
	if err != nil {
		return err
	}
	// An invitation may be older than the wish not to have it.
	unwanted := func(host matrix.UserID) bool { return a.ignored[host] || permission.Of(host) == matrix.InviteIgnore }
	var here []*room
	for _, rm := range a.list {
		offer := a.loaded[rm.EventNID]
		switch {
		case rm.section != invited && rm.section != knocked || rm.hidden:
		case offer == nil || rm.section == invited && unwanted(offer.Sender()):
			rm.hidden = true
		case rm.Stripped == "":
			here = append(here, rm)
		default:
			if err := json.Unmarshal([]byte(rm.Stripped), &rm.stripped); err != nil {
				return err
			}
			rm.stripped = append(rm.stripped, stripped(offer))
		}
	}
	return a.readOffered(ctx, here)
}

// readOffered reads the state of rooms of this server that the user may know.
func (a *answer) readOffered(ctx context.Context, list []*room) error {
	nids := make([]int64, len(list))
	keys := make([]rooms.MemberKey, len(list))
	for i, rm := range list {
		nids[i] = rm.RoomNID
		keys[i] = rooms.MemberKey{RoomNID: rm.RoomNID, User: a.loaded[rm.EventNID].Sender()}
	}
	state, err := rooms.StateOfRooms(ctx, a.r, nids, false, a.rules)
	if err != nil {
		return err
	}
	senders, err := rooms.MemberEventsOf(ctx, a.r, keys, a.rules)
	if err != nil {
		return err
	}
	for i, rm := range list {
		for _, e := range state[rm.RoomNID] {
			if key, _ := e.StateKey(); key == "" && slices.Contains(strippedTypes, e.Type()) {
				rm.stripped = append(rm.stripped, stripped(e))
			}
		}
		if e := senders[keys[i]]; e != nil && keys[i].User != a.req.User {
			rm.stripped = append(rm.stripped, stripped(e))
		}
		rm.stripped = append(rm.stripped, stripped(a.loaded[rm.EventNID]))
	}
	return nil
}

func stripped(e *rooms.Event) json.RawMessage {
	return e.AppendClient(nil, event.ClientForm{StrippedState: true})
}
