package roomserver

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// maxRecursion is how many relations lie between an event and those that
	// are told with recurse: a reaction to an edit of a message of a thread.
	maxRecursion = 3
	// maxRelated bounds the events that one request with recurse looks at.
	maxRelated = 5000
)

// RelationsRequest asks for the events that relate to one event.
type RelationsRequest struct {
	User          matrix.UserID
	Device        matrix.DeviceID
	Room          matrix.RoomID
	Event         matrix.EventID
	RelType, Type string            // "" is any
	From, To      *storage.Position // nil: the end of the history, and nowhere
	Forwards      bool
	Limit         int // 0 is 10
	Recurse       bool
}

// Relations is a page of events that relate to one event.
type Relations struct {
	Chunk     []json.RawMessage
	Next      string // "": there is no more
	Previous  string // "": this is the first page
	Recursion int    // how deep was looked, 0 where nobody asked
}

// Relations returns the events that relate to an event, as far as the user may
// see them. An event that the user may not see is 404 M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid
func (s *Server) Relations(ctx context.Context, req RelationsRequest) (out Relations, err error) {
	if req.Limit <= 0 {
		req.Limit = defaultPage
	}
	req.Limit = min(req.Limit, maxPage)
	err = s.db.View(ctx, func(r *storage.Reader) error {
		parent, sights, err := s.seenEvent(ctx, r, req.User, req.Room, req.Event)
		if err != nil {
			return err
		}
		q := req.page(parent.RoomNID)
		var refs []rooms.RelatedRef
		if req.Recurse {
			out.Recursion = maxRecursion
			refs, err = recurse(ctx, r, q, req.Event)
		} else {
			refs, err = rooms.RelatedTo(ctx, r, q, req.Event)
		}
		if err != nil {
			return err
		}
		if len(refs) > req.Limit {
			refs = refs[:req.Limit]
			out.Next = Token(after(refs[req.Limit-1].Pos, req.Forwards))
		}
		if req.From != nil {
			out.Previous = Token(*req.From)
		}
		out.Chunk, err = s.renderRefs(ctx, r, refs, Rendering{Sights: sights, Device: req.Device})
		return err
	})
	return out, err
}

// after returns the place from which to go on after an event.
func after(pos storage.Position, forwards bool) storage.Position {
	if forwards {
		return pos
	}
	return pos - 1
}

// page returns what to read: one event more than wanted, to see whether there
// are others.
func (req RelationsRequest) page(roomNID int64) rooms.Related {
	q := rooms.Related{RoomNID: roomNID, RelType: req.RelType, Type: req.Type, After: firstPosition, UpTo: lastPosition,
		Limit: req.Limit + 1, Backwards: !req.Forwards}
	first, last := &q.UpTo, &q.After
	if req.Forwards {
		first, last = last, first
	}
	if req.From != nil {
		*first = *req.From
	}
	if req.To != nil {
		*last = *req.To
	}
	return q
}

// recurse returns a page of the events that relate to an event, to one that
// relates to it, and so on.
func recurse(ctx context.Context, r *storage.Reader, q rooms.Related, root matrix.EventID) (found []rooms.RelatedRef, err error) {
	seen := map[matrix.EventID]bool{root: true}
	level := []matrix.EventID{root}
	for range maxRecursion {
		refs, err := rooms.RelatedToAny(ctx, r, q.RoomNID, level, maxRelated-len(seen))
		if err != nil {
			return nil, err
		}
		level = nil
		for _, ref := range refs {
			if seen[ref.ID] {
				continue
			}
			seen[ref.ID] = true
			level = append(level, ref.ID)
			if ref.Pos > q.After && ref.Pos <= q.UpTo && (q.RelType == "" || q.RelType == ref.RelType) && (q.Type == "" || q.Type == ref.Type) {
				found = append(found, ref)
			}
		}
		if len(level) == 0 || len(seen) >= maxRelated {
			break
		}
	}
	slices.SortFunc(found, func(a, b rooms.RelatedRef) int {
		if q.Backwards {
			return cmp.Compare(b.Pos, a.Pos)
		}
		return cmp.Compare(a.Pos, b.Pos)
	})
	return found[:min(len(found), q.Limit)], nil
}

// renderRefs renders those of the events that the user may see, in order.
func (s *Server) renderRefs(ctx context.Context, r *storage.Reader, refs []rooms.RelatedRef, how Rendering) ([]json.RawMessage, error) {
	nids := make([]int64, len(refs))
	for i, ref := range refs {
		nids[i] = ref.NID
	}
	events, err := rooms.EventsByNID(ctx, r, nids)
	if err != nil {
		return nil, err
	}
	list := make([]*rooms.Event, 0, len(refs))
	for _, nid := range nids {
		list = append(list, events[nid])
	}
	if err := how.Sights.Look(ctx, r, list); err != nil {
		return nil, err
	}
	return s.RenderEvents(ctx, r, how.Sights.Visible(list), how)
}

// ThreadsRequest asks for the threads of a room.
type ThreadsRequest struct {
	User         matrix.UserID
	Device       matrix.DeviceID
	Room         matrix.RoomID
	Participated bool // only those in which the user took part
	From         *storage.Position
	Limit        int // 0 is 10
}

// Threads returns the first events of the threads of a room, the thread with
// the newest event first, and the token of the next page, "" for none.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads
func (s *Server) Threads(ctx context.Context, req ThreadsRequest) (chunk []json.RawMessage, next string, err error) {
	if req.Limit <= 0 {
		req.Limit = defaultPage
	}
	req.Limit = min(req.Limit, maxPage)
	upTo := lastPosition
	if req.From != nil {
		upTo = *req.From
	}
	var by matrix.UserID
	if req.Participated {
		by = req.User
	}
	err = s.db.View(ctx, func(r *storage.Reader) error {
		a, err := s.reach(ctx, r, req.User, req.Room)
		if err != nil {
			return err
		}
		roots, err := rooms.Threads(ctx, r, a.room.NID, by, a.bound(upTo), req.Limit+1)
		if err != nil {
			return err
		}
		if len(roots) > req.Limit {
			roots = roots[:req.Limit]
			next = Token(roots[req.Limit-1].Latest - 1)
		}
		refs := make([]rooms.RelatedRef, len(roots))
		for i, root := range roots {
			refs[i].NID = root.NID
		}
		chunk, err = s.renderRefs(ctx, r, refs, Rendering{Sights: a.sights, Device: req.Device})
		return err
	})
	return chunk, next, err
}

// checkThread refuses a thread that begins at an event which itself relates to
// another one.
//
// https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships
func (s *Server) checkThread(ctx context.Context, req SendRequest) error {
	root, relType := rooms.RelatesTo(req.Content)
	if relType != rooms.RelThread {
		return nil
	}
	e, err := s.stored(ctx, root)
	if err != nil || e == nil || e.RoomID() != req.Room {
		return err
	}
	if _, relType := rooms.RelatesTo(e.Content()); relType != "" {
		return matrix.NewError(http.StatusBadRequest, "M_UNKNOWN", "a thread cannot begin at an event that relates to another one")
	}
	return nil
}
