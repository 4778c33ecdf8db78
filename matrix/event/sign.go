package event

import (
	"crypto/ed25519"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/signing"
)

// AddSignature returns the event with a signature by key added. M_TOO_LARGE
// says that there is no room for it.
//
// https://spec.matrix.org/v1.19/server-server-api/#signing-events
func (e *Event) AddSignature(key signing.Key) (*Event, error) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.b = e.appendRedacted(s.b[:0], false)
	sig := signing.EncodeBase64(ed25519.Sign(key.Private, s.b))
	return e.withSignatures(signing.AddSignature(e.raw(fieldSignatures), key.Server, key.ID, sig))
}

// WithSignaturesOf returns the event with the signatures that server has put
// on other, a copy of the same event: an invite that came back, a restricted
// join. They are not verified here. It refuses an other with another ID, or
// without a signature of server, with M_BAD_JSON.
func (e *Event) WithSignaturesOf(other *Event, server matrix.ServerName) (*Event, error) {
	if other.id != e.id {
		return nil, matrix.BadJSON("the signed event is not the one we sent")
	}
	ids := other.SignatureKeyIDs(server)
	if len(ids) == 0 {
		return nil, matrix.BadJSON("the event is not signed by %s", server)
	}
	signatures := e.raw(fieldSignatures)
	for _, id := range ids {
		if sig, ok := signing.Signature(other.raw(fieldSignatures), string(server), id); ok {
			signatures = signing.AddSignature(signatures, server, id, sig)
		}
	}
	return e.withSignatures(signatures)
}

func (e *Event) withSignatures(signatures []byte) (*Event, error) {
	out := e.derive(canonicaljson.SetField(e.json, "signatures", signatures))
	if len(out.json) > MaxBytes {
		return nil, matrix.TooLarge("the event has more than %d bytes", MaxBytes)
	}
	return out, nil
}

// SignatureKeyIDs returns the well-formed IDs of the Ed25519 keys with which
// server has signed the event. Nothing is verified.
func (e *Event) SignatureKeyIDs(server matrix.ServerName) []matrix.KeyID {
	return signing.KeyIDs(e.raw(fieldSignatures), string(server))
}

// VerifySignature verifies one signature of server, such as that of a policy
// server. The error is an M_UNAUTHORIZED.
func (e *Event) VerifySignature(server matrix.ServerName, id matrix.KeyID, pub ed25519.PublicKey) error {
	sig, ok := signing.Signature(e.raw(fieldSignatures), string(server), id)
	if !ok {
		return matrix.Unauthorized("no signature of %s by %s", server, id)
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.b = e.appendRedacted(s.b[:0], false)
	return signing.VerifyBytes(s.b, sig, string(server), id, pub)
}

// RequiredSigners returns the servers that must have signed the event.
//
// https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
func (e *Event) RequiredSigners() []matrix.ServerName {
	signers := make([]matrix.ServerName, 0, 2)
	add := func(server matrix.ServerName) {
		if !slices.Contains(signers, server) {
			signers = append(signers, server)
		}
	}
	content := e.Content()
	membership := e.Membership()
	if membership != "invite" || canonicaljson.Field(content, "third_party_invite") == nil {
		add(e.Sender().Server())
	}
	if e.rules.EventIDSignature {
		add(e.id.Server())
	}
	if e.rules.RestrictedJoinRule && e.typ == typeMember {
		if raw := canonicaljson.Field(content, "join_authorised_via_users_server"); raw != nil {
			user, _ := canonicaljson.Unquote(raw)
			add(matrix.UserID(user).Server()) // of what is no user ID: "", who never signs
		}
	}
	return signers
}
