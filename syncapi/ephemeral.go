package syncapi

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage/rooms"
)

// Types of what is not kept in the timeline.
const (
	typeReceipt    = "m.receipt"
	typeTyping     = "m.typing"
	receiptPrivate = "m.read.private"
)

// readReceipts reads who has read how far in the joined rooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#receipts
func (a *answer) readReceipts(ctx context.Context) error {
	f := &a.filter.Room.Ephemeral
	if !wantsType(f, typeReceipt) {
		return nil
	}
	read := make(map[int64]bool, len(a.changes.read))
	for _, name := range a.changes.read {
		read[name.nid] = true
	}
	var fresh, going []int64
	for _, rm := range a.list {
		switch {
		case rm.section != joined || rm.hidden || !f.WantsRoom(rm.RoomID):
		case rm.entered:
			fresh = append(fresh, rm.RoomNID)
		case a.changes.all || read[rm.RoomNID]:
			going = append(going, rm.RoomNID)
		}
	}
	list, err := rooms.Receipts(ctx, a.r, fresh, 0, a.to)
	if err != nil {
		return err
	}
	more, err := rooms.Receipts(ctx, a.r, going, max(a.from, 0), a.to)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(append(list, more...), func(rc rooms.Receipt) bool {
		return rc.Type == receiptPrivate && rc.User != a.req.User
	})
	slices.SortFunc(list, func(x, y rooms.Receipt) int {
		return cmp.Or(cmp.Compare(x.RoomNID, y.RoomNID), cmp.Compare(x.EventID, y.EventID),
			cmp.Compare(x.Type, y.Type), cmp.Compare(x.User, y.User), cmp.Compare(x.ThreadID, y.ThreadID))
	})
	for len(list) > 0 {
		nid := list[0].RoomNID
		n := slices.IndexFunc(list, func(rc rooms.Receipt) bool { return rc.RoomNID != nid })
		if n < 0 {
			n = len(list)
		}
		a.rooms[nid].ephemeral = receiptEvents(list[:n])
		list = list[n:]
	}
	return nil
}

// receiptEvents returns the receipts of a room as events. The form has one place
// for each user beside an event: receipts in several threads for the same
// event need as many.
func receiptEvents(list []rooms.Receipt) (events []json.RawMessage) {
	for len(list) > 0 {
		var again []rooms.Receipt
		out := []byte(`{"content":{`)
		var last rooms.Receipt
		for i, rc := range list {
			sameEvent := i > 0 && rc.EventID == last.EventID
			sameType := sameEvent && rc.Type == last.Type
			switch {
			case sameType && rc.User == last.User:
				again = append(again, rc)
				continue
			case sameType:
				out = append(out, ',')
			case sameEvent:
				out = append(out, `},`...)
			case i > 0:
				out = append(out, `}},`...)
			}
			if !sameEvent {
				out = append(canonicaljson.AppendString(out, string(rc.EventID)), `:{`...)
			}
			if !sameType {
				out = append(canonicaljson.AppendString(out, rc.Type), `:{`...)
			}
			out = appendReceipt(out, rc)
			last = rc
		}
		events = append(events, append(out, `}}},"type":"m.receipt"}`...))
		list = again
	}
	return events
}

func appendReceipt(out []byte, rc rooms.Receipt) []byte {
	out = canonicaljson.AppendString(out, string(rc.User))
	out = append(out, `:{`...)
	if rc.ThreadID != "" {
		out = canonicaljson.AppendString(append(out, `"thread_id":`...), rc.ThreadID)
		out = append(out, ',')
	}
	return append(strconv.AppendInt(append(out, `"ts":`...), rc.TS, 10), '}')
}

// readTyping says who is typing, in the rooms where that may have changed.
//
// https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
func (a *answer) readTyping(context.Context) error {
	f := &a.filter.Room.Ephemeral
	if !wantsType(f, typeTyping) {
		return nil
	}
	changed := make(map[int64]bool, len(a.changes.typists))
	for _, name := range a.changes.typists {
		changed[name.nid] = true
	}
	for _, rm := range a.list {
		if rm.section != joined || rm.hidden || !f.WantsRoom(rm.RoomID) || !rm.entered && !changed[rm.RoomNID] {
			continue
		}
		users, _ := a.s.Rooms.Typing(rm.RoomID)
		if len(users) > 0 {
			a.next.typing = newTypingVersion(a.next.typing.count(), true)
		} else if rm.entered {
			continue
		}
		rm.ephemeral = append(rm.ephemeral, typingEvent(users))
	}
	return nil
}

func typingEvent(users []matrix.UserID) json.RawMessage {
	out := []byte(`{"content":{"user_ids":[`)
	for i, user := range users {
		if i > 0 {
			out = append(out, ',')
		}
		out = canonicaljson.AppendString(out, string(user))
	}
	return append(out, `]},"type":"m.typing"}`...)
}
