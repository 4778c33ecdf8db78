package roomserver

import (
	"context"
	"net/http"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// ThreadRequest names a thread that a user follows, or shall.
type ThreadRequest struct {
	User matrix.UserID
	Room matrix.RoomID
	Root matrix.EventID
	// Because is the event of the thread for which a client makes the user
	// follow it; "" is a wish of the user.
	Because matrix.EventID
}

// FollowThread makes a user follow a thread. It is 404 M_NOT_FOUND where the
// user does not see its root. A client that makes the user follow it for an
// event gets 400 where that is not in the thread, and 409 where the user has
// stopped following it since.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4306
func (s *Server) FollowThread(ctx context.Context, req ThreadRequest) error {
	var because *rooms.Event
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		if _, _, err = s.seenEvent(ctx, r, req.User, req.Room, req.Root); err == nil && req.Because != "" {
			because, err = s.threadCause(ctx, r, req)
		}
		return err
	}); err != nil {
		return err
	}
	return s.setThread(ctx, req, func(now rooms.ThreadSubscription, known bool) (*rooms.ThreadSubscription, error) {
		next := rooms.ThreadSubscription{Room: req.Room, Root: req.Root, Subscribed: true, Automatic: because != nil}
		switch {
		case known && now.Subscribed && (now.Automatic == next.Automatic || next.Automatic):
			return nil, nil // what the user wished stays
		case known && !now.Subscribed && because != nil && because.Pos < now.Pos:
			return nil, matrix.NewError(http.StatusConflict, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION",
				"%s has stopped following this thread since", req.User)
		}
		return &next, nil
	})
}

// threadCause returns the event for which a client makes a user follow a thread.
func (s *Server) threadCause(ctx context.Context, r *storage.Reader, req ThreadRequest) (*rooms.Event, error) {
	outside := matrix.NewError(http.StatusBadRequest, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", "the event is not in this thread")
	e, _, err := s.seenEvent(ctx, r, req.User, req.Room, req.Because)
	switch {
	case matrix.IsCode(err, "M_NOT_FOUND") || matrix.IsCode(err, "M_FORBIDDEN"):
		return nil, outside
	case err != nil:
		return nil, err
	case e.ID() == req.Root:
		return e, nil
	}
	relation := canonicaljson.Field(e.Content(), "m.relates_to")
	if string(canonicaljson.Field(relation, "rel_type")) != `"m.thread"` ||
		string(canonicaljson.Field(relation, "event_id")) != string(canonicaljson.AppendString(nil, string(req.Root))) {
		return nil, outside
	}
	return e, nil
}

// LeaveThread makes a user follow a thread no longer. It is 404 M_NOT_FOUND
// where the user does not see its root.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4306
func (s *Server) LeaveThread(ctx context.Context, req ThreadRequest) error {
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		_, _, err := s.seenEvent(ctx, r, req.User, req.Room, req.Root)
		return err
	}); err != nil {
		return err
	}
	return s.setThread(ctx, req, func(now rooms.ThreadSubscription, known bool) (*rooms.ThreadSubscription, error) {
		if !known || !now.Subscribed {
			return nil, nil
		}
		return &rooms.ThreadSubscription{Room: req.Room, Root: req.Root}, nil
	})
}

func (s *Server) setThread(ctx context.Context, req ThreadRequest,
	change func(now rooms.ThreadSubscription, known bool) (*rooms.ThreadSubscription, error)) error {
	_, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		now, known, err := rooms.ThreadSubscriptionOf(ctx, &tx.Reader, req.User, req.Room, req.Root)
		if err != nil {
			return err
		}
		next, err := change(now, known)
		if err != nil || next == nil {
			return err
		}
		return rooms.SetThreadSubscription(ctx, tx, req.User, *next)
	})
	return err
}

// FollowsThread returns whether a user follows a thread for an event, or
// M_NOT_FOUND where they do not follow it, or do not see it.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4306
func (s *Server) FollowsThread(ctx context.Context, req ThreadRequest) (automatic bool, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		if _, _, err := s.seenEvent(ctx, r, req.User, req.Room, req.Root); err != nil {
			return err
		}
		now, known, err := rooms.ThreadSubscriptionOf(ctx, r, req.User, req.Room, req.Root)
		if err == nil && (!known || !now.Subscribed) {
			err = matrix.NotFound("%s does not follow this thread", req.User)
		}
		automatic = now.Automatic
		return err
	})
	return automatic, err
}

// ThreadSubscriptions returns which threads a user follows, or no longer does,
// that changed between two positions, the latest first.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4308
func (s *Server) ThreadSubscriptions(ctx context.Context, user matrix.UserID, after, before storage.Position, limit int) (list []rooms.ThreadSubscription, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		list, err = rooms.ThreadSubscriptions(ctx, r, user, after, before, limit)
		return err
	})
	return list, err
}
