package federation_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/roomserver"
)

// proof is what an identity server signs for a user.
func proof(t *testing.T, key signing.Key, user matrix.UserID, token string) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(map[string]string{"mxid": string(user), "sender": string(alice), "token": token})
	must(t, err)
	bare, err := json.Marshal(map[string]string{"mxid": string(user), "token": token})
	must(t, err)
	signed, err := signing.Sign(bare, key)
	must(t, err)
	var out, in map[string]json.RawMessage
	must(t, json.Unmarshal(raw, &out))
	must(t, json.Unmarshal(signed, &in))
	out["signatures"] = in["signatures"]
	raw, err = json.Marshal(out)
	must(t, err)
	return raw
}

// TestThirdPartyInvites lets in who proves to be the person that was invited,
// here and from another server, and nobody else.
func TestThirdPartyInvites(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		n := newNetwork(t)
		a, b := n.start(t, engine, one, ministries), n.start(t, engine, two, ministries)
		a.work(t)
		b.work(t)
		b.user(t, bob)
		key, err := signing.NewKey("id.example", "0")
		must(t, err)
		other, err := signing.NewKey("id.example", "0")
		must(t, err)
		room := a.room(t, alice, version, "private_chat")
		offer := sendState(alice, room, "m.room.third_party_invite", json.RawMessage(
			`{"display_name":"b...@t...","key_validity_url":"https://id.example/v","public_key":"`+signing.EncodeBase64(key.Public())+`"}`))
		offer.StateKey = new("token")
		_, err = a.rooms.Send(t.Context(), offer)
		must(t, err)

		const carol matrix.UserID = "@carol:one.example"
		join := func(h *host, user matrix.UserID, signed json.RawMessage) error {
			return h.rooms.Join(t.Context(), roomserver.JoinRequest{User: user, Room: room, Via: []matrix.ServerName{one}, ThirdPartySigned: signed})
		}
		for name, signed := range map[string]json.RawMessage{
			"another key":   proof(t, other, carol, "token"),
			"another token": proof(t, key, carol, "no such token"),
			"another user":  proof(t, key, bob, "token"),
		} {
			if err := join(a, carol, signed); !matrix.IsCode(err, "M_FORBIDDEN") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := join(a, carol, json.RawMessage(`{"sender":"x"}`)); !matrix.IsCode(err, "M_INVALID_PARAM") {
			t.Errorf("no sender: %v", err)
		}
		must(t, join(a, carol, proof(t, key, carol, "token")))
		must(t, join(a, carol, proof(t, key, carol, "token"))) // is in it
		if err := join(b, bob, proof(t, other, bob, "token")); err == nil {
			t.Error("bob comes in by a forged proof")
		}
		must(t, join(b, bob, proof(t, key, bob, "token")))
		a.has(t, b.say(t, bob, room, "bonjour"))
		a.verify(t)
		b.verify(t)

		p, _ := n.scribe(t, evil)
		path := v1 + "exchange_third_party_invite/" + esc(string(room))
		invite := func(sender, target matrix.UserID) map[string]any {
			return map[string]any{"type": "m.room.member", "room_id": room, "sender": sender, "state_key": target, "content": map[string]any{
				"membership": "invite", "third_party_invite": map[string]any{"display_name": "x", "signed": proof(t, key, target, "token")}}}
		}
		p.call(t, a, http.MethodPut, path, invite(alice, bob)).wants(t, 403, "M_FORBIDDEN") // not its user
		p.call(t, a, http.MethodPut, path, invite(alice, eve)).wants(t, 403, "M_FORBIDDEN") // a partner in a restricted room
		p.call(t, a, http.MethodPut, path, `{}`).wants(t, 400, "M_BAD_JSON")
	})
}
