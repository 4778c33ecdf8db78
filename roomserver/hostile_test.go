package roomserver_test

import (
	"encoding/json"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/roomserver"
	"beffroi/storage/rooms"
)

// TestATemplateMakesUsSignOnlyOurMembership answers make_join with the template
// of something else. Whatever it says, what leaves this server is the join of
// the user who asked for it.
func TestATemplateMakesUsSignOnlyOurMembership(t *testing.T) {
	t.Parallel()
	for name, template := range map[string]string{
		"a message":         `{"type":"m.room.message","content":{"body":"I resign"}}`,
		"another user":      `{"type":"m.room.member","state_key":"@boss:two.example","sender":"@boss:two.example","content":{"membership":"join"}}`,
		"power levels":      `{"type":"m.room.power_levels","state_key":"","content":{"users":{"@mallory:evil.example":100}}}`,
		"another room":      `{"type":"m.room.member","room_id":"!other:one.example","content":{"membership":"join"}}`,
		"a ban of somebody": `{"type":"m.room.member","state_key":"@bob:one.example","content":{"membership":"ban"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			net := newNetwork()
			two := net.start(t, "sqlite", "two.example")
			const room matrix.RoomID = "!room:evil.example"
			var sent []byte
			net.lie("evil.example", &lies{
				makeMembership: func(string, matrix.RoomID, matrix.UserID) (matrix.RoomVersion, json.RawMessage, error) {
					return "11", withDefaults(t, template, room), nil
				},
				sendJoin: func(_ matrix.RoomID, pdu []byte) (*roomserver.JoinAnswer, error) {
					sent = pdu
					return &roomserver.JoinAnswer{}, nil
				},
			})
			if err := two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"evil.example"}}); err == nil {
				t.Error("a room without a create event was entered")
			}
			if sent == nil {
				return // the template was refused
			}
			rules, err := matrix.RoomVersion("11").Rules()
			must(t, err)
			e, err := event.ParseUntrusted(sent, rules)
			must(t, err)
			if e.RoomID() != room || e.Sender() != carol || !e.IsStateKey("m.room.member", string(carol)) || e.Membership() != "join" {
				t.Errorf("signed %s", sent)
			}
		})
	}
}

// withDefaults fills a template up with what every one has.
func withDefaults(t *testing.T, template string, room matrix.RoomID) json.RawMessage {
	t.Helper()
	fields := map[string]any{"room_id": room, "sender": carol, "state_key": carol, "depth": 2, "origin_server_ts": 1,
		"prev_events": []string{"$8yif6p8EqgoSten2BLje9ntKm720NyFLWQv9tn8memc"}, "auth_events": []string{}}
	must(t, json.Unmarshal([]byte(template), &fields))
	raw, err := json.Marshal(fields)
	must(t, err)
	return raw
}

// TestForgedEventsChangeNothing gives a server events that are not what they
// say: nothing of them is accepted.
func TestForgedEventsChangeNothing(t *testing.T) {
	t.Parallel()
	net := newNetwork()
	one, two := net.start(t, "sqlite", "one.example"), net.start(t, "sqlite", "two.example")
	room := createRoom(t, one, alice, "11", "public_chat")
	must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
	other := createRoom(t, two, carol, "11", "private_chat")
	good := stored(t, one, say(t, one, alice, room, "true")).JSON()
	change := func(fn func(map[string]any)) []byte {
		var fields map[string]any
		must(t, json.Unmarshal(good, &fields))
		fn(fields)
		raw, err := json.Marshal(fields)
		must(t, err)
		return raw
	}
	before := state(t, two, room)
	for name, pdu := range map[string][]byte{
		"signature of nobody":  change(func(f map[string]any) { f["signatures"] = map[string]any{} }),
		"signature of another": change(func(f map[string]any) { f["sender"] = "@carol:two.example" }),
		"another room":         change(func(f map[string]any) { f["room_id"] = other }),
		"too deep":             change(func(f map[string]any) { f["depth"] = int64(1) << 60 }),
		"many predecessors": change(func(f map[string]any) {
			ids := make([]string, 21)
			for i := range ids {
				ids[i] = "$8yif6p8EqgoSten2BLje9ntKm720NyFLWQv9tn8memc"
			}
			f["prev_events"] = ids
		}),
		"not JSON": []byte(`{"type":`),
		"null":     []byte(`null`),
	} {
		if err := two.ReceivePDU(t.Context(), "one.example", room, pdu); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	after := state(t, two, room)
	for key, id := range before {
		if after[key] != id {
			t.Errorf("%s changed", key)
		}
	}
	verify(t, two)
}

// TestARedactionOfAnotherRoomDoesNothing names an event of a room that the
// sender is not in.
func TestARedactionOfAnotherRoomDoesNothing(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	secret := createRoom(t, one, alice, "11", "private_chat")
	target := say(t, one, alice, secret, "kept")
	mine := createRoom(t, one, bob, "11", "private_chat")
	_, err := one.Send(t.Context(), roomserver.SendRequest{Sender: bob, Room: mine, Type: "m.room.redaction", Redacts: target,
		Content: json.RawMessage(`{}`)})
	if e := stored(t, one, target); e.RedactedBy != "" || e.Status != rooms.Accepted || string(e.Content()) == "{}" {
		t.Errorf("redacted from another room: %s, %v", e.Content(), err)
	}
}
