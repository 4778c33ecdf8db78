package federation

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/policy"
)

// maxParallelEDUs is how many messages of one transaction are kept at once.
const maxParallelEDUs = 8

// eduKind is a type of message between servers.
type eduKind struct {
	label  string // in metrics
	action policy.Action
	// durable messages are kept for good before their transaction is answered;
	// the others are worth nothing a moment later.
	durable bool
	// actors returns the accounts that act by a message.
	actors  func(content []byte) ([]matrix.UserID, error)
	receive func(ctx context.Context, origin matrix.ServerName, content json.RawMessage) error
}

// eduKinds are the messages that this server takes. Presence is one of them where it
// is on.
//
// https://spec.matrix.org/v1.19/server-server-api/#edus
func (b *Inbox) eduKinds() map[string]eduKind {
	signingKeys := eduKind{"signing_keys", policy.ActionDeviceKeys, true, actorIn("user_id"), b.Devices.ReceiveSigningKeys}
	return map[string]eduKind{
		"m.typing": {"typing", policy.ActionEDU, false, actorIn("user_id"),
			func(ctx context.Context, origin matrix.ServerName, content json.RawMessage) error {
				return b.Rooms.ReceiveTyping(ctx, origin, content)
			}},
		"m.receipt": {"receipt", policy.ActionEDU, false, readers,
			func(ctx context.Context, origin matrix.ServerName, content json.RawMessage) error {
				return b.Rooms.ReceiveReceipts(ctx, origin, content)
			}},
		"m.presence": {"presence", policy.ActionEDU, false, present,
			func(ctx context.Context, origin matrix.ServerName, content json.RawMessage) error {
				return b.Rooms.ReceivePresence(ctx, origin, content)
			}},
		"m.direct_to_device":            {"to_device", policy.ActionSendToDevice, true, actorIn("sender"), b.receiveToDevice},
		"m.device_list_update":          {"device_list", policy.ActionDeviceKeys, true, actorIn("user_id"), b.Devices.ReceiveDeviceList},
		"m.signing_key_update":          signingKeys,
		"org.matrix.signing_key_update": signingKeys, // of before version 1.1, and still sent beside the other
	}
}

// actorIn reads the account in a field.
func actorIn(field string) func([]byte) ([]matrix.UserID, error) {
	return func(content []byte) ([]matrix.UserID, error) {
		user, err := matrix.ParseUserID(textField(content, field))
		return []matrix.UserID{user}, err
	}
}

// present reads the accounts in an m.presence.
func present(content []byte) (found []matrix.UserID, err error) {
	list := canonicaljson.Array(canonicaljson.Field(content, "push"))
	for raw, ok := list.NextElement(); ok; raw, ok = list.NextElement() {
		user, err := matrix.ParseUserID(textField(raw, "user_id"))
		if err != nil {
			return nil, err
		}
		found = append(found, user)
	}
	return found, nil
}

// readers reads the accounts in an m.receipt.
func readers(content []byte) ([]matrix.UserID, error) {
	found := make(map[matrix.UserID]bool)
	rooms := canonicaljson.Object(content)
	for room, ok := rooms.Next(); ok; room, ok = rooms.Next() {
		types := canonicaljson.Object(room.Value)
		for typ, ok := types.Next(); ok; typ, ok = types.Next() {
			users := canonicaljson.Object(typ.Value)
			for entry, ok := users.Next(); ok; entry, ok = users.Next() {
				user, err := matrix.ParseUserID(entry.Name())
				if err != nil {
					return nil, err
				}
				found[user] = true
			}
		}
	}
	return slices.Collect(maps.Keys(found)), nil
}

// receiveToDevice takes messages to devices. Recipients to whom the policy does
// not let the sender write are left out.
func (b *Inbox) receiveToDevice(ctx context.Context, origin matrix.ServerName, content json.RawMessage) error {
	sender := matrix.UserID(textField(content, "sender"))
	who := peer{origin, policy.ActionSendToDevice}
	kept, denied := []byte(nil), false
	messages := canonicaljson.Object(canonicaljson.Field(content, "messages"))
	for m, ok := messages.Next(); ok; m, ok = messages.Next() {
		user := matrix.UserID(m.Name())
		if user.Server() == b.Name && b.gate.may(ctx, who, sender, user) != nil {
			denied = true
			continue
		}
		if kept != nil {
			kept = append(kept, ',')
		}
		kept = append(kept, m.Raw...)
	}
	if denied {
		object := append(append(append([]byte(nil), '{'), kept...), '}')
		content = canonicaljson.SetField(content, "messages", object)
	}
	return b.Devices.ReceiveToDevice(ctx, origin, content)
}

// receiveDurable takes what must not be lost of a transaction, that of each
// account in its order. The error is of our making; what others did wrong
// hurts only itself.
func (b *Inbox) receiveDurable(ctx context.Context, origin matrix.ServerName, raws []json.RawMessage) error {
	byActor := make(map[matrix.UserID][]edu)
	for _, raw := range raws {
		e, err := parseEDU(raw)
		kind, known := b.kinds[e.typ]
		if err != nil || !known || !kind.durable {
			continue // counted where the transaction is split
		}
		if actors, err := kind.actors(e.content); err == nil {
			byActor[actors[0]] = append(byActor[actors[0]], e)
		} else {
			b.metrics.edus.WithLabelValues(kind.label, outcomeRefused).Inc()
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxParallelEDUs)
	for _, list := range byActor {
		group.Go(func() error {
			for _, e := range list {
				if err := b.receiveEDU(ctx, origin, e); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// receivePassing takes a message that may be lost.
func (b *Inbox) receivePassing(ctx context.Context, origin matrix.ServerName, e edu) {
	if err := b.receiveEDU(ctx, origin, e); err != nil && ctx.Err() == nil {
		b.Logger.WarnContext(ctx, "message of another server lost", "edu_type", e.typ, "origin", origin, "error", err)
	}
}

// receiveEDU asks the policy about a message and gives it to its owner. It
// returns only errors that are not the origin's.
func (b *Inbox) receiveEDU(ctx context.Context, origin matrix.ServerName, e edu) error {
	kind := b.kinds[e.typ]
	actors, err := kind.actors(e.content)
	for _, actor := range actors {
		if err == nil {
			err = b.gate.may(ctx, peer{origin, kind.action}, actor, "")
		}
	}
	if err == nil {
		err = kind.receive(ctx, origin, e.content)
	}
	outcome := outcomeOK
	if err != nil {
		outcome = outcomeRefused
		if status := matrix.Answer(err).Status; status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
			b.metrics.edus.WithLabelValues(kind.label, outcomeFailed).Inc()
			return err
		}
		b.Logger.DebugContext(ctx, "message refused", "edu_type", e.typ, "origin", origin, "error", err)
	}
	b.metrics.edus.WithLabelValues(kind.label, outcome).Inc()
	return nil
}
