package policy

import (
	"strconv"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
)

// accessRules is the content of an im.vector.room.access_rules event.
type accessRules struct {
	rule       AccessRule
	visibility string // "" where it does not say
	force      bool   // force_unencrypted_at_creation
}

// readAccessRules reads a content. valid is false if any of it is not what the
// type demands; what can be read is returned all the same.
func readAccessRules(content []byte) (a accessRules, valid bool) {
	a.rule = AccessRule(word(field(content, "rule"), string(Restricted), string(Unrestricted), string(Direct)))
	valid = a.rule != ""
	if raw := field(content, "visibility"); raw != nil {
		a.visibility = word(raw, visibilityPublic, visibilityPrivate)
		valid = valid && a.visibility != ""
	}
	switch string(field(content, "force_unencrypted_at_creation")) {
	case "true":
		a.force = true
	case "", "false":
	default:
		valid = false
	}
	return a, valid
}

// judgeContent applies the rules of rooms to what an event says. It returns a
// reason, and the organisation concerned, or "".
func (s *Snapshot) judgeContent(r *EventRequest, room *RoomFacts) (Reason, *organisation) {
	if r.State == nil && r.Event.Type() != typeCreate {
		return "", nil // an invitation: its own room judges the rest
	}
	content := r.Event.Content()
	switch r.Event.Type() {
	case typeCreate:
		return s.judgeCreators(r)
	case typeRedaction:
		return judgeRedaction(r), nil
	}
	if !r.Event.IsState() {
		return "", nil
	}
	if key, _ := r.Event.StateKey(); key != "" {
		return "", nil // only the events with an empty key have a meaning
	}
	switch r.Event.Type() {
	case TypeAccessRules:
		return s.judgeAccessRules(r, room)
	case typePowerLevels:
		if room.rule() != Unrestricted {
			return "", nil
		}
		levels, err := eventauth.ParsePowerLevels(content, r.Event.Rules())
		if err != nil {
			return ReasonLevelsInvalid, nil
		}
		return s.judgeLevels(levels, r.Now)
	case typeJoinRules:
		return judgeJoinRules(joinRule(content), room), nil
	case typeEncryption:
		return judgeEncryption(r.State.Event(typeEncryption, ""), content, room), nil
	case "m.room.name", "m.room.avatar", "m.room.topic", typeRetention:
		return s.judgeState(r), nil
	}
	return "", nil
}

// judgeCreators refuses a room one of whose creators, who have more power than
// anybody can take from them, may have none.
func (s *Snapshot) judgeCreators(r *EventRequest) (Reason, *organisation) {
	if !r.Event.Rules().PrivilegedCreators {
		return "", nil
	}
	return s.judgeCreatorList(eventauth.Creators(r.Event), r.Now)
}

func (s *Snapshot) judgeCreatorList(creators []matrix.UserID, now time.Time) (Reason, *organisation) {
	for _, user := range creators {
		p := s.standing(user.Server(), now)
		switch {
		case p.reason != "":
			return p.reason, p.org
		case p.class == ClassExternal && !s.externals.createRooms:
			return ReasonExternalPower, p.org
		case p.class == ClassUnaffiliated:
			return ReasonNoOrganisation, nil
		}
	}
	return "", nil
}

// judgeRedaction keeps the events whose absence would mean something else: a
// redacted rule reads as restricted, a redacted encryption as none.
func judgeRedaction(r *EventRequest) Reason {
	target := r.Event.Redacts()
	for _, typ := range [...]string{TypeAccessRules, typeEncryption} {
		if e := r.State.Event(typ, ""); e != nil && target != "" && e.ID() == target {
			return ReasonProtectedState
		}
	}
	return ""
}

// judgeAccessRules judges a new access rule. The only change is from restricted
// to unrestricted, because external accounts may be inside afterwards.
func (s *Snapshot) judgeAccessRules(r *EventRequest, room *RoomFacts) (Reason, *organisation) {
	next, valid := readAccessRules(r.Event.Content())
	if !valid {
		return ReasonRuleInvalid, nil
	}
	public := next.visibility == visibilityPublic
	previous := r.State.Event(TypeAccessRules, "")
	switch {
	case previous == nil:
		if reason := judgeFirstRule(r, next, room); reason != "" {
			return reason, nil
		}
	case public != (room.Visibility == visibilityPublic):
		return ReasonRuleVisibility, nil
	case next.force != room.ForceUnencrypted:
		return ReasonRuleForce, nil
	case public && next.rule != Restricted:
		return ReasonRulePublic, nil
	case next.rule != room.rule() && (room.rule() != Restricted || next.rule != Unrestricted):
		return ReasonRuleOneWay, nil
	}
	if next.rule == Unrestricted && room.rule() != Unrestricted {
		return s.judgeOpening(r)
	}
	return "", nil
}

// judgeFirstRule judges the rule of a room that has none yet.
func judgeFirstRule(r *EventRequest, next accessRules, room *RoomFacts) Reason {
	public := next.visibility == visibilityPublic
	switch {
	case r.Source == SourceClient && !r.Creating && (public || next.force):
		return ReasonRuleAtCreation
	case public && next.rule != Restricted:
		return ReasonRulePublic
	case public && room.Encrypted:
		return ReasonPublicEncrypted
	case next.force && room.Encrypted:
		return ReasonUnencrypted
	case next.rule == Direct && room.JoinRule == "public":
		return ReasonDirectPublic
	case next.rule == Direct && seats(r.State, r.Event, "") > directSeats:
		return ReasonDirectMembers
	}
	return ""
}

// judgeOpening judges the power levels of a room that is about to be opened.
func (s *Snapshot) judgeOpening(r *EventRequest) (Reason, *organisation) {
	if r.Create == nil {
		return ReasonMalformed, nil
	}
	levels, err := eventauth.EffectivePowerLevels(r.Create, r.State.Event(typePowerLevels, ""))
	if err != nil {
		return ReasonLevelsInvalid, nil
	}
	for _, creator := range eventauth.Creators(r.Create) {
		p := s.standing(creator.Server(), r.Now)
		if p.class == ClassExternal && !s.externalLevel(levels.User(creator)) {
			return ReasonOpenPower, p.org
		}
	}
	return s.judgeLevels(levels, r.Now)
}

// judgeLevels refuses power for externals: by default, or by name. Neither may
// they be below 0, which has been so since the first servers of this kind.
func (s *Snapshot) judgeLevels(levels *eventauth.PowerLevels, now time.Time) (Reason, *organisation) {
	if levels.UsersDefault() != 0 {
		return ReasonOpenDefault, nil
	}
	for user, level := range levels.Users() {
		if s.externalLevel(level) {
			continue
		}
		if p := s.standing(user.Server(), now); p.class == ClassExternal {
			return ReasonOpenPower, p.org
		}
	}
	return "", nil
}

func (s *Snapshot) externalLevel(level eventauth.Level) bool {
	return level >= 0 && int64(level) <= s.externals.maxPower
}

func judgeJoinRules(next string, room *RoomFacts) Reason {
	switch {
	case next == "public" && room.rule() == Direct:
		return ReasonDirectPublic
	case next != "public" && room.JoinRule == "public" && room.Visibility == visibilityPublic:
		return ReasonPublicStays
	}
	return ""
}

// judgeEncryption keeps public rooms and rooms made so unencrypted, and
// encrypted rooms encrypted.
func judgeEncryption(previous *event.Event, content []byte, room *RoomFacts) Reason {
	switch {
	case room.Visibility == visibilityPublic:
		return ReasonPublicEncrypted
	case room.ForceUnencrypted:
		return ReasonUnencrypted
	case !room.Encrypted:
		return ""
	}
	before, _ := text(field(previous.Content(), "algorithm"))
	if after, ok := text(field(content, "algorithm")); !ok || string(after) != string(before) {
		return ReasonEncrypted
	}
	return ""
}

// judgeState judges the few state events that depend on the kind of room. It
// reads the rule itself: most state is judged without facts.
func (s *Snapshot) judgeState(r *EventRequest) Reason {
	var room RoomFacts
	if e := r.State.Event(TypeAccessRules, ""); e != nil {
		room.setAccessRules(e.Content())
	}
	if r.Event.Type() != typeRetention {
		if room.rule() == Direct {
			return ReasonDirectName
		}
		return ""
	}
	if room.Visibility == visibilityPublic && !s.retains(r.Event.Content()) {
		return ReasonRetention
	}
	return ""
}

// retains reports whether a retention is within the limit for public rooms.
func (s *Snapshot) retains(content []byte) bool {
	limit := time.Duration(s.doc.Rooms.Public.Retention).Milliseconds()
	if limit == 0 {
		return true
	}
	n, err := strconv.ParseInt(string(field(content, "max_lifetime")), 10, 64)
	return err == nil && n >= 0 && n <= limit
}
