package eventauth

import (
	"crypto/ed25519"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"beffroi/matrix/event"
	"beffroi/matrix/signing"
)

// maxInviteChecks bounds the signature checks for one third-party invite: an
// event has room for hundreds of signatures and hundreds of keys, and their
// product would be a minute of work. Identity servers make one signature and
// publish two keys.
const maxInviteChecks = 128

// checkThirdPartyInvite is step 5.4.1: the invitation of a third-party
// identifier becomes one of the user to whom it turned out to belong, by the
// signature of the identity server that the invitation named.
//
// https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
func (c *check) checkThirdPartyInvite(target string, invite gjson.Result) error {
	rule := c.n.invite + ".1"
	if c.membership(target) == membershipBan { // 5.4.1.1
		return c.deny(rule+".1", "%s is banned from the room", target)
	}
	signed := invite.Get("signed")
	if !signed.IsObject() { // 5.4.1.2
		return c.deny(rule+".2", "the third-party invite is not signed")
	}
	mxid, token := signed.Get("mxid"), signed.Get("token")
	if mxid.Type != gjson.String || token.Type != gjson.String { // 5.4.1.3
		return c.deny(rule+".3", "the third-party invite names no user or no token")
	}
	if mxid.Str != target { // 5.4.1.4
		return c.deny(rule+".4", "the third-party invite is another user's")
	}
	original := c.state.Event(typeThirdPartyInvite, token.Str)
	if original == nil { // 5.4.1.5
		return c.deny(rule+".5", "the room has no third-party invite with this token")
	}
	if original.Sender() != c.e.Sender() { // 5.4.1.6
		return c.deny(rule+".6", "the third-party invite was sent by another user")
	}
	if verifyInvite([]byte(signed.Raw), inviteKeys(original)) { // 5.4.1.7
		return nil
	}
	return c.deny(rule+".8", "the third-party invite has no valid signature")
}

// inviteKeys returns the public keys of a m.room.third_party_invite event,
// each once.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomthird_party_invite
func inviteKeys(invite *event.Event) []ed25519.PublicKey {
	var keys []ed25519.PublicKey
	add := func(encoded gjson.Result) {
		// The keys may be in the URL-safe alphabet as well.
		key, err := signing.DecodeBase64(strings.NewReplacer("-", "+", "_", "/").Replace(encoded.Str))
		if err != nil || len(key) != ed25519.PublicKeySize {
			return
		}
		if !slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return k.Equal(ed25519.PublicKey(key)) }) {
			keys = append(keys, key)
		}
	}
	add(content(invite, "public_key"))
	content(invite, "public_keys").ForEach(func(_, key gjson.Result) bool {
		add(key.Get("public_key"))
		return len(keys) < maxInviteChecks
	})
	return keys
}

// verifyInvite reports whether one of the signatures of a signed object is by
// one of the keys. It gives up after maxInviteChecks.
//
// Divergence: the rule knows no bound. No identity server comes near ours.
func verifyInvite(signed []byte, keys []ed25519.PublicKey) bool {
	valid, checks := false, 0
	gjson.GetBytes(signed, "signatures").ForEach(func(server, _ gjson.Result) bool {
		checks++ // reading the list of a server is work as well
		for _, id := range signing.SignatureIDs(signed, server.Str) {
			if id.Algorithm() != "ed25519" {
				continue
			}
			for _, key := range keys {
				if checks++; checks > maxInviteChecks {
					return false
				}
				if valid = signing.Verify(signed, server.Str, id, key) == nil; valid {
					return false
				}
			}
		}
		return checks <= maxInviteChecks
	})
	return valid
}
