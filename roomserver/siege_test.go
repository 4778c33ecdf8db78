package roomserver_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/roomserver"
	"beffroi/storage/rooms"
)

func TestForgedSignatureIsDropped(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		e := g.forge(event.Proto{})
		forged := strings.Replace(string(e.JSON()), `"ed25519:a1":"`, `"ed25519:a1":"A`, 1)
		if err := g.one.ReceivePDU(t.Context(), "evil.example", g.room, []byte(forged)); !matrix.IsCode(err, "M_UNAUTHORIZED") {
			t.Errorf("a forged signature: %v", err)
		}
		ofAlice := g.forge(event.Proto{Sender: alice})
		if err := g.send(ofAlice); !matrix.IsCode(err, "M_UNAUTHORIZED") {
			t.Errorf("an event of ours that another signed: %v", err)
		}
		g.want(e, 0)
		g.want(ofAlice, 0)
		g.unharmed()
	})
}

func TestWrongHashLeavesTheRedactedCopy(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		e := g.forge(event.Proto{Content: json.RawMessage(`{"body":"signed"}`)})
		must(t, g.one.ReceivePDU(t.Context(), "evil.example", g.room, []byte(strings.Replace(string(e.JSON()), "signed", "poison", 1))))
		g.want(e, rooms.Accepted)
		if got := string(g.known(e.ID()).Content()); got != "{}" {
			t.Errorf("content %s", got)
		}
		g.unharmed()
	})
}

func TestTamperedOutlierDoesNotHideTheTrueEvent(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		p := membership(mallory, "join")
		p.Content = json.RawMessage(`{"displayname":"true","membership":"join"}`)
		member := g.forge(p)
		tampered := []byte(strings.Replace(string(member.JSON()), "true", "lies", 1))
		now := state(t, g.one, g.room)
		now["m.room.member|"+string(mallory)] = member.ID()
		_, ghost := g.ghosts(1)
		// It is told as a part of a state, cut down by its wrong hash.
		g.net.lie("evil.example", &lies{
			missing:  func([]matrix.EventID) ([][]byte, error) { return nil, nil },
			stateIDs: func(matrix.EventID) ([]matrix.EventID, []matrix.EventID, error) { return values(now), nil, nil },
			event: func(id matrix.EventID) ([]byte, error) {
				if id == member.ID() {
					return tampered, nil
				}
				return nil, matrix.NotFound("no such event")
			},
		})
		must(t, g.send(g.forge(event.Proto{PrevEvents: ghost})))
		g.want(member, rooms.Outlier)
		must(t, g.send(member))
		if got := g.known(member.ID()); string(got.Content()) != string(member.Content()) {
			t.Errorf("content %s", got.Content())
		}
		g.unharmed()
	})
}

func TestAuthEventOfAnotherRoomIsRejected(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		other := createRoom(t, g.one, alice, g.rules.Version, "public_chat")
		must(t, g.evil.Join(t.Context(), roomserver.JoinRequest{User: mallory, Room: other, Via: []matrix.ServerName{"one.example"}}))
		mine, theirs := state(t, g.one, g.room), state(t, g.one, other)
		auth := []matrix.EventID{mine["m.room.power_levels|"], theirs["m.room.member|"+string(mallory)]}
		if !g.rules.RoomIDIsCreateHash {
			auth = append(auth, mine["m.room.create|"])
		}
		e := g.forge(event.Proto{AuthEvents: auth})
		must(t, g.send(e))
		g.want(e, rooms.Rejected)
		g.unharmed()
	})
}

func TestAuthCycleIsNotStored(t *testing.T) {
	t.Parallel()
	g := besiege(t, "2") // whose events choose their IDs
	cycle := func(id, auth string) *event.Event {
		raw := fmt.Sprintf(`{"event_id":%q,"room_id":%q,"sender":%q,"type":"m.room.member","state_key":%q,"depth":5,"origin_server_ts":1,
			"content":{"membership":"join"},"prev_events":[],"auth_events":[[%q,{}]],"signatures":{},
			"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}}`, id, g.room, mallory, mallory, auth)
		e, err := event.ParseUntrusted([]byte(raw), g.rules)
		must(t, err)
		e, err = e.AddSignature(g.evil.key)
		must(t, err)
		return e
	}
	a, b := cycle("$a:evil.example", "$b:evil.example"), cycle("$b:evil.example", "$a:evil.example")
	g.net.lie("evil.example", &lies{eventAuth: func(matrix.EventID) ([][]byte, error) {
		return [][]byte{a.JSON(), b.JSON()}, nil
	}})
	if err := g.send(g.forge(event.Proto{AuthEvents: []matrix.EventID{"$a:evil.example"}})); err == nil {
		t.Error("an event was judged by a cycle")
	}
	g.want(a, 0)
	g.want(b, 0)
	g.unharmed()
}

func TestWhatIsToldWithoutItsAuthEventsIsNotHeldAgainstIt(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		now := state(t, g.one, g.room)
		first := g.forge(membership(mallory, "join"))
		p := membership(mallory, "join")
		p.PrevEvents, p.Depth = []matrix.EventID{first.ID()}, first.Depth()+1
		p.AuthEvents = append(except(first.AuthEvents(), now["m.room.member|"+string(mallory)]), first.ID())
		second := g.forge(p)
		// The second is told, the first is not.
		g.net.lie("evil.example", &lies{
			missing:   func([]matrix.EventID) ([][]byte, error) { return nil, nil },
			eventAuth: func(matrix.EventID) ([][]byte, error) { return [][]byte{second.JSON()}, nil },
		})
		message := g.forge(event.Proto{AuthEvents: append(except(second.AuthEvents(), first.ID(), now["m.room.join_rules|"]), second.ID())})
		if err := g.send(message); err == nil {
			t.Error("an event was judged by what nobody has")
		}
		g.want(second, 0)
		g.net.lie("evil.example", nil)
		must(t, g.send(first))
		must(t, g.send(second))
		g.want(second, rooms.Accepted)
		g.unharmed()
	})
}

func TestEventThatNamesARejectedOneIsRejected(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		levels := g.forge(event.Proto{Type: "m.room.power_levels", StateKey: new(string), Content: json.RawMessage(`{"users":{"@mallory:evil.example":100}}`)})
		must(t, g.send(levels))
		g.want(levels, rooms.Rejected)
		now := state(t, g.one, g.room)
		auth := []matrix.EventID{levels.ID(), now["m.room.member|"+string(mallory)]}
		if !g.rules.RoomIDIsCreateHash {
			auth = append(auth, now["m.room.create|"])
		}
		topic := g.forge(event.Proto{Type: "m.room.topic", StateKey: new(string), Content: json.RawMessage(`{"topic":"mine"}`), AuthEvents: auth,
			PrevEvents: []matrix.EventID{levels.ID()}})
		must(t, g.send(topic))
		g.want(topic, rooms.Rejected)
		// What only follows a rejected event is judged like any other.
		after := g.forge(event.Proto{PrevEvents: []matrix.EventID{levels.ID()}})
		must(t, g.send(after))
		g.want(after, rooms.Accepted)
		g.unharmed()
	})
}

func TestReplayOfARejectedJoinTellsNoState(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		must(t, g.one.Ban(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: mallory, Room: g.room}))
		join := g.forge(membership(mallory, "join"))
		must(t, g.send(join))
		g.want(join, rooms.Rejected)
		if _, err := g.one.SendMembership(t.Context(), "evil.example", g.room, join.ID(), "join", join.JSON()); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("a banned user joined with an event that was refused before: %v", err)
		}
	})
}

func TestBanEvasionIsSoftFailed(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		old, auth := tips(t, g.one, g.room), g.forge(event.Proto{}).AuthEvents()
		must(t, g.one.Ban(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: mallory, Room: g.room}))
		ban := state(t, g.one, g.room)["m.room.member|"+string(mallory)]
		e := g.forge(event.Proto{PrevEvents: old, AuthEvents: auth})
		must(t, g.send(e))
		g.want(e, rooms.SoftFailed)
		after := g.forge(event.Proto{PrevEvents: []matrix.EventID{e.ID()}, AuthEvents: auth})
		must(t, g.send(after))
		g.want(after, rooms.SoftFailed)
		twice := g.forge(event.Proto{PrevEvents: append(old, old...), AuthEvents: auth}) // as many as the room has tips
		must(t, g.send(twice))
		g.want(twice, rooms.SoftFailed)
		if got := state(t, g.one, g.room)["m.room.member|"+string(mallory)]; got != ban {
			t.Errorf("the ban was replaced by %s", g.known(got).Content())
		}
		g.unharmed()
	})
}
