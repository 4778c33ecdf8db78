package eventauth_test

import (
	"errors"
	"testing"

	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/eventauth"
)

// FuzzCheck judges events of every type that has a rule, with any content and
// against a state with any content.
func FuzzCheck(f *testing.F) {
	types := []string{
		"m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules",
		"m.room.third_party_invite", "m.room.aliases", "m.room.redaction", "m.room.message",
	}
	for i, seed := range []string{
		`{"creator":"@a:b","additional_creators":["@c:d"],"room_version":"12"}`, `{"membership":"join","join_authorised_via_users_server":"@mod:b.example"}`,
		`{"users":{"@bob:b.example":10},"ban":"50"}`, `{"join_rule":"restricted"}`,
		`{"membership":"invite","third_party_invite":{"signed":{"mxid":"@bob:b.example","token":"","signatures":{"x":{"ed25519:1":"AA"}}}}}`,
		`{"public_key":"AAAA","public_keys":[{"public_key":"x"}]}`, `{"m.federate":false}`, `{"redacts":"$x"}`,
	} {
		f.Add(uint8(i), uint8(i), []byte(seed), []byte(`{"users":{"@mod:b.example":"50"}}`))
	}
	f.Fuzz(func(t *testing.T, typ, other uint8, content, in []byte) {
		for _, raw := range []*[]byte{&content, &in} {
			canonical, err := canonicaljson.Canonicalise(*raw, canonicaljson.Lenient)
			if err != nil || canonical[0] != '{' {
				t.Skip()
			}
			*raw = canonical
		}
		for _, version := range []string{"1", "7", "12"} {
			room := newRoom(t, version)
			room.put(t, version, state(types[int(other)%len(types)], "", alice, string(in)))
			for _, k := range []*string{nil, key(""), key(bob), key(carol)} {
				e := build(t, version, ev{typ: types[int(typ)%len(types)], key: k, sender: mod, content: string(content)})
				err := eventauth.Check(e, room, room.create())
				if _, ok := errors.AsType[*eventauth.NotAllowed](err); err != nil && !ok {
					t.Fatalf("%v is no *NotAllowed", err)
				}
				eventauth.NeededFor(eventauth.SubjectOf(e), e.Rules())
			}
		}
	})
}
