package clientapi

import (
	"context"
	"net/http"
	"slices"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/policy"
)

// askable are the actions that a client may ask about, with what the question
// must name.
var askable = map[policy.Action]struct{ room, user, address bool }{
	policy.ActionInvite:          {room: true, user: true},
	policy.ActionInvite3PID:      {room: true, address: true},
	policy.ActionJoin:            {room: true},
	policy.ActionKnock:           {room: true},
	policy.ActionCreateRoom:      {},
	policy.ActionPublishRoom:     {room: true},
	policy.ActionAlias:           {room: true},
	policy.ActionUpgradeRoom:     {room: true},
	policy.ActionReadProfile:     {user: true},
	policy.ActionSendToDevice:    {user: true},
	policy.ActionSearchDirectory: {},
	policy.ActionListPublicRooms: {},
}

// canAnswer says whether the policy would allow something, and else what the
// refusal would say, in every language that there is.
type canAnswer struct {
	Allowed bool              `json:"allowed"`
	Error   string            `json:"error,omitempty"`
	Texts   map[string]string `json:"texts,omitempty"`
	Refusal any               `json:"org.beffroi.policy,omitempty"`
}

// can answers before the user tries. It says what the policy thinks; the rules
// of the room, such as power levels, have their own say.
//
// Divergence: the specification has no such call. A client that knows it can
// grey out what would be refused, and say why.
func (s *Server) can(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (out canAnswer, err error) {
	if err := s.limits.take(s.Now(), asking, who); err != nil {
		return out, err
	}
	query := r.URL.Query()
	action, known := policy.ParseAction(query.Get("action"))
	needs, ok := askable[action]
	if !known || !ok {
		return out, matrix.InvalidParam("action is one of %q", askableNames())
	}
	for name, needed := range map[string]bool{"room": needs.room, "user": needs.user, "address": needs.address} {
		if needed && query.Get(name) == "" {
			return out, matrix.MissingParam("%s is missing: %s is about one", name, action)
		}
	}
	var user matrix.UserID
	if needs.user {
		if user, err = matrix.ParseUserID(query.Get("user")); err != nil {
			return out, err
		}
	}
	var facts *policy.RoomFacts
	if needs.room {
		if facts, err = s.questionRoom(ctx, who, action, user, query.Get("room")); err != nil {
			return out, err
		}
	}
	shares, address := false, ""
	if needs.address {
		address = query.Get("address")
	}
	if action == policy.ActionReadProfile {
		if shares, err = s.sharesRoom(r, who.User, user); err != nil {
			return out, err
		}
	}
	return answerOf(s.question(action, who, user, facts, address, shares)), nil
}

// questionRoom reads the room of a question. Only what concerns oneself can be
// asked about a room that one is not in.
func (s *Server) questionRoom(ctx context.Context, who *caller, action policy.Action, user matrix.UserID, name string) (*policy.RoomFacts, error) {
	room, err := matrix.ParseRoomID(name)
	if err != nil {
		return nil, err
	}
	subject := user
	if subject == "" {
		subject = who.User
	}
	outside := action == policy.ActionJoin || action == policy.ActionKnock
	return s.Rooms.PolicyFacts(ctx, who.User, room, subject, outside)
}

func answerOf(d policy.Decision) canAnswer {
	refusal := d.Error("")
	if refusal == nil {
		return canAnswer{Allowed: true}
	}
	texts := map[string]string{"en": refusal.Text}
	for lang, text := range refusal.Texts {
		texts[lang] = text
	}
	return canAnswer{Error: refusal.Text, Texts: texts, Refusal: refusal.Fields["org.beffroi.policy"]}
}

func askableNames() (names []string) {
	for action := range askable {
		names = append(names, action.String())
	}
	slices.Sort(names)
	return names
}
