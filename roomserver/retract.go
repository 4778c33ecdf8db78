package roomserver

import (
	"context"
	"slices"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// retraction reports whether bytes look like the end of an invitation or a
// knock of a user of this server by somebody else.
func (s *Server) retraction(raw []byte) bool {
	fields := gjson.GetManyBytes(raw, "type", "content.membership", "state_key", "sender")
	switch {
	case fields[0].Str != "m.room.member" || fields[1].Str != "leave" && fields[1].Str != "ban":
		return false
	case fields[2].Str == fields[3].Str:
		return false
	}
	user, err := matrix.ParseUserID(fields[2].Str)
	return err == nil && s.local(user)
}

// receiveRetraction ends an invitation or a knock of a user of this server in
// a room that the server is not in, and so cannot judge what happens there.
// Whoever names the offer among the auth events was told of it; an invitation
// ends by the word of its own server alone, and a knock by that of any server
// in the room. done says that the event was for such an offer.
func (s *Server) receiveRetraction(ctx context.Context, room matrix.RoomID, raw []byte) (done bool, err error) {
	user := matrix.UserID(gjson.GetBytes(raw, "state_key").Str)
	member, resident, err := s.memberOf(ctx, room, user)
	if err != nil || resident || member.Membership != "invite" && member.Membership != "knock" {
		if matrix.IsCode(err, "M_NOT_FOUND") {
			err = nil
		}
		return false, err
	}
	var offer *rooms.Event
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		found, err := rooms.EventsByNID(ctx, r, []int64{member.EventNID})
		offer = found[member.EventNID]
		return err
	}); err != nil || offer == nil {
		return false, err
	}
	e, err := event.ParseUntrusted(raw, offer.Rules())
	if err != nil {
		return false, err
	}
	switch {
	case e.RoomID() != room:
		return false, matrix.BadJSON("the event is of another room")
	case !slices.Contains(e.AuthEvents(), offer.ID()):
		return false, nil
	case member.Membership == "invite" && e.Sender().Server() != offer.Sender().Server():
		return false, matrix.Forbidden("an invitation ends by a user of the server that sent it")
	}
	if err := event.VerifySignatures(ctx, s.keys, []*event.Event{e})[0]; err != nil {
		return false, err
	}
	return true, s.keepOffer(ctx, e, nil)
}
