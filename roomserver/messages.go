package roomserver

import (
	"context"
	"encoding/json"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// defaultPage and maxPage are how many events one answer has.
	defaultPage = 10
	maxPage     = 500
	// maxScan bounds how many events one request holds against a filter. What
	// is left the client asks for with the token it gets.
	maxScan = 5000
	// maxBackfills bounds how often one request asks other servers.
	maxBackfills = 3
	// backfillTimeout bounds how long a client waits for other servers.
	backfillTimeout = 10 * time.Second
)

// MessagesRequest is a page of the history of a room.
type MessagesRequest struct {
	User   matrix.UserID
	Device matrix.DeviceID
	Room   matrix.RoomID
	// From is where to begin: nil is the end of the history where Backwards,
	// else its beginning. To is where to stop; nil is nowhere.
	From, To  *storage.Position
	Backwards bool
	Limit     int // 0 is 10
	Filter    Filter
}

// Page is the answer of messages.
type Page struct {
	Chunk []json.RawMessage `json:"chunk"`
	State []json.RawMessage `json:"state,omitempty"`
	Start string            `json:"start"`
	End   string            `json:"end,omitempty"` // "": there is no more
}

// Messages returns a page of the history of a room as a user may see it. Where
// this server's copy of the history ends before the room begins, it asks other
// servers for more. Who may not read the room gets 403 M_FORBIDDEN.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
func (s *Server) Messages(ctx context.Context, req MessagesRequest) (page Page, err error) {
	if req.Limit == 0 {
		req.Limit = defaultPage
	}
	if req.Filter.Limit > 0 {
		req.Limit = min(req.Limit, req.Filter.Limit)
	}
	if req.Limit < 0 {
		return page, matrix.InvalidParam("the limit is negative")
	}
	req.Limit = min(req.Limit, maxPage)
	for range maxBackfills {
		var starved bool
		if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
			page, starved, err = s.page(ctx, r, req)
			return err
		}); err != nil || !starved {
			return page, err
		}
		if !s.fetchMore(ctx, req.Room, req.Limit) {
			page.End = ""
			return page, nil
		}
	}
	return page, nil
}

// fetchMore asks other servers for older events, and reports whether there are
// now more than before.
func (s *Server) fetchMore(ctx context.Context, room matrix.RoomID, limit int) bool {
	ctx, cancel := context.WithTimeout(ctx, backfillTimeout)
	defer cancel()
	more, err := s.backfill(ctx, room, limit)
	if err != nil {
		s.log.InfoContext(ctx, "no older events", "room_id", room, "error", err)
	}
	return more && err == nil
}

// page reads one page. starved says that it has fewer events than it might
// because this server has no older ones.
func (s *Server) page(ctx context.Context, r *storage.Reader, req MessagesRequest) (page Page, starved bool, err error) {
	a, err := s.reach(ctx, r, req.User, req.Room)
	if err != nil {
		return page, false, err
	}
	w := a.walk(req.Limit, &req.Filter)
	from := w.start(req.From, req.Backwards)
	if req.Backwards {
		err = w.back(ctx, r, from, req.To)
	} else {
		err = w.forth(ctx, r, from, req.To)
	}
	if err != nil {
		return page, false, err
	}
	how := Rendering{Sights: a.sights, Device: req.Device}
	page.Start = Token(from)
	if page.Chunk, err = s.RenderEvents(ctx, r, w.events, how); err != nil {
		return page, false, err
	}
	if req.Filter.LazyLoadMembers {
		page.State, err = s.senders(ctx, r, a, w.events, how)
	}
	starved = w.starved && a.until == 0 && !a.peeking
	if !w.done || starved {
		page.End = Token(w.at)
	}
	return page, starved, err
}

// senders returns the memberships of those who sent some events, as they were
// at the newest of them.
func (s *Server) senders(ctx context.Context, r *storage.Reader, a *reach, events []*rooms.Event, how Rendering) ([]json.RawMessage, error) {
	if len(events) == 0 {
		return nil, nil
	}
	newest := firstPosition
	seen := make(map[matrix.UserID]bool)
	var users []string
	for _, e := range events {
		newest = max(newest, e.Pos)
		if !seen[e.Sender()] {
			seen[e.Sender()] = true
			users = append(users, string(e.Sender()))
		}
	}
	members, err := rooms.MembersBefore(ctx, r, a.room.NID, users, a.bound(newest+1))
	if err != nil {
		return nil, err
	}
	list := make([]*rooms.Event, 0, len(members))
	for _, user := range users {
		if e := members[user]; e != nil {
			list = append(list, e)
		}
	}
	how.Plain = true
	return s.RenderEvents(ctx, r, list, how)
}
