package roomserver

import (
	"context"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// PolicyFacts returns what the policy knows of a room, for a question of asker
// about subject. Who has not joined the room is refused with 403 M_FORBIDDEN,
// unless outside says that the question is about coming in: then a room that
// this server does not know is M_NOT_FOUND.
func (s *Server) PolicyFacts(ctx context.Context, asker matrix.UserID, id matrix.RoomID, subject matrix.UserID, outside bool) (facts *policy.RoomFacts, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		find := func() (rooms.Room, error) { return s.joined(ctx, r, asker, id) }
		if outside {
			find = func() (rooms.Room, error) { return rooms.ByID(ctx, r, id) }
		}
		room, err := find()
		if err != nil {
			return err
		}
		if facts, err = roomFacts(ctx, r, room, subject); err != nil || facts.Rule != policy.Direct {
			return err
		}
		facts.Seats, err = seatsOfOthers(ctx, r, room, subject)
		return err
	})
	return facts, err
}

// seatsOfOthers counts the seats of a direct room that others than subject have.
func seatsOfOthers(ctx context.Context, r *storage.Reader, room rooms.Room, subject matrix.UserID) (n int, err error) {
	for _, membership := range []string{"join", "invite"} {
		list, err := rooms.MembersOf(ctx, r, room.NID, membership)
		if err != nil {
			return 0, err
		}
		for _, m := range list {
			if m.User != subject {
				n++
			}
		}
	}
	return n, nil
}
