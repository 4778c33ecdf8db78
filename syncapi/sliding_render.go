package syncapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// render writes the answer.
func (a *slideAnswer) render(pos slidingPos) json.RawMessage {
	out := make([]byte, 0, a.size())
	out = canonicaljson.AppendString(append(out, `{"pos":`...), pos.String())
	if a.sl.req.TxnID != "" {
		out = canonicaljson.AppendString(append(out, `,"txn_id":`...), a.sl.req.TxnID)
	}
	out = a.appendLists(append(out, `,"lists":{`...))
	out = append(out, `},"rooms":{`...)
	for i, p := range a.told {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(canonicaljson.AppendString(out, string(p.id)), ':')
		out = a.appendTold(out, p)
	}
	out = a.appendExtensions(append(out, `},"extensions":{`...))
	return append(out, `}}`...)
}

func (a *slideAnswer) appendLists(out []byte) []byte {
	for i, name := range slices.Sorted(maps.Keys(a.counts)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = canonicaljson.AppendString(out, name)
		out = strconv.AppendInt(append(out, `:{"count":`...), int64(a.counts[name]), 10)
		if !a.sl.req.Accepted {
			out = a.appendOps(out, name)
		}
		out = append(out, '}')
	}
	return out
}

// appendOps writes which rooms stand in the stretches of a list.
func (a *slideAnswer) appendOps(out []byte, name string) []byte {
	var ids []matrix.RoomID
	for _, p := range a.picks {
		if slices.Contains(p.lists, name) {
			ids = append(ids, p.id)
		}
	}
	first, last := 0, a.counts[name]-1
	if ranges := a.sl.req.Lists[name].Ranges; len(ranges) > 0 {
		first, last = ranges[0][0], ranges[0][1]
		for _, r := range ranges[1:] {
			first, last = min(first, r[0]), max(last, r[1])
		}
	}
	out = strconv.AppendInt(append(out, `,"ops":[{"op":"SYNC","range":[`...), int64(first), 10)
	out = strconv.AppendInt(append(out, ','), int64(max(last, first)), 10)
	return append(appendStrings(append(out, `],"room_ids":`...), ids), `}]`...)
}

// appendTold writes what there is to tell of a room.
func (a *slideAnswer) appendTold(out []byte, p *pick) []byte {
	rm := p.rm
	out = strconv.AppendInt(append(out, `{"bump_stamp":`...), int64(p.bump), 10)
	if p.initial {
		out = append(out, `,"initial":true`...)
	}
	if p.initial && p.direct || p.had && p.direct != p.sent.direct {
		out = strconv.AppendBool(append(out, `,"is_dm":`...), p.direct)
	}
	if a.sl.req.Accepted {
		out = canonicaljson.AppendString(append(out, `,"membership":`...), rm.Membership)
		if len(p.lists) > 0 {
			out = appendStrings(append(out, `,"lists":`...), p.lists)
		}
	}
	if rm.section == invited || rm.section == knocked {
		name := `,"invite_state":`
		if a.sl.req.Accepted {
			name = `,"stripped_state":`
		}
		return append(appendList(append(out, name...), rm.stripped), '}')
	}
	out = appendNullable(out, `,"name":`, p.name)
	out = appendNullable(out, `,"avatar":`, p.avatar)
	out = a.appendState(out, p)
	out = appendHeroes(out, p.heroes)
	if p.counted {
		out = strconv.AppendInt(append(out, `,"joined_count":`...), rm.Joined, 10)
		out = strconv.AppendInt(append(out, `,"invited_count":`...), rm.Invited, 10)
	}
	out = appendSlideUnread(out, rm)
	if !rm.bare {
		out = a.appendTimeline(out, p)
	}
	return append(out, '}')
}

func appendNullable(out []byte, name string, value *string) []byte {
	switch {
	case value == nil:
		return out
	case *value == "":
		return append(append(out, name...), "null"...)
	}
	return canonicaljson.AppendString(append(out, name...), *value)
}

func (a *slideAnswer) appendState(out []byte, p *pick) []byte {
	list := p.rm.stateEvents
	if a.sl.req.Accepted {
		for _, key := range p.removed {
			stub := canonicaljson.AppendString([]byte(`{"state_key":`), key.StateKey)
			stub = canonicaljson.AppendString(append(stub, `,"type":`...), key.Type)
			list = append(list[:len(list):len(list)], append(stub, '}'))
		}
	}
	if len(list) == 0 && !p.initial {
		return out
	}
	return appendList(append(out, `,"required_state":`...), list)
}

func appendHeroes(out []byte, heroes []hero) []byte {
	if len(heroes) == 0 {
		return out
	}
	out = append(out, `,"heroes":[`...)
	for i, h := range heroes {
		if i > 0 {
			out = append(out, ',')
		}
		out = canonicaljson.AppendString(append(out, `{"user_id":`...), string(h.user))
		if name := stringOf(h.e, "displayname"); name != "" {
			out = canonicaljson.AppendString(append(out, `,"displayname":`...), name)
		}
		if url := stringOf(h.e, "avatar_url"); url != "" {
			out = canonicaljson.AppendString(append(out, `,"avatar_url":`...), url)
		}
		out = append(out, '}')
	}
	return append(out, ']')
}

func (a *slideAnswer) appendTimeline(out []byte, p *pick) []byte {
	if len(p.rm.events) == 0 && !p.initial && !p.limited {
		return out
	}
	out = appendList(append(out, `,"timeline":`...), p.rm.events)
	if p.expanded {
		name := `,"unstable_expanded_timeline":true`
		if a.sl.req.Accepted {
			name = `,"expanded_timeline":true`
		}
		out = append(out, name...)
	}
	out = strconv.AppendBool(append(out, `,"limited":`...), p.limited)
	out = strconv.AppendInt(append(out, `,"num_live":`...), int64(a.live(p.rm)), 10)
	return canonicaljson.AppendString(append(out, `,"prev_batch":`...), a.prevBatch(p.rm))
}

// appendExtensions writes what there is to tell beside the rooms. An extension
// that was asked for is there, also where it is empty.
func (a *slideAnswer) appendExtensions(out []byte) []byte {
	want, start := &a.sl.req.Extensions, len(out)
	if want.ToDevice {
		out = strconv.AppendInt(append(out, `,"to_device":{"next_batch":"`...), int64(a.nextMessages()), 10)
		out = append(appendList(append(out, `","events":`...), a.ext.messages), '}')
	}
	if want.E2EE {
		out = append(out, `,"e2ee":{`...)
		if a.since != nil {
			out = appendStrings(append(out, `"device_lists":{"changed":`...), a.ext.lists.changed)
			out = append(appendStrings(append(out, `,"left":`...), a.ext.lists.left), `},`...)
		}
		out = append(append(out, a.ext.counts[1:]...), '}') // without the comma before them
	}
	if want.AccountData.Enabled {
		out = appendDataList(append(out, `,"account_data":{"global":`...), a.ext.global)
		out = append(out, `,"rooms":{`...)
		for i, id := range slices.Sorted(maps.Keys(a.ext.data)) {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendDataList(append(canonicaljson.AppendString(out, string(id)), ':'), a.ext.data[id])
		}
		out = append(out, `}}`...)
	}
	if want.Receipts.Enabled {
		out = appendByRoom(append(out, `,"receipts":`...), a.ext.receipts)
	}
	if want.Typing.Enabled {
		out = appendByRoom(append(out, `,"typing":`...), a.ext.typing)
	}
	if len(a.ext.threads) > 0 {
		out = append(append(out, `,"io.element.msc4308.thread_subscriptions":`...), a.ext.threads...)
	}
	if len(out) > start { // without the first comma
		out = append(out[:start], out[start+1:]...)
	}
	return out
}

func appendByRoom(out []byte, events map[matrix.RoomID]json.RawMessage) []byte {
	out = append(out, `{"rooms":{`...)
	for i, id := range slices.Sorted(maps.Keys(events)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(canonicaljson.AppendString(out, string(id)), ':'), events[id]...)
	}
	return append(out, `}}`...)
}

func appendDataList(out []byte, list []accountData) []byte {
	out = append(out, '[')
	for i, d := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, `{"content":`...), d.Content...)
		out = append(canonicaljson.AppendString(append(out, `,"type":`...), d.Type), '}')
	}
	return append(out, ']')
}
