package roomserver_test

import (
	"encoding/json"
	"slices"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const mallory matrix.UserID = "@mallory:evil.example"

// siege is a room of ours in which a hostile server has a member. What that
// server answers and sends, the test makes up.
type siege struct {
	t     *testing.T
	net   *network
	one   *node // ours
	evil  *node
	room  matrix.RoomID
	rules *matrix.VersionRules
}

func besiege(t *testing.T, version matrix.RoomVersion) *siege {
	t.Helper()
	net := newNetwork()
	g := &siege{t: t, net: net, one: net.start(t, "sqlite", "one.example"), evil: net.start(t, "sqlite", "evil.example")}
	g.room = createRoom(t, g.one, alice, version, "public_chat")
	must(t, g.evil.Join(t.Context(), roomserver.JoinRequest{User: mallory, Room: g.room, Via: []matrix.ServerName{"one.example"}}))
	var err error
	g.rules, err = version.Rules()
	must(t, err)
	return g
}

// eachSiege runs fn in room versions that differ in how the rules see a room.
func eachSiege(t *testing.T, fn func(t *testing.T, g *siege)) {
	t.Helper()
	for _, version := range []matrix.RoomVersion{"10", "12"} {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			fn(t, besiege(t, version))
		})
	}
}

// forge makes an event signed by the hostile server. What is not said is as it
// should be: it follows the tips that our server has, and names the auth events
// of our state.
func (g *siege) forge(p event.Proto) *event.Event {
	g.t.Helper()
	if p.Sender == "" {
		p.Sender = mallory
	}
	if p.Type == "" {
		p.Type = "m.room.message"
	}
	if p.Content == nil {
		p.Content = json.RawMessage(`{"body":"x"}`)
	}
	p.RoomID, p.OriginServerTS = g.room, g.one.now().UnixMilli()
	if p.PrevEvents == nil {
		p.PrevEvents = tips(g.t, g.one, g.room)
	}
	if p.AuthEvents == nil {
		now := state(g.t, g.one, g.room)
		for _, tuple := range eventauth.NeededFor(eventauth.SubjectOfProto(&p), g.rules) {
			if id := now[tuple.Type+"|"+tuple.StateKey]; id != "" {
				p.AuthEvents = append(p.AuthEvents, id)
			}
		}
	}
	if p.Depth == 0 {
		for _, id := range p.PrevEvents {
			if e := g.known(id); e != nil {
				p.Depth = max(p.Depth, e.Depth())
			}
		}
		p.Depth++
	}
	e, err := p.Build(g.rules, g.evil.key)
	must(g.t, err)
	return e
}

func membership(user matrix.UserID, membership string) event.Proto {
	key := string(user)
	return event.Proto{Sender: user, Type: "m.room.member", StateKey: &key, Content: json.RawMessage(`{"membership":"` + membership + `"}`)}
}

// send gives our server an event of the hostile one.
func (g *siege) send(e *event.Event) error {
	return g.one.ReceivePDU(g.t.Context(), "evil.example", g.room, e.JSON())
}

// known returns an event that our server has, or nil.
func (g *siege) known(id matrix.EventID) *rooms.Event {
	g.t.Helper()
	var e *rooms.Event
	must(g.t, g.one.db.View(g.t.Context(), func(r *storage.Reader) error {
		found, err := rooms.Events(g.t.Context(), r, []matrix.EventID{id})
		e = found[id]
		return err
	}))
	return e
}

// want fails unless an event has become what it should; 0 is nothing.
func (g *siege) want(e *event.Event, status rooms.Status) {
	g.t.Helper()
	switch got := g.known(e.ID()); {
	case got == nil && status == 0:
	case got == nil:
		g.t.Errorf("%s %s is not stored, want %s", e.Type(), e.ID(), status)
	case got.Status != status:
		g.t.Errorf("%s %s is %s (%s), want %s", e.Type(), e.ID(), got.Status, got.Reason, status)
	}
}

// unharmed fails unless the room goes on working.
func (g *siege) unharmed() {
	g.t.Helper()
	say(g.t, g.one, alice, g.room, "still here")
	if n := len(tips(g.t, g.one, g.room)); n != 1 {
		g.t.Errorf("%d tips after an event of ours", n)
	}
	verify(g.t, g.one)
}

// ghosts returns events that the hostile server has and nobody else.
func (g *siege) ghosts(n int) (events []*event.Event, ids []matrix.EventID) {
	g.t.Helper()
	for range n {
		e := g.forge(event.Proto{Content: json.RawMessage(`{"body":"` + string(rune('a'+len(ids)%26)) + string(rune('a'+len(ids)/26)) + `"}`)})
		events, ids = append(events, e), append(ids, e.ID())
	}
	return events, ids
}

// stateIDs returns the state of the room as our server has it.
func (g *siege) stateIDs() (ids []matrix.EventID) {
	for _, id := range state(g.t, g.one, g.room) {
		ids = append(ids, id)
	}
	return ids
}

func except(list []matrix.EventID, gone ...matrix.EventID) []matrix.EventID {
	return slices.DeleteFunc(slices.Clone(list), func(id matrix.EventID) bool { return slices.Contains(gone, id) })
}

func values(state map[string]matrix.EventID) (ids []matrix.EventID) {
	for _, id := range state {
		ids = append(ids, id)
	}
	return ids
}
