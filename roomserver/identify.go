package roomserver

import (
	"context"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// Identified is what can be said of an event before it is judged.
type Identified struct {
	ID  matrix.EventID // "" where the bytes are no event, or the room is not known
	Err error          // the room shuts its server out
}

// Identify names the events of one room that a server has sent, and says
// whether the room lets the server in. No room is waited for.
func (s *Server) Identify(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, pdus [][]byte) ([]Identified, error) {
	out := make([]Identified, len(pdus))
	var rules *matrix.VersionRules
	var shut error
	err := s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, room)
		if matrix.IsCode(err, "M_NOT_FOUND") {
			return nil
		}
		if err != nil {
			return err
		}
		if rules, err = row.RoomVersion.Rules(); err != nil {
			return err
		}
		if err = s.allowedByACL(ctx, r, room, origin); matrix.IsCode(err, "M_FORBIDDEN") {
			shut, err = err, nil
		}
		return err
	})
	if err != nil || rules == nil {
		return out, err
	}
	for i, raw := range pdus {
		if e, err := event.ParseUntrusted(raw, rules); err == nil && e.RoomID() == room {
			out[i] = Identified{e.ID(), shut}
		}
	}
	return out, nil
}
