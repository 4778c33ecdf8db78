package roomserver

import (
	"cmp"
	"context"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// mergeAbove is how many tips a room may have before this server ties them
	// together. Each costs a state when the next fork is resolved.
	mergeAbove = 10
	// mergeType is the type of the event that does so. Other servers and clients
	// know it as one that says nothing.
	mergeType = "org.matrix.dummy_event"
	// maxMergers bounds the members who are tried for it.
	maxMergers = 5
)

// mergeTips ties the tips of a room together by an event of a member of this
// server, where one may send it. Without one the room stays as it is: forks
// beyond what one event can follow are refused then.
func (s *Server) mergeTips(ctx context.Context, id matrix.RoomID) {
	err := s.change(ctx, id, func(ctx context.Context, d *draft) error {
		if len(d.rm.tips) <= mergeAbove {
			return nil
		}
		users, err := s.speakers(ctx, d)
		if err != nil {
			return err
		}
		for _, user := range users {
			if _, err = s.build(ctx, d, event.Proto{Sender: user, Type: mergeType}, false); err == nil || d.moved {
				return err
			}
		}
		return err
	})
	if err != nil {
		s.log.InfoContext(ctx, "forks not merged", "room_id", id, "error", err)
	}
}

// speakers returns joined members of this server, the most powerful first.
func (s *Server) speakers(ctx context.Context, d *draft) (users []matrix.UserID, err error) {
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		users, err = rooms.JoinedOf(ctx, r, d.rm.nid, s.self, maxSpeakers)
		return err
	}); err != nil {
		return nil, err
	}
	levels, err := d.cur.PowerLevels()
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(users, func(a, b matrix.UserID) int { return cmp.Compare(levels.User(b), levels.User(a)) })
	return users[:min(len(users), maxMergers)], nil
}

// maxSpeakers bounds the members that are looked at for the most powerful.
const maxSpeakers = 100
