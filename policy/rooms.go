package policy

import (
	"time"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// RoomState is the state of a room before an event. The room server has it;
// an event is judged on it and on nothing else, so that every server judges
// the event alike.
type RoomState interface {
	// Event returns the state event with this type and key, or nil.
	Event(typ, key string) *event.Event
	// Each calls fn with every state event of a type, until fn returns false.
	// It is called in direct rooms only, for members and third-party invites.
	Each(typ string, fn func(*event.Event) bool)
}

// EventRequest is an event that would enter a room.
type EventRequest struct {
	Event *event.Event
	// State is the state before the event. For an event of the state that a
	// join brings, whose past is not known, it is that state, the event
	// included. It is nil for a create event, and where Facts stand for it.
	State RoomState
	// Create is the create event of the room, nil for itself.
	Create *event.Event
	// Facts stand for the state where this server does not have it: an
	// invitation by federation carries a few stripped events ([StrippedFacts]).
	Facts  *RoomFacts
	Source Source
	// Entry says how the subject of a join came into the room, where State is
	// not the state before the event but one that another server told, or that
	// of today: the join by which it came in, before it changed its name, and
	// its membership before that, as the auth events of that join have it. It is
	// asked for external accounts, who must have been invited.
	Entry func() (join *event.Event, was string)
	// Creating says that this server writes the event as a part of making or
	// upgrading the room.
	Creating bool
	Now      time.Time
}

// The types of events that have an action of their own.
const (
	typeCreate      = "m.room.create"
	typeMember      = "m.room.member"
	typeJoinRules   = "m.room.join_rules"
	typePowerLevels = "m.room.power_levels"
	typeEncryption  = "m.room.encryption"
	typeThirdParty  = "m.room.third_party_invite"
	typeRedaction   = "m.room.redaction"
	typeRetention   = "m.room.retention"
	typeHistory     = "m.room.history_visibility"
	typeGuestAccess = "m.room.guest_access"
)

// eventActions maps the types of state events; any other is ActionSendState.
var eventActions = map[string]Action{
	typeCreate: ActionCreateRoom, TypeAccessRules: ActionSetAccessRule, typePowerLevels: ActionSetPowerLevels,
	typeJoinRules: ActionSetJoinRule, typeEncryption: ActionSetEncryption, typeThirdParty: ActionInvite3PID,
	"m.room.canonical_alias": ActionAlias, "m.room.aliases": ActionAlias, "m.room.tombstone": ActionUpgradeRoom,
}

// EventAction returns the action that an event is.
func EventAction(e *event.Event) Action {
	if !e.IsState() {
		return ActionSendMessage
	}
	if e.Type() != typeMember {
		if e.Type() == typeThirdParty && isEmpty(e.Content()) {
			return ActionKickBan // takes an invitation back
		}
		if a, ok := eventActions[e.Type()]; ok {
			return a
		}
		return ActionSendState
	}
	switch key, _ := e.StateKey(); e.Membership() {
	case "invite":
		return ActionInvite
	case "join":
		return ActionJoin
	case "knock":
		return ActionKnock
	case "leave":
		if key == string(e.Sender()) {
			return ActionLeave
		}
		return ActionKickBan
	case "ban":
		return ActionKickBan
	}
	return ActionNone
}

// AdmitEvent judges an event by the active snapshot.
func (e *Engine) AdmitEvent(r *EventRequest) Decision {
	d := e.active.Load().AdmitEvent(r)
	if shadow := e.shadow.Load(); shadow != nil {
		shadow.compareEvent(r, d)
	}
	return d
}

// AdmitEvent says whether an event may enter a room, by the document and by
// the state before it, whoever sent it and however it came here.
func (s *Snapshot) AdmitEvent(r *EventRequest) Decision {
	if s.floor != nil {
		if d := s.floor.admitEvent(r); !d.Allow {
			return d
		}
	}
	return s.admitEvent(r)
}

// admitEvent judges by this document alone.
func (s *Snapshot) admitEvent(r *EventRequest) Decision {
	action := EventAction(r.Event)
	switch action {
	case ActionLeave, ActionKickBan:
		return s.allow(action)
	case ActionNone:
		return s.deny(action, ReasonMalformed, "", nil)
	}
	subject := r.Event.Sender()
	if r.Event.Type() == typeMember {
		key, _ := r.Event.StateKey()
		subject = matrix.UserID(key)
	}
	var room RoomFacts
	wanted := action != ActionCreateRoom && s.wantsFacts(r, action)
	if wanted {
		room = s.eventFacts(r, action, subject)
	}
	q := Request{Action: action, Actor: r.Event.Sender(), Subject: subject, Source: r.Source, Now: r.Now}
	if wanted {
		q.Room = &room
	}
	if d := s.decide(&q); !d.Allow || !s.enforce {
		return d
	}
	if reason, of := s.judgeContent(r, &room); reason != "" {
		return s.deny(action, reason, "", &judgement{refused: of})
	}
	return s.allow(action)
}

// wantsFacts reports whether an event is judged by anything of its room. Most
// messages are not: their sender is of a ministry and no rule asks.
func (s *Snapshot) wantsFacts(r *EventRequest, action Action) bool {
	if action != ActionSendMessage && action != ActionSendState || len(s.rules[action]) > 0 {
		return true
	}
	return s.standing(r.Event.Sender().Server(), r.Now).class != ClassGovernment
}

// eventFacts reads the facts of the room an event would enter.
func (s *Snapshot) eventFacts(r *EventRequest, action Action, subject matrix.UserID) RoomFacts {
	var room RoomFacts
	switch {
	case r.State != nil:
		room = Facts(r.State, r.Create, subject)
	case r.Facts != nil:
		return *r.Facts
	default:
		return RoomFacts{} // nothing is known: restricted
	}
	room.ID = r.Event.RoomID()
	if room.Rule == Direct && seatActions[action] {
		room.Seats = seats(r.State, r.Event, subject)
	}
	if action != ActionJoin {
		return room
	}
	join := r.Event
	if r.Entry != nil && s.standing(subject.Server(), r.Now).class == ClassExternal {
		join, room.SubjectMembership = r.Entry()
	}
	room.Vouched = s.vouched(join, &room, r.Now)
	return room
}

// seatActions are the actions that take a seat of a direct room.
var seatActions = [actionCount]bool{ActionInvite: true, ActionInvite3PID: true, ActionJoin: true, ActionKnock: true}

// vouched reports whether a join came by way of a space: the join rule allows
// it and the account that authorises it is of a ministry. Externals are members
// of a space only by invitation, which is the invitation to its rooms.
func (s *Snapshot) vouched(join *event.Event, room *RoomFacts, now time.Time) bool {
	if room.JoinRule != "restricted" && room.JoinRule != "knock_restricted" {
		return false
	}
	by, ok := text(field(join.Content(), "join_authorised_via_users_server"))
	if !ok {
		return false
	}
	p := s.standing(matrix.UserID(by).Server(), now)
	return p.reason == "" && p.class == ClassGovernment
}

// Facts reads what decisions need to know of a room from its state. subject is
// whose membership is asked for; "" is nobody's.
func Facts(state RoomState, create *event.Event, subject matrix.UserID) RoomFacts {
	room := RoomFacts{JoinRule: "invite"}
	if e := state.Event(TypeAccessRules, ""); e != nil {
		room.setAccessRules(e.Content())
	}
	if e := state.Event(typeJoinRules, ""); e != nil {
		room.JoinRule = joinRule(e.Content())
	}
	if e := state.Event(typeEncryption, ""); e != nil {
		room.Encrypted = encrypts(e.Content())
	}
	if create != nil {
		room.ID, room.Creator = create.RoomID(), create.Sender()
		room.NoFederate = string(field(create.Content(), "m.federate")) == "false"
	}
	if subject != "" {
		if e := state.Event(typeMember, string(subject)); e != nil {
			room.SubjectMembership = e.Membership()
		}
	}
	return room
}

func (r *RoomFacts) setAccessRules(content []byte) {
	a, _ := readAccessRules(content)
	r.Rule, r.Visibility, r.ForceUnencrypted = a.rule, a.visibility, a.force
}

// joinRule returns the join rule of a content; one that nobody knows is as
// good as invite.
func joinRule(content []byte) string {
	if w := word(field(content, "join_rule"), "public", "invite", "knock", "restricted", "knock_restricted"); w != "" {
		return w
	}
	return "invite"
}

// encrypts reports whether the content of an encryption event encrypts.
func encrypts(content []byte) bool {
	algorithm, ok := text(field(content, "algorithm"))
	return ok && len(algorithm) > 0
}

// StrippedEvent is an event of the stripped state of an invitation or a knock.
type StrippedEvent struct {
	Type     string
	StateKey string
	Sender   matrix.UserID
	Content  []byte // canonical JSON
}

// StrippedFacts reads the facts of a room that this server is not in from the
// stripped state of an invitation. What the inviting server leaves out counts
// as restricted.
//
// https://spec.matrix.org/v1.19/client-server-api/#stripped-state
func StrippedFacts(events []StrippedEvent) RoomFacts {
	var room RoomFacts
	for _, e := range events {
		if e.StateKey != "" {
			continue
		}
		switch e.Type {
		case TypeAccessRules:
			room.setAccessRules(e.Content)
		case typeJoinRules:
			room.JoinRule = joinRule(e.Content)
		case typeEncryption:
			room.Encrypted = encrypts(e.Content)
		case typeCreate:
			room.Creator = e.Sender
			room.NoFederate = string(field(e.Content, "m.federate")) == "false"
		}
	}
	return room
}
