package sendqueue

import (
	"context"
	"encoding/json"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// RoomLog is the [Log] of the tables of package rooms, for the server self.
func RoomLog(db *storage.DB, self matrix.ServerName) Log { return &roomLog{db, self} }

type roomLog struct {
	db   *storage.DB
	self matrix.ServerName
}

func (l *roomLog) OutgoingEvents(ctx context.Context, after storage.Position, limit int) (page Page, err error) {
	err = l.db.View(ctx, func(r *storage.Reader) error {
		events, upTo, err := rooms.OutgoingEvents(ctx, r, l.self, after, limit)
		if err != nil {
			return err
		}
		head, err := storage.Head(ctx, r)
		if err != nil {
			return err
		}
		page.UpTo, page.More = upTo, upTo < head
		for _, e := range events {
			page.Events = append(page.Events, Outgoing{Pos: e.Pos, EventNID: e.Event.NID, Destinations: e.Destinations})
		}
		return nil
	})
	return page, err
}

func (l *roomLog) PDUs(ctx context.Context, eventNIDs []int64) (map[int64]json.RawMessage, error) {
	pdus := make(map[int64]json.RawMessage, len(eventNIDs))
	err := l.db.View(ctx, func(r *storage.Reader) error {
		events, err := rooms.EventsByNID(ctx, r, eventNIDs)
		for nid, e := range events {
			pdus[nid] = e.JSON()
		}
		return err
	})
	return pdus, err
}
