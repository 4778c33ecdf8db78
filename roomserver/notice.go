package roomserver

import (
	"context"
	"fmt"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/matrix/pushrules"
	"beffroi/storage/rooms"
)

// The notices: which default rule notifies everybody of an event. They are
// stored, so a number never changes its meaning.
const (
	noticeNone = iota
	noticeMessage
	noticeEncrypted
	noticeMessageOfTwo
	noticeEncryptedOfTwo
	noticeCall
	noticeRoomMention
	noticeTombstone
	notices
)

// noticeOf is the notice of each default rule that notifies everybody.
var noticeOf = map[string]int{
	".m.rule.message":                   noticeMessage,
	".m.rule.encrypted":                 noticeEncrypted,
	".m.rule.room_one_to_one":           noticeMessageOfTwo,
	".m.rule.encrypted_room_one_to_one": noticeEncryptedOfTwo,
	".m.rule.call":                      noticeCall,
	".m.rule.is_room_mention":           noticeRoomMention,
	".m.rule.tombstone":                 noticeTombstone,
}

// samples are events with a notice that say nothing else: what rules say of
// one is what they say of all, but for those that are about somebody.
var samples = [notices]struct {
	fields  string
	members int64
}{
	noticeMessage:        {`"content":{},"type":"m.room.message"`, 3},
	noticeEncrypted:      {`"content":{},"type":"m.room.encrypted"`, 3},
	noticeMessageOfTwo:   {`"content":{},"type":"m.room.message"`, 2},
	noticeEncryptedOfTwo: {`"content":{},"type":"m.room.encrypted"`, 2},
	noticeCall:           {`"content":{},"type":"m.call.invite"`, 3},
	noticeRoomMention:    {`"content":{"m.mentions":{"room":true}},"type":"m.room.message"`, 3},
	noticeTombstone:      {`"content":{},"state_key":"","type":"m.room.tombstone"`, 3},
}

// evaluateSample returns what rules say of every event of a room with a notice.
func evaluateSample(rules *pushrules.Rules, room matrix.RoomID, notice int) pushrules.Outcome {
	if notice <= noticeNone || notice >= notices {
		return pushrules.Outcome{}
	}
	in, err := pushrules.Sample(room, samples[notice].fields, samples[notice].members)
	if err != nil {
		return pushrules.Outcome{} // the samples are ours, and tests read each
	}
	return rules.Evaluate(in, "")
}

// maxNotices bounds the notices of one event that are for one user each. Those
// who are mentioned come first.
const maxNotices = 5000

// notify asks the push rules of the members of this server about the events of
// a draft. It is called when the draft is complete, with the lock of the room.
//
// https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
func (s *Server) notify(ctx context.Context, d *draft) error {
	if d.from == 0 {
		return nil // nobody of this server was there before
	}
	if err := s.refresh(ctx, d.rm); err != nil {
		return fmt.Errorf("read push rules: %w", err)
	}
	for _, p := range d.placed {
		if p.Status != rooms.Accepted || p.RedactedBy != "" {
			continue
		}
		if err := s.notifyOf(ctx, d, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) notifyOf(ctx context.Context, d *draft, p *placement) error {
	a, e := d.rm.audience, p.Event.Event
	p.Event.Notice, p.Event.Notices = noticeNone, nil
	others := len(a.members)
	if _, in := a.members[e.Sender()]; in {
		others--
	}
	named := s.namedBy(a, e)
	if others > 0 || len(named) > 0 {
		levels, err := d.cur.PowerLevels()
		if err != nil {
			return err
		}
		in := pushrules.NewInput(e, d.rm.joined, func(kind string) bool { return levels.User(e.Sender()) >= levels.Notification(kind) })
		p.Event.Notice = noticeOf[s.everybody.Evaluate(in, "").RuleID]
		p.Event.Notices = s.exceptions(d, in, e, p.Event.Notice, named)
	}
	if p.Event.Notice == noticeNone && p.Event.Notices == nil && !s.local(e.Sender()) {
		return d.cur.err
	}
	var err error
	p.Event.Thread, err = s.threadRoot(ctx, e)
	return err
}

// namedBy returns the users of this server whom an event names: who is
// mentioned, and whose membership it is.
func (s *Server) namedBy(a *audience, e *event.Event) (named []matrix.UserID) {
	mentions := canonicaljson.Array(canonicaljson.Field(canonicaljson.Field(e.Content(), "m.mentions"), "user_ids"))
	for raw, ok := mentions.NextElement(); ok; raw, ok = mentions.NextElement() {
		text, _ := canonicaljson.Unquote(raw)
		if _, in := a.members[matrix.UserID(text)]; in {
			named = append(named, matrix.UserID(text))
		}
	}
	if e.Type() == "m.room.member" {
		if user, err := matrix.ParseUserID(stateKeyOf(e)); err == nil && s.local(user) {
			named = append(named, user)
		}
	}
	slices.Sort(named)
	return slices.Compact(named)
}

// exceptions returns for whom an event is something else than its notice says.
func (s *Server) exceptions(d *draft, in *pushrules.Input, e *event.Event, notice int, named []matrix.UserID) (list []rooms.Notice) {
	a := d.rm.audience
	ignoring := a.ignoredBy[e.Sender()]
	add := func(user matrix.UserID, is, said verdictOf) {
		if ignoring[user] {
			is = verdictOf{}
		}
		if is != said && user != e.Sender() && len(list) < maxNotices {
			list = append(list, rooms.Notice{User: user, Notify: is.notify, Highlight: is.highlight})
		}
	}
	done := make(map[matrix.UserID]bool, len(named)+len(ignoring))
	one := func(user matrix.UserID) {
		if done[user] {
			return
		}
		done[user] = true
		var changes pushrules.Changes
		said := s.said[notice]
		if g := a.members[user]; g != nil {
			changes, said = g.changes, g.said[notice]
		}
		rules := changes.Ruleset(user)
		add(user, verdictIn(pushrules.Compile(user, &rules).Evaluate(in, d.nameOf(user))), said)
	}
	for _, user := range named {
		one(user)
	}
	for user := range ignoring {
		if _, in := a.members[user]; in {
			one(user)
		}
	}
	for _, g := range a.groups {
		if g.changes.Personal() {
			for user := range g.users {
				one(user)
			}
			continue
		}
		if is := verdictIn(g.rules.Evaluate(in, "")); is != g.said[notice] {
			for user := range g.users {
				if !done[user] {
					add(user, is, g.said[notice])
				}
			}
		}
	}
	return list
}

// nameOf returns the display name of a user in the room.
func (d *draft) nameOf(user matrix.UserID) string {
	member := d.cur.Event("m.room.member", string(user))
	if member == nil {
		return ""
	}
	return stringField(member.Content(), "displayname")
}

// threadRoot returns the root of the thread that an event is in, "" for the
// main timeline.
//
// https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts
func (s *Server) threadRoot(ctx context.Context, e *event.Event) (matrix.EventID, error) {
	room := e.RoomID()
	for range maxThreadHops {
		relation := canonicaljson.Field(e.Content(), "m.relates_to")
		target, err := matrix.ParseEventID(stringField(relation, "event_id"))
		if err != nil {
			return "", nil //nolint:nilerr // it relates to nothing
		}
		if stringField(relation, "rel_type") == "m.thread" {
			return target, nil
		}
		found, err := s.eventsByID(ctx, []matrix.EventID{target})
		if err != nil {
			return "", err
		}
		if e = found[target]; e == nil || e.RoomID() != room {
			return "", nil
		}
	}
	return "", nil
}
