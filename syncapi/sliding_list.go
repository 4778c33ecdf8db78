package syncapi

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/rooms"
	"beffroi/storage/users"
)

// other is a room that an account has not joined. Its fields are guarded by
// the lock of the notifier.
type other struct {
	rooms.Standing
	known  bool // the following were read
	sender matrix.UserID
	wasIn  bool // the user was joined before
}

func newOther(m rooms.Standing) *other { return &other{Standing: m} }

// byOther reports whether somebody else ended the stay of the user.
func (o *other) byOther() bool { return o.sender != "" && o.sender != o.User }

// shelf is how the clients of an account sort its rooms, as of a position.
type shelf struct {
	at     storage.Position
	direct map[matrix.RoomID]bool
	tags   map[matrix.RoomID][]string
}

const (
	typeDirect = "m.direct"
	typeTag    = "m.tag"
)

// listed is a room as it stands in the list of an account.
type listed struct {
	nid      int64
	id       matrix.RoomID
	activity storage.Position // what the list is sorted by
	receipts storage.Position // of the last receipt, as far as it was watched
	typing   uint64
	typists  bool
	word     string // membership
	// hidden is a room that the user has left: it is told of where the client
	// has it, or asks for it by name.
	hidden bool
	direct bool
	other  *rooms.Standing
}

// readShelf reads how the clients sort the rooms, and what is not known yet of
// the rooms that the account has not joined.
func (s *Server) readShelf(ctx context.Context, r *storage.Reader, a *account, at storage.Position) error {
	if s.notifier.shelfStale(a) {
		content, err := users.AccountDataOf(ctx, r, a.user, "", typeDirect)
		if err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
			return err
		}
		tags, err := users.RoomData(ctx, r, a.user, typeTag)
		if err != nil {
			return err
		}
		s.notifier.setShelf(a, shelf{at, directRooms(content), tagsOf(tags)})
	}
	unknown := s.notifier.unknownOthers(a)
	if len(unknown) == 0 {
		return nil
	}
	nids := make([]int64, len(unknown))
	var ended []int64
	for i, m := range unknown {
		nids[i] = m.EventNID
		if m.Membership == "ban" || m.Membership == "leave" {
			ended = append(ended, m.RoomNID)
		}
	}
	senders, err := rooms.Senders(ctx, r, nids)
	if err != nil {
		return err
	}
	scratch := &answer{s: s, r: r, account: a, req: &Request{User: a.user}, rooms: make(map[int64]*room),
		loaded: make(map[int64]*rooms.Event)}
	for i := range unknown {
		scratch.rooms[unknown[i].RoomNID] = &room{Standing: unknown[i]}
	}
	courses, err := scratch.courses(ctx, ended)
	if err != nil {
		return err
	}
	s.notifier.knowOthers(a, unknown, senders, courses)
	return nil
}

func (n *notifier) shelfStale(a *account) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return a.shelf.at == 0 || a.shelf.at < a.data
}

func (n *notifier) setShelf(a *account, to shelf) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if to.at > a.shelf.at {
		a.shelf = to
	}
}

func (n *notifier) unknownOthers(a *account) (list []rooms.Standing) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range a.others {
		if !o.known {
			list = append(list, o.Standing)
		}
	}
	return list
}

func (n *notifier) knowOthers(a *account, list []rooms.Standing, senders map[int64]matrix.UserID, courses map[int64][]phase) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range list {
		if o := a.others[m.RoomNID]; o != nil && o.Pos == m.Pos {
			_, was := lastJoined(courses[m.RoomNID])
			o.known, o.sender, o.wasIn = true, senders[m.EventNID], was
		}
	}
}

// directRooms reads m.direct, which may be anything.
//
// https://spec.matrix.org/v1.19/client-server-api/#mdirect
func directRooms(content string) map[matrix.RoomID]bool {
	var byUser map[string]json.RawMessage
	if content == "" || json.Unmarshal([]byte(content), &byUser) != nil {
		return nil
	}
	direct := make(map[matrix.RoomID]bool)
	for _, raw := range byUser {
		var ids []matrix.RoomID
		if json.Unmarshal(raw, &ids) == nil {
			for _, id := range ids {
				direct[id] = true
			}
		}
	}
	return direct
}

// tagsOf reads m.tag of each room, which may be anything.
func tagsOf(contents map[matrix.RoomID]string) map[matrix.RoomID][]string {
	tags := make(map[matrix.RoomID][]string, len(contents))
	for id, content := range contents {
		var list map[string]json.RawMessage
		if json.Unmarshal(canonicaljson.Field([]byte(content), "tags"), &list) != nil {
			continue
		}
		for tag := range list {
			tags[id] = append(tags[id], tag)
		}
	}
	return tags
}

// roomList returns the rooms of an account, the one where something happened
// last first, with those that stand in no list.
func (n *notifier) roomList(a *account, ignored map[matrix.UserID]bool) []listed {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := make([]listed, 0, len(a.joined)+len(a.others))
	for _, room := range a.joined {
		list = append(list, listed{nid: room.nid, id: room.id, activity: room.activity, receipts: room.receipts,
			typing: room.typing, typists: room.typists, word: "join", direct: a.shelf.direct[room.id]})
	}
	for _, o := range a.others {
		switch {
		case o.Forgotten || o.EventNID == 0 && o.Membership == "":
			continue
		case o.Membership == "invite" && ignored[o.sender]:
			continue
		}
		standing := o.Standing
		l := listed{nid: o.RoomNID, id: o.RoomID, activity: o.Pos, word: o.Membership,
			direct: a.shelf.direct[o.RoomID], other: &standing}
		switch o.Membership {
		case "leave":
			l.hidden = !o.wasIn || !o.byOther()
		case "ban":
			l.hidden = !o.wasIn
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(x, y listed) int {
		return cmp.Or(cmp.Compare(y.activity, x.activity), cmp.Compare(y.nid, x.nid))
	})
	return list
}
