package syncapi_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/syncapi"
)

// TestSlidingClientsSeeTheTruth lets people do anything in some rooms while a
// client looks at a window of them through two nodes, loses answers, and holds
// what it believes against the server.
func TestSlidingClientsSeeTheTruth(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db)
		second := syncapi.New(syncapi.Options{DB: db, Bus: s.bus, Rooms: s.rooms, Devices: s.keys})
		other := *s
		other.sync = second
		t.Cleanup(other.follow())
		walks := 0
		rapid.Check(t, func(rt *rapid.T) {
			walks++
			s.slide(rt, walks, []*syncapi.Server{s.sync, second})
		})
	})
}

// slide does one walk, with people of its own.
func (s *server) slide(rt *rapid.T, number int, nodes []*syncapi.Server) {
	name := func(word string) matrix.UserID { return matrix.UserID(fmt.Sprintf("@%s%d:here", word, number)) }
	alice, bob := name("alice"), name("bob")
	people := []matrix.UserID{alice, bob, bob, name("carol")}
	var list []matrix.RoomID
	for range 4 {
		list = append(list, s.create(alice, "public_chat"))
	}
	wishes := [][]syncapi.StateWish{
		{{Include: patterns("m.room.name", "", "m.room.member", string(bob))}},
		{{Include: patterns("m.room.name", "", "m.room.topic", "", "m.room.member", string(bob)), LazyMembers: true}},
		{{Include: patterns("*", "*"), LazyMembers: true}},
		{{Include: patterns("*", "*")}},
		{{Include: patterns("*", "*"), Exclude: patterns("m.room.topic", "*")}},
	}
	c := &slidingClient{s: s, user: bob, nodes: nodes, rooms: make(map[matrix.RoomID]*slidingView),
		was: make(map[matrix.RoomID]bool), inList: make(map[matrix.RoomID]bool), data: make(map[string]string), read: make(map[matrix.RoomID]matrix.EventID)}
	c.req = syncapi.SlidingRequest{User: bob, Device: "D", Accepted: true, ConnID: "room-list",
		Lists:      map[string]*syncapi.SlidingList{"all": {RoomConfig: syncapi.RoomConfig{TimelineLimit: 1, State: wishes[1]}}},
		Extensions: syncapi.Extensions{AccountData: syncapi.Scope{Enabled: true}, Receipts: syncapi.Scope{Enabled: true}}}
	c.ask(rt, false)
	steps := rapid.IntRange(1, 40).Draw(rt, "steps")
	for range steps {
		room, who := rapid.SampledFrom(list).Draw(rt, "room"), rapid.SampledFrom(people).Draw(rt, "who")
		if !s.act(rt, c, alice, who, room, wishes) {
			continue
		}
		c.ask(rt, false)
		c.check(rt)
	}
	c.ask(rt, false)
	c.check(rt)
}

// act does something. It reports whether the client asks after it.
func (s *server) act(rt *rapid.T, c *slidingClient, alice, who matrix.UserID, room matrix.RoomID, wishes [][]syncapi.StateWish) bool {
	ctx := s.t.Context()
	change := roomserver.MembershipRequest{Sender: alice, Target: who, Room: room}
	all := c.req.Lists["all"]
	number := rapid.IntRange(0, 3).Draw(rt, "number")
	// Much of this is refused, which is as good.
	switch rapid.SampledFrom([]string{"say", "say", "say", "topic", "name", "displayname", "invite", "join", "join", "leave", "kick",
		"ban", "unban", "forget", "tag", "direct", "receipt", "range", "limit", "wish", "open", "close", "ask", "ask", "ask", "lose"}).Draw(rt, "what") {
	case "say":
		_, _ = s.rooms.Send(ctx, roomserver.SendRequest{Sender: who, Room: room, Type: "m.room.message", Content: json.RawMessage(`{"body":"x"}`)})
	case "topic":
		_, _ = s.rooms.Send(ctx, roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.topic", StateKey: new(""),
			Content: json.RawMessage(fmt.Sprintf(`{"topic":"%d"}`, number))})
	case "name":
		_, _ = s.rooms.Send(ctx, roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.name", StateKey: new(""),
			Content: json.RawMessage([]string{`{"name":""}`, `{}`, `{"name":"A"}`, `{"name":"B"}`}[number])})
	case "displayname":
		_ = s.rooms.UpdateProfile(ctx, who, roomserver.Profile{DisplayName: fmt.Sprint(number)})
	case "invite":
		_ = s.rooms.Invite(ctx, change)
	case "join":
		if err := s.rooms.Join(ctx, roomserver.JoinRequest{User: who, Room: room}); err == nil && who == c.user {
			c.was[room] = true
		}
	case "leave":
		if who != alice {
			_ = s.rooms.Leave(ctx, roomserver.MembershipRequest{Sender: who, Room: room})
		}
	case "kick":
		_ = s.rooms.Kick(ctx, change)
	case "ban":
		if who != alice {
			_ = s.rooms.Ban(ctx, change)
		}
	case "unban":
		_ = s.rooms.Unban(ctx, change)
	case "forget":
		_ = s.rooms.Forget(ctx, c.user, room)
	case "tag":
		s.data(c.user, room, "m.tag", fmt.Sprintf(`{"tags":{"u.%d":{}}}`, number))
	case "direct":
		s.data(c.user, "", "m.direct", fmt.Sprintf(`{"@alice:here":[%q]}`, room))
	case "receipt":
		s.receipt(carolOf(c.user), room)
	case "range":
		if all.Ranges = [][2]int{{0, number}}; number == 3 {
			all.Ranges = nil
		}
		return true
	case "limit":
		all.TimelineLimit = []int{0, 1, 3, 10}[number]
		return true
	case "wish":
		all.State = rapid.SampledFrom(wishes).Draw(rt, "wish")
		return true
	case "open":
		c.req.Subscriptions = map[matrix.RoomID]*syncapi.RoomConfig{room: {TimelineLimit: 5, State: rapid.SampledFrom(wishes).Draw(rt, "wish")}}
		return true
	case "close":
		c.req.Subscriptions = nil
		return true
	case "ask":
		return true
	case "lose":
		c.ask(rt, true)
	}
	return false
}

// receipt moves the receipt of somebody to the end of a room.
func (s *server) receipt(user matrix.UserID, room matrix.RoomID) {
	page, err := s.rooms.Messages(s.t.Context(), roomserver.MessagesRequest{User: user, Room: room, Backwards: true, Limit: 1})
	if err == nil && len(page.Chunk) > 0 {
		_ = s.rooms.SetReceipt(s.t.Context(), roomserver.ReceiptRequest{User: user, Room: room, Type: "m.read", Event: parseEvent(s.t, page.Chunk[0]).ID})
	}
}
