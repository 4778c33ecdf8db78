package search

import (
	"context"
	"encoding/json"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/rooms"
	"beffroi/storage/search"
	"beffroi/storage/users"
)

// typeHidden is the account data by which a user says that they are not to be
// found: the red list of Tchap.
const typeHidden = "im.vector.hide_profile"

// Types of events that are looked at.
const (
	typeMessage    = "m.room.message"
	typeName       = "m.room.name"
	typeTopic      = "m.room.topic"
	typeJoinRules  = "m.room.join_rules"
	typeVisibility = "m.room.history_visibility"
)

// news is what a stretch of the log changes of the index.
type news struct {
	to       storage.Position
	messages []search.Message
	people   []search.Person
	gone     []matrix.UserID
	open     map[int64]bool
}

func (n *news) empty() bool { return len(n.messages)+len(n.people)+len(n.gone)+len(n.open) == 0 }

func (n *news) write(ctx context.Context, tx *storage.Tx) error {
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return err
	}
	nids := make([]int64, len(n.messages))
	for i, m := range n.messages {
		nids[i] = m.EventNID
	}
	there, err := rooms.Unredacted(ctx, r, nids) // under the lock of the log: none is redacted or purged meanwhile
	if err != nil {
		return err
	}
	list := make([]search.Message, 0, len(n.messages))
	for _, m := range n.messages {
		if there[m.EventNID] {
			list = append(list, m)
		}
	}
	search.AddMessages(tx, list)
	if err := search.SetPeople(ctx, tx, n.people, n.gone); err != nil {
		return err
	}
	if err := search.SetOpen(ctx, tx, n.open); err != nil {
		return err
	}
	return storage.SetCursor(ctx, tx, cursor, n.to)
}

// read returns what changed with from < pos ≤ to.
func (s *Server) read(ctx context.Context, r *storage.Reader, from, to storage.Position) (*news, error) {
	n := &news{to: to, open: make(map[int64]bool)}
	events, err := rooms.LiveEvents(ctx, r, []string{typeMessage, typeName, typeTopic, typeJoinRules, typeVisibility}, from, to)
	if err != nil {
		return nil, err
	}
	members, err := rooms.MembersMoved(ctx, r, from, to)
	if err != nil {
		return nil, err
	}
	if err := n.readMessages(ctx, r, events); err != nil {
		return nil, err
	}
	var doors []int64
	for _, e := range events {
		if e.Type() == typeJoinRules || e.Type() == typeVisibility {
			doors = append(doors, e.RoomNID)
		}
	}
	for _, m := range members {
		if m.User.Server() == s.ServerName {
			doors = append(doors, m.RoomNID)
		}
	}
	if err := n.readDoors(ctx, r, doors); err != nil {
		return nil, err
	}
	if err := s.readGuests(ctx, r, n, members); err != nil {
		return nil, err
	}
	return n, s.readAccounts(ctx, r, n, from, to)
}

// readMessages takes what can be searched. In an encrypted room nothing is.
func (n *news) readMessages(ctx context.Context, r *storage.Reader, events []*rooms.Event) error {
	in := make([]int64, 0, len(events))
	for _, e := range events {
		in = append(in, e.RoomNID)
	}
	encrypted, err := rooms.StateEventsOf(ctx, r, in, "m.room.encryption")
	if err != nil {
		return err
	}
	for _, e := range events {
		m := search.Message{EventNID: e.NID, RoomNID: e.RoomNID}
		switch e.Type() {
		case typeMessage:
			m.Body = text(e.Content(), "body")
		case typeName:
			m.Name = text(e.Content(), "name")
		case typeTopic:
			m.Topic = text(e.Content(), "topic")
		}
		if encrypted[e.RoomNID] == nil && m.Body+m.Name+m.Topic != "" {
			n.messages = append(n.messages, m)
		}
	}
	return nil
}

// readDoors finds out which rooms anybody may find the members of.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
func (n *news) readDoors(ctx context.Context, r *storage.Reader, nids []int64) error {
	rules, err := rooms.StateEventsOf(ctx, r, nids, typeJoinRules)
	if err != nil {
		return err
	}
	visibility, err := rooms.StateEventsOf(ctx, r, nids, typeVisibility)
	if err != nil {
		return err
	}
	for _, nid := range nids {
		n.open[nid] = rules[nid] != nil && text(rules[nid].Content(), "join_rule") == "public" ||
			visibility[nid] != nil && text(visibility[nid].Content(), "history_visibility") == "world_readable"
	}
	return nil
}

// readGuests takes the people of other servers, by what their memberships say.
func (s *Server) readGuests(ctx context.Context, r *storage.Reader, n *news, members []rooms.Member) error {
	var nids []int64
	for _, m := range members {
		if m.Membership == "join" && m.User.Server() != s.ServerName {
			nids = append(nids, m.EventNID)
		}
	}
	events, err := rooms.EventsByNID(ctx, r, nids)
	if err != nil {
		return err
	}
	last := make(map[matrix.UserID]*rooms.Event, len(events))
	for _, e := range events {
		key, _ := e.StateKey()
		if was := last[matrix.UserID(key)]; was == nil || was.NID < e.NID {
			last[matrix.UserID(key)] = e
		}
	}
	for user, e := range last {
		n.people = append(n.people, person(user, text(e.Content(), "displayname"), text(e.Content(), "avatar_url")))
	}
	return nil
}

// readAccounts takes the accounts of this server.
func (s *Server) readAccounts(ctx context.Context, r *storage.Reader, n *news, from, to storage.Position) error {
	touched, err := search.Touched(ctx, r, typeHidden, from, to)
	if err != nil {
		return err
	}
	hidden, err := search.Hidden(ctx, r, typeHidden, touched)
	if err != nil {
		return err
	}
	for _, user := range touched {
		u, err := users.ByID(ctx, r, user)
		if err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
			return err
		}
		if err != nil || u.Deactivated || hides(hidden[user]) {
			n.gone = append(n.gone, user)
			continue
		}
		profile, err := users.Profile(ctx, r, user)
		if err != nil {
			return err
		}
		name, _ := canonicaljson.Unquote([]byte(profile["displayname"]))
		avatar, _ := canonicaljson.Unquote([]byte(profile["avatar_url"]))
		n.people = append(n.people, person(user, name, avatar))
	}
	return nil
}

// hides reads the account data of who does not want to be found.
func hides(content string) bool {
	var said struct {
		Hide bool `json:"hide_profile"`
	}
	return content != "" && json.Unmarshal([]byte(content), &said) == nil && said.Hide
}

func person(user matrix.UserID, name, avatar string) search.Person {
	local := user.Localpart()
	return search.Person{User: user, DisplayName: name, AvatarURL: avatar, Words: append(search.Words(local), search.Words(name)...)}
}

func text(object []byte, field string) string {
	s, _ := canonicaljson.Unquote(canonicaljson.Field(object, field))
	return s
}
