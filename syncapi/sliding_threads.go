package syncapi

import (
	"context"
	"encoding/json"
	"math"

	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// maxThreads bounds the threads of one answer.
const maxThreads = 512

// ThreadPage is which threads a user follows, and which no longer.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4308
type ThreadPage struct {
	Subscribed   map[matrix.RoomID]map[matrix.EventID]threadMark `json:"subscribed,omitempty"`
	Unsubscribed map[matrix.RoomID]map[matrix.EventID]threadMark `json:"unsubscribed,omitempty"`
	PrevBatch    string                                          `json:"prev_batch,omitempty"`
	End          string                                          `json:"end,omitempty"`
}

type threadMark struct {
	Automatic *bool            `json:"automatic,omitempty"`
	BumpStamp storage.Position `json:"bump_stamp"`
}

// threadPage makes a page of a list that has one entry more than the limit
// where there is more. next is where that begins, "" for nowhere.
func threadPage(list []rooms.ThreadSubscription, limit int) (page ThreadPage, next string) {
	if len(list) > limit {
		list = list[:limit]
		next = roomserver.Token(list[limit-1].Pos)
	}
	put := func(m *map[matrix.RoomID]map[matrix.EventID]threadMark, t rooms.ThreadSubscription, mark threadMark) {
		if *m == nil {
			*m = make(map[matrix.RoomID]map[matrix.EventID]threadMark)
		}
		if (*m)[t.Room] == nil {
			(*m)[t.Room] = make(map[matrix.EventID]threadMark)
		}
		(*m)[t.Room][t.Root] = mark
	}
	for _, t := range list {
		if t.Subscribed {
			put(&page.Subscribed, t, threadMark{&t.Automatic, t.Pos})
		} else {
			put(&page.Unsubscribed, t, threadMark{nil, t.Pos})
		}
	}
	return page, next
}

// Threads returns a page of the threads that a user follows, or no longer
// does, backwards from a token, "" for the end, to another.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4308
func (s *Server) Threads(ctx context.Context, user matrix.UserID, from, to string, limit int) (ThreadPage, error) {
	after, before := storage.Position(0), storage.Position(math.MaxInt64)
	var err error
	if from != "" {
		if before, err = roomserver.ParseToken(from); err != nil {
			return ThreadPage{}, err
		}
	}
	if to != "" {
		if after, err = roomserver.ParseToken(to); err != nil {
			return ThreadPage{}, err
		}
	}
	limit = min(limit, maxThreads)
	list, err := s.Rooms.ThreadSubscriptions(ctx, user, after, before, limit+1)
	page, next := threadPage(list, limit)
	page.End = next
	return page, err
}

// slideThreads reads which threads the user follows, or what of that changed.
func (a *slideAnswer) slideThreads(ctx context.Context) error {
	after := storage.Position(0)
	if a.sl.conn.exts&extThreads != 0 {
		if after = a.from; !a.changes.all && !a.changes.threads {
			return nil
		}
	}
	limit := 100
	if asked := a.sl.req.Extensions.ThreadsLimit; asked > 0 {
		limit = min(asked, maxThreads)
	}
	list, err := rooms.ThreadSubscriptions(ctx, a.r, a.req.User, after, a.to+1, limit+1)
	if err != nil || len(list) == 0 {
		return err
	}
	page, next := threadPage(list, limit)
	page.PrevBatch = next
	a.ext.threads, err = json.Marshal(page)
	return err
}
