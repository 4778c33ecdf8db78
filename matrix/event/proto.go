package event

import (
	"crypto/sha256"
	"encoding/json"
	"strconv"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/signing"
)

// Proto is what a new event says, before it has hashes, signatures and an ID.
//
// https://spec.matrix.org/v1.19/server-server-api/#pdus
type Proto struct {
	RoomID   matrix.RoomID // not in the create event of version 12, whose hash it is
	Sender   matrix.UserID
	Type     string
	StateKey *string         // nil: not state
	Content  json.RawMessage // nil: {}

	PrevEvents, AuthEvents []matrix.EventID
	// PrevHashes and AuthHashes are the reference hashes of those events (see
	// [Event.ReferenceHash]), in the same order. Only versions 1 and 2 carry
	// them, and peers of today read none: what is not given is left out.
	PrevHashes, AuthHashes []string

	Depth          int64
	OriginServerTS int64 // milliseconds
	// Redacts is for m.room.redaction events. It is put where the version wants it.
	Redacts matrix.EventID
	// Origin is in templates only: the server that made it.
	Origin matrix.ServerName
}

// Build makes the event: canonical, hashed, signed by key, with an ID. In
// versions 1 and 2, where an ID is free to choose, it is made from the hash
// and the name of key's server, so that Build needs no randomness.
//
// What is wrong with p is an M_BAD_JSON, and M_TOO_LARGE when it or one of its
// fields is too large.
//
// https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events
func (p *Proto) Build(rules *matrix.VersionRules, key signing.Key) (*Event, error) {
	fields, err := p.canonical(rules, false)
	if err != nil {
		return nil, err
	}
	if rules.EventFormat == matrix.EventFormatID {
		sum := sha256.Sum256(fields)
		id := "$" + signing.EncodeBase64URL(sum[:]) + ":" + string(key.Server)
		fields = canonicaljson.SetField(fields, "event_id", canonicaljson.AppendString(nil, id))
	}
	sum := sha256.Sum256(fields)
	fields = canonicaljson.SetField(fields, "hashes", []byte(`{"sha256":"`+signing.EncodeBase64(sum[:])+`"}`))
	fields = canonicaljson.SetField(fields, "signatures", []byte("{}"))
	e := &Event{json: fields, rules: rules, spans: locate(fields)}
	if err := e.check(); err != nil {
		return nil, err
	}
	s := scratches.Get().(*scratch)
	e.setID(s)
	scratches.Put(s)
	return e.AddSignature(key)
}

// canonical returns the fields of p as canonical JSON. A template leaves out
// what its reader may not need.
func (p *Proto) canonical(rules *matrix.VersionRules, template bool) ([]byte, error) {
	content := []byte(p.Content)
	if len(content) == 0 {
		content = []byte("{}")
	}
	// By itself first: whatever it holds, it must not reach the fields beside it.
	content, err := canonicaljson.Canonicalise(content, mode(rules))
	if err != nil {
		return nil, err
	}
	if content[0] != '{' {
		return nil, matrix.BadJSON("content is not an object")
	}
	if p.Redacts != "" && rules.RedactsInContent {
		content = canonicaljson.SetField(content, "redacts", canonicaljson.AppendString(nil, string(p.Redacts)))
	}
	raw := make([]byte, 0, len(content)+1024)
	raw = append(raw, `{"auth_events":`...)
	raw = appendIDs(raw, p.AuthEvents, p.AuthHashes, rules)
	raw = append(append(raw, `,"content":`...), content...)
	raw = strconv.AppendInt(append(raw, `,"depth":`...), p.Depth, 10)
	if template && p.Origin != "" {
		raw = canonicaljson.AppendString(append(raw, `,"origin":`...), string(p.Origin))
	}
	raw = strconv.AppendInt(append(raw, `,"origin_server_ts":`...), p.OriginServerTS, 10)
	raw = append(raw, `,"prev_events":`...)
	raw = appendIDs(raw, p.PrevEvents, p.PrevHashes, rules)
	if p.Redacts != "" && !rules.RedactsInContent {
		raw = canonicaljson.AppendString(append(raw, `,"redacts":`...), string(p.Redacts))
	}
	if p.RoomID != "" {
		raw = canonicaljson.AppendString(append(raw, `,"room_id":`...), string(p.RoomID))
	}
	raw = canonicaljson.AppendString(append(raw, `,"sender":`...), string(p.Sender))
	if p.StateKey != nil {
		raw = canonicaljson.AppendString(append(raw, `,"state_key":`...), *p.StateKey)
	}
	raw = canonicaljson.AppendString(append(raw, `,"type":`...), p.Type)
	raw = append(raw, '}')

	// The order is right already; this is for the depth of it all.
	return canonicaljson.Canonicalise(raw, mode(rules))
}

// appendIDs appends prev_events or auth_events in the form of the version.
func appendIDs(dst []byte, ids []matrix.EventID, hashes []string, rules *matrix.VersionRules) []byte {
	dst = append(dst, '[')
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		if rules.EventFormat != matrix.EventFormatID {
			dst = canonicaljson.AppendString(dst, string(id))
			continue
		}
		dst = canonicaljson.AppendString(append(dst, '['), string(id))
		dst = append(dst, ",{"...)
		if i < len(hashes) && hashes[i] != "" {
			dst = canonicaljson.AppendString(append(dst, `"sha256":`...), hashes[i])
		}
		dst = append(dst, "}]"...)
	}
	return append(dst, ']')
}
