package syncapi_test

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"pgregory.net/rapid"

	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
	"beffroi/storage/users"
)

// truth returns the rooms of the client as the server stores them, the latest
// first: all but those that the user has left, or was never in when they were
// banned.
func (c *slidingClient) truth(rt *rapid.T) (list []rooms.Standing) {
	if err := c.s.db.View(c.s.t.Context(), func(r *storage.Reader) error {
		all, err := rooms.StandingsOf(c.s.t.Context(), r, c.user)
		for _, m := range all {
			mine := true
			if m.Membership == "leave" || m.Membership == "ban" {
				events, err := rooms.EventsByNID(c.s.t.Context(), r, []int64{m.EventNID})
				if err != nil {
					return err
				}
				mine = c.was[m.RoomID] && !m.Forgotten && events[m.EventNID].Sender() != c.user
			}
			if mine {
				list = append(list, m)
			}
		}
		return err
	}); err != nil {
		rt.Fatal(err)
	}
	last := func(m rooms.Standing) storage.Position {
		if m.Membership == "join" {
			return m.HeadPos
		}
		return m.Pos
	}
	slices.SortFunc(list, func(x, y rooms.Standing) int { return cmp.Compare(last(y), last(x)) })
	return list
}

// check holds what the client believes against the server. A client that asks
// until it is told of no room knows all of its window.
func (c *slidingClient) check(rt *rapid.T) {
	for told := 1; told > 0; {
		told = len(c.ask(rt, false).Rooms)
	}
	truth := c.truth(rt)
	ids := make([]matrix.RoomID, len(truth))
	for i, m := range truth {
		ids[i] = m.RoomID
	}
	left := 0 // outside of the window, so that the client may not know it yet
	for id, v := range c.rooms {
		if v.membership != "leave" && !slices.Contains(ids, id) {
			left++
		}
	}
	if c.count < len(truth) || c.count > len(truth)+left {
		rt.Fatalf("the list has %d rooms, the user %d", c.count, len(truth))
	}
	looked := c.window(ids)
	for _, m := range truth {
		if !slices.Contains(looked, m.RoomID) {
			continue
		}
		v := c.rooms[m.RoomID]
		if v == nil {
			rt.Fatalf("the client does not know %s", m.RoomID)
			return // for static analysis: Fatalf of rapid ends the check
		}
		if v.membership != m.Membership {
			rt.Fatalf("%s: the client believes %q, not %q", m.RoomID, v.membership, m.Membership)
		}
		if m.Membership == "invite" || m.Membership == "knock" || !c.was[m.RoomID] {
			continue
		}
		c.forgets(m.RoomID, v)
		c.checkState(rt, &m, v)
		c.checkTimeline(rt, &m, v)
		if m.Membership == "join" {
			c.checkRest(rt, &m, v)
		}
	}
}

func (c *slidingClient) checkState(rt *rapid.T, m *rooms.Standing, v *slidingView) {
	state, err := c.s.rooms.State(c.s.t.Context(), c.user, m.RoomID)
	if err != nil {
		rt.Fatal(err)
	}
	truth := make(map[string]matrix.EventID)
	name := ""
	for _, raw := range state {
		e := parseEvent(c.s.t, raw)
		key := e.Type + "|" + *e.StateKey
		truth[key] = e.ID
		if c.wants(m.RoomID, e.Type, *e.StateKey) && v.state[key] != e.ID {
			rt.Errorf("%s, %s: the client has %q, the room %q", m.RoomID, key, v.state[key], e.ID)
		}
		if e.Type == "m.room.name" {
			var content struct{ Name string }
			_ = json.Unmarshal(e.Content, &content)
			name = content.Name
		}
	}
	for key, id := range v.state {
		if truth[key] != id {
			rt.Errorf("%s, %s: the client believes %q, the room has %q", m.RoomID, key, id, truth[key])
		}
	}
	if v.name != name {
		rt.Errorf("%s: the client calls it %q, not %q", m.RoomID, v.name, name)
	}
}

func (c *slidingClient) checkTimeline(rt *rapid.T, m *rooms.Standing, v *slidingView) {
	page, err := c.s.rooms.Messages(c.s.t.Context(), roomserver.MessagesRequest{User: c.user, Room: m.RoomID, Backwards: true, Limit: 200})
	if err != nil {
		rt.Fatal(err)
	}
	var truth []matrix.EventID
	for _, raw := range slices.Backward(page.Chunk) {
		truth = append(truth, parseEvent(c.s.t, raw).ID)
	}
	limit := 0
	if c.inList[m.RoomID] {
		limit = c.req.Lists["all"].TimelineLimit
	}
	if sub := c.req.Subscriptions[m.RoomID]; sub != nil {
		limit = max(limit, sub.TimelineLimit)
	}
	// Who is out is told when that changes, which stands in no history of the room.
	v.timeline = slices.DeleteFunc(v.timeline, func(id matrix.EventID) bool { return v.own[id] && !slices.Contains(truth, id) })
	if len(v.timeline) < min(limit, len(truth)) || len(v.timeline) > len(truth) {
		rt.Fatalf("%s, %s: the client has %d events of %d, and asks for %d", m.RoomID, m.Membership, len(v.timeline), len(truth), limit)
	}
	if tail := truth[len(truth)-len(v.timeline):]; !slices.Equal(tail, v.timeline) {
		rt.Fatalf("%s: the client has %v, the room ends with %v", m.RoomID, v.timeline, tail)
	}
}

// checkRest holds what is told beside the events of a room against the server.
func (c *slidingClient) checkRest(rt *rapid.T, m *rooms.Standing, v *slidingView) {
	if v.joined != int(m.Joined) || v.invited != int(m.Invited) {
		rt.Errorf("%s: the client counts %d and %d, the room %d and %d", m.RoomID, v.joined, v.invited, m.Joined, m.Invited)
	}
	ctx := c.s.t.Context()
	var tag, direct string
	var read []rooms.Receipt
	if err := c.s.db.View(ctx, func(r *storage.Reader) (err error) {
		if tag, err = dataOr(ctx, r, c.user, m.RoomID, "m.tag"); err != nil {
			return err
		}
		if direct, err = dataOr(ctx, r, c.user, "", "m.direct"); err != nil {
			return err
		}
		read, err = rooms.ReceiptsBy(ctx, r, carolOf(c.user), []int64{m.RoomNID})
		return err
	}); err != nil {
		rt.Fatal(err)
	}
	if got := c.data[string(m.RoomID)+"|m.tag"]; got != tag {
		rt.Errorf("%s: the client has the tags %q, not %q", m.RoomID, got, tag)
	}
	var list map[matrix.UserID][]matrix.RoomID
	_ = json.Unmarshal([]byte(direct), &list)
	if v.direct != slices.Contains(list["@alice:here"], m.RoomID) {
		rt.Errorf("%s: the client believes that it is direct: %v", m.RoomID, v.direct)
	}
	if len(read) > 0 && c.read[m.RoomID] != read[0].EventID && (c.read[m.RoomID] != "" || slices.Contains(v.timeline, read[0].EventID)) {
		rt.Errorf("%s: the client has the receipt at %q, not at %q", m.RoomID, c.read[m.RoomID], read[0].EventID)
	}
}

func dataOr(ctx context.Context, r *storage.Reader, user matrix.UserID, room matrix.RoomID, typ string) (string, error) {
	content, err := users.AccountDataOf(ctx, r, user, room, typ)
	if matrix.IsCode(err, "M_NOT_FOUND") {
		return "", nil
	}
	return content, err
}
