package syncapi

import (
	"context"
	"encoding/json"

	"beffroi/matrix/canonicaljson"
	"beffroi/roomserver"
	"beffroi/storage/rooms"
)

// renderEvents gives the events the form in which they are sent: those of all
// timelines at once, and those of all states.
func (a *answer) renderEvents(ctx context.Context) error {
	var timelines, states []*rooms.Event
	for _, rm := range a.list {
		timelines = append(timelines, rm.timeline...)
		states = append(states, rm.state...)
	}
	how := roomserver.Rendering{Sights: a.sights, Device: a.req.Device, OmitRoomID: true}
	events, err := a.renderList(ctx, timelines, how)
	if err != nil {
		return err
	}
	how.Plain = true
	state, err := a.renderList(ctx, states, how)
	if err != nil {
		return err
	}
	for _, rm := range a.list {
		rm.events, events = events[:len(rm.timeline)], events[len(rm.timeline):]
		rm.stateEvents, state = state[:len(rm.state)], state[len(rm.state):]
	}
	return nil
}

func (a *answer) renderList(ctx context.Context, list []*rooms.Event, how roomserver.Rendering) (out []json.RawMessage, err error) {
	if a.filter.EventFormat == "federation" {
		for _, e := range list {
			out = append(out, e.JSON())
		}
	} else if out, err = a.s.Rooms.RenderEvents(ctx, a.r, list, how); err != nil {
		return nil, err
	}
	for i, raw := range out {
		if out[i], err = keepFields(raw, a.filter.fields); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// empty reports whether there is nothing to tell.
func (a *answer) empty() bool {
	for _, rm := range a.list {
		if a.shows(rm) {
			return false
		}
	}
	return len(a.data.global)+len(a.messages)+len(a.present)+len(a.lists.changed)+len(a.lists.left) == 0 && !a.changes.counts
}

// shows reports whether there is something to tell of a room.
func (a *answer) shows(rm *room) bool {
	switch {
	case rm.hidden:
		return false
	case rm.section != joined || rm.whole:
		return true
	}
	if rm.unread != nil && a.since != nil && rm.unread.Moved > a.from {
		return true // a client that wants no receipts is told what they change
	}
	return len(rm.events)+len(rm.stateEvents)+len(rm.ephemeral)+len(rm.data) > 0 || rm.summary != nil || a.limited(rm)
}

// render writes the answer.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
func (a *answer) render() json.RawMessage {
	out := make([]byte, 0, a.size())
	out = append(append(append(out, `{"next_batch":"`...), a.next.String()...), '"')
	if len(a.data.global) > 0 {
		out = appendData(append(out, `,"account_data":`...), a.data.global)
	}
	if len(a.present) > 0 {
		out = appendEvents(append(out, `,"presence":`...), a.present)
	}
	if len(a.messages) > 0 {
		out = appendEvents(append(out, `,"to_device":`...), a.messages)
	}
	if len(a.lists.changed)+len(a.lists.left) > 0 {
		out = appendStrings(append(out, `,"device_lists":{"changed":`...), a.lists.changed)
		out = append(appendStrings(append(out, `,"left":`...), a.lists.left), '}')
	}
	out = append(out, a.counts...)
	out = a.appendRooms(out)
	return append(out, '}')
}

// size is about how long the answer will be.
func (a *answer) size() int {
	const around = 512 // what stands around the events of a room
	n := 2048
	for _, rm := range a.list {
		n += around
		for _, list := range [][]json.RawMessage{rm.events, rm.stateEvents, rm.stripped, rm.ephemeral} {
			for _, raw := range list {
				n += len(raw) + 1
			}
		}
		if a.req.UseStateAfter && a.req.UseUnstableStateAfter {
			for _, raw := range rm.stateEvents {
				n += len(raw) + 1
			}
		}
	}
	for _, raw := range a.messages {
		n += len(raw) + 1
	}
	for _, d := range a.data.global {
		n += len(d.Content) + len(d.Type) + 64
	}
	return n
}

// sectionNames are the names of the sections in an answer.
var sectionNames = [...]string{joined: "join", invited: "invite", knocked: "knock", left: "leave"}

func (a *answer) appendRooms(out []byte) []byte {
	any := false
	for sec, name := range sectionNames {
		first := true
		for _, rm := range a.list {
			if rm.section != section(sec) || !a.shows(rm) {
				continue
			}
			switch {
			case !first:
				out = append(out, ',')
			case any:
				out = append(append(append(out, `,"`...), name...), `":{`...)
			default:
				out = append(append(append(out, `,"rooms":{"`...), name...), `":{`...)
			}
			first, any = false, true
			out = append(canonicaljson.AppendString(out, string(rm.RoomID)), ':')
			out = a.appendRoom(out, rm)
		}
		if !first {
			out = append(out, '}')
		}
	}
	if any {
		out = append(out, '}')
	}
	return out
}

func (a *answer) appendRoom(out []byte, rm *room) []byte {
	switch rm.section {
	case invited:
		return append(appendEvents(append(out, `{"invite_state":`...), rm.stripped), '}')
	case knocked:
		return append(appendEvents(append(out, `{"knock_state":`...), rm.stripped), '}')
	}
	out = append(out, `{"timeline":{"events":`...)
	out = appendList(out, rm.events)
	out = append(out, `,"limited":`...)
	if a.limited(rm) {
		out = append(out, `true`...)
	} else {
		out = append(out, `false`...)
	}
	out = canonicaljson.AppendString(append(out, `,"prev_batch":`...), a.prevBatch(rm))
	out = append(out, '}')
	for _, field := range a.stateFields() {
		out = append(append(append(out, `,"`...), field...), `":`...)
		out = appendEvents(out, rm.stateEvents)
	}
	out = appendData(append(out, `,"account_data":`...), rm.data)
	if rm.section == left {
		return append(out, '}')
	}
	out = appendEvents(append(out, `,"ephemeral":`...), rm.ephemeral)
	if rm.summary != nil {
		out = append(append(out, `,"summary":`...), rm.summary...)
	}
	out = a.appendUnread(out, rm)
	return append(out, '}')
}

// stateFields are the names under which the client asked for the state.
func (a *answer) stateFields() []string {
	var names []string
	if a.req.UseStateAfter {
		names = append(names, "state_after")
	}
	if a.req.UseUnstableStateAfter {
		names = append(names, "org.matrix.msc4222.state_after")
	}
	if names == nil {
		return []string{"state"}
	}
	return names
}

func appendEvents(out []byte, list []json.RawMessage) []byte {
	return append(appendList(append(out, `{"events":`...), list), '}')
}

func appendList(out []byte, list []json.RawMessage) []byte {
	out = append(out, '[')
	for i, raw := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, raw...)
	}
	return append(out, ']')
}

func appendData(out []byte, list []accountData) []byte {
	return append(appendDataList(append(out, `{"events":`...), list), '}')
}

func appendStrings[T ~string](out []byte, list []T) []byte {
	out = append(out, '[')
	for i, text := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = canonicaljson.AppendString(out, string(text))
	}
	return append(out, ']')
}
