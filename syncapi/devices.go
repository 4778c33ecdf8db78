package syncapi

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/rooms"
)

// maxMessages bounds the messages to a device in one answer. The rest comes
// with the next, which is asked for at once.
const maxMessages = 100

// readMessages reads the messages to the device. The next token must not go
// beyond those that are told.
//
// https://spec.matrix.org/v1.19/client-server-api/#extensions-to-sync
func (a *answer) readMessages(ctx context.Context) error {
	if !a.changes.all && !a.changes.messages {
		return nil
	}
	var after storage.Position
	if a.since != nil {
		after = a.since.messages
	}
	list, err := a.s.Devices.ToDevice(ctx, a.r, a.req.User, a.req.Device, after, a.to, maxMessages)
	if err != nil {
		return err
	}
	for _, m := range list {
		a.messages = append(a.messages, appendMessage(nil, m))
	}
	if len(list) == maxMessages {
		a.next.messages = list[len(list)-1].Pos
	}
	return nil
}

func appendMessage(out []byte, m keys.Message) json.RawMessage {
	out = append(append(out, `{"content":`...), m.Content...)
	out = canonicaljson.AppendString(append(out, `,"sender":`...), string(m.Sender))
	return append(canonicaljson.AppendString(append(out, `,"type":`...), m.Type), '}')
}

// deviceLists are the accounts whose devices a client must ask for anew, and
// those that it need not follow any more.
type deviceLists struct {
	changed, left []matrix.UserID
}

// readLists finds out whose devices changed among those who share a room with
// the user, who has come to share one, and who no longer does.
//
// https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
func (a *answer) readLists(ctx context.Context) error {
	if a.since == nil {
		return nil
	}
	changed, gone := make(map[matrix.UserID]bool), make(map[matrix.UserID]bool)
	if a.changes.all || a.changes.lists {
		list, err := keys.ChangedUsers(ctx, a.r, a.req.User, a.from, a.to)
		if err != nil {
			return err
		}
		for _, user := range list {
			changed[user] = true
		}
	}
	if err := a.readMovers(ctx, changed, gone); err != nil {
		return err
	}
	asked := maps.Clone(changed)
	maps.Copy(asked, gone)
	sharing, err := rooms.ShareRoom(ctx, a.r, a.req.User, slices.Collect(maps.Keys(asked)))
	if err != nil {
		return err
	}
	for user := range asked {
		switch {
		case user == a.req.User:
			if changed[user] {
				a.lists.changed = append(a.lists.changed, user)
			}
		case sharing[user] && changed[user]:
			a.lists.changed = append(a.lists.changed, user)
		case !sharing[user] && gone[user]:
			a.lists.left = append(a.lists.left, user)
		}
	}
	slices.Sort(a.lists.changed)
	slices.Sort(a.lists.left)
	return nil
}

// readMovers adds who came into a room of the user or went out of one, and the
// members of the rooms that the user entered or left.
func (a *answer) readMovers(ctx context.Context, came, went map[matrix.UserID]bool) error {
	var entered, departed, nids []int64
	for _, rm := range a.list {
		switch {
		case rm.entered:
			entered = append(entered, rm.RoomNID)
		case rm.gone:
			departed = append(departed, rm.RoomNID)
		}
		for _, d := range a.moves(rm) {
			nids = append(nids, d.OldNID, d.NewNID)
		}
	}
	if err := a.events(ctx, nids); err != nil {
		return err
	}
	for _, rm := range a.list {
		for _, d := range a.moves(rm) {
			was, is := a.isJoin(d.OldNID), a.isJoin(d.NewNID)
			user := matrix.UserID(d.StateKey)
			came[user] = came[user] || is && !was && user != a.req.User
			went[user] = went[user] || was && !is && user != a.req.User
		}
	}
	if err := a.addMembers(ctx, entered, came); err != nil {
		return err
	}
	return a.addMembers(ctx, departed, went)
}

// addMembers adds the members of some rooms. Who came after the user had gone is
// not theirs to know.
func (a *answer) addMembers(ctx context.Context, roomNIDs []int64, to map[matrix.UserID]bool) error {
	list, err := rooms.JoinedTo(ctx, a.r, roomNIDs)
	for key, since := range list {
		if ended := a.rooms[key.RoomNID].ended; ended == 0 || since <= ended {
			to[key.User] = to[key.User] || key.User != a.req.User
		}
	}
	return err
}

// moves returns the changes of memberships in a room since the token.
func (a *answer) moves(rm *room) []rooms.Delta {
	if rm.entered || rm.section != joined && rm.section != left {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(a.deltas[rm.RoomNID]), func(d rooms.Delta) bool {
		return d.Type != typeMember || d.Pos <= a.from || d.Pos > rm.window.UpTo
	})
}

func (a *answer) isJoin(nid int64) bool {
	e := a.loaded[nid]
	return e != nil && e.Membership() == "join"
}

// readCounts reads how many keys the device has left.
func (a *answer) readCounts(ctx context.Context) (err error) {
	if a.counts = a.s.notifier.keyCounts(a.account, a.req.Device); a.counts == nil {
		a.counts, err = a.s.readKeyCounts(ctx, a.r, a.account, a.req.Device)
	}
	return err
}

// keyCounts returns the counts of a device as they are sent, nil where they are
// not known.
func (n *notifier) keyCounts(a *account, id matrix.DeviceID) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return a.device(id).keys
}

// readKeyCounts reads the counts of a device as they are sent, and keeps them
// until they change.
//
// https://spec.matrix.org/v1.19/client-server-api/#e2e-extensions-to-sync
func (s *Server) readKeyCounts(ctx context.Context, r *storage.Reader, acc *account, id matrix.DeviceID) ([]byte, error) {
	at, err := storage.Head(ctx, r)
	if err != nil {
		return nil, err
	}
	counts, err := keys.CountOneTimeKeys(ctx, r, acc.user, id)
	if err != nil {
		return nil, err
	}
	fallback, err := keys.UnusedFallbackTypes(ctx, r, acc.user, id)
	if err != nil {
		return nil, err
	}
	if _, ok := counts[signedCurve]; !ok {
		counts[signedCurve] = 0 // clients upload new ones where they read this
	}
	out := []byte(`,"device_one_time_keys_count":{`)
	for i, algorithm := range slices.Sorted(maps.Keys(counts)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(canonicaljson.AppendString(out, algorithm), ':')
		out = strconv.AppendInt(out, int64(counts[algorithm]), 10)
	}
	out = append(out, `},"device_unused_fallback_key_types":[`...)
	slices.Sort(fallback)
	for i, algorithm := range fallback {
		if i > 0 {
			out = append(out, ',')
		}
		out = canonicaljson.AppendString(out, algorithm)
	}
	out = append(out, ']')
	s.notifier.keep(acc, id, out, at)
	return out, nil
}

// signedCurve is the algorithm of one-time keys that every client uses.
const signedCurve = "signed_curve25519"

// keep keeps the counts of a device that were read at a position.
func (n *notifier) keep(a *account, id matrix.DeviceID, counts []byte, at storage.Position) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if d := a.device(id); d.counts <= at {
		d.keys = counts
	}
}
