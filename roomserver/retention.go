package roomserver

import (
	"context"
	"time"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// Retention is how long messages are kept.
type Retention struct {
	// Default holds for rooms that say nothing. 0 is for ever.
	Default time.Duration
	// Min and Max bound what rooms may say, and Max the default. 0 is no bound.
	Min, Max time.Duration
}

const (
	// typeRetention is the state event by which a room says how long its
	// messages are kept: max_lifetime in milliseconds.
	// https://github.com/matrix-org/matrix-spec-proposals/pull/1763
	typeRetention = "m.room.retention"
	// retentionCursor is how far retention has gone through the rooms, by their
	// numbers, 0 when it is through.
	retentionCursor = "room retention"
	// retentionRooms is how many rooms are looked at in one step.
	retentionRooms = 200
	// clockLeap is after what gap retention waits for an hour: a clock that is
	// wrong by a year must not empty the rooms before somebody sees it.
	clockLeap = 24 * time.Hour
)

// lifetime returns how long the messages of a room are kept, 0 for ever.
// content is of its m.room.retention, nil for none. What is not understood is
// not there.
func (p Retention) lifetime(content []byte) time.Duration {
	keep := p.Default
	const most = int64(1<<63-1) / int64(time.Millisecond)
	if ms := gjson.GetBytes(content, "max_lifetime"); ms.Type == gjson.Number && ms.Num >= 1 && ms.Num < float64(most) {
		keep = max(time.Duration(ms.Num)*time.Millisecond, p.Min)
	}
	if p.Max > 0 && (keep == 0 || keep > p.Max) {
		keep = p.Max
	}
	return keep
}

// retain removes the messages that are older than their rooms keep them. The
// age of a message is counted from when it came, by the clock of this server:
// the date that its sender gave it may be wrong. Only history that was fetched
// from other servers is judged by its dates.
func (s *Server) retain(ctx context.Context, now time.Time) error {
	for {
		var list []rooms.Kept
		said := make(map[int64]*rooms.Event)
		if err := s.db.View(ctx, func(r *storage.Reader) error {
			after, err := storage.Cursor(ctx, r, retentionCursor)
			if err != nil {
				return err
			}
			if list, err = rooms.KeptRooms(ctx, r, int64(after), retentionRooms); err != nil || len(list) == 0 {
				return err
			}
			nids := make([]int64, len(list))
			for i, k := range list {
				nids[i] = k.NID
			}
			said, err = rooms.StateEventsOf(ctx, r, nids, typeRetention)
			return err
		}); err != nil {
			return err
		}
		for _, k := range list {
			var content []byte
			if e := said[k.NID]; e != nil {
				content = e.Content()
			}
			if keep := s.retention.lifetime(content); keep > 0 {
				if err := s.retainRoom(ctx, k, now.Add(-keep).UnixMilli()); err != nil {
					return err
				}
			}
		}
		next := storage.Position(0)
		if len(list) == retentionRooms {
			next = storage.Position(list[len(list)-1].NID)
		}
		if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			return storage.SetCursor(ctx, tx, retentionCursor, next)
		}); err != nil || next == 0 {
			return err
		}
	}
}

// retainRoom removes the messages of a room from before a time.
func (s *Server) retainRoom(ctx context.Context, k rooms.Kept, before int64) error {
	if k.FirstPos < 0 {
		past := rooms.Purge{RoomNID: k.NID, After: rooms.FirstPosition, UpTo: -1, BeforeTS: before}
		if err := s.purge(ctx, past, false); err != nil {
			return err
		}
	}
	var upTo storage.Position
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		upTo, err = rooms.HeadAt(ctx, r, before)
		return err
	}); err != nil {
		return err
	}
	if upTo = min(upTo, k.HeadPos); upTo <= k.PurgedTo {
		return nil
	}
	return s.purge(ctx, rooms.Purge{RoomNID: k.NID, After: k.PurgedTo, UpTo: upTo}, true)
}

// purge does a purge in steps. Where it is noted, the next one begins where
// this one ends, or at a tip, which may go once it is none.
func (s *Server) purge(ctx context.Context, p rooms.Purge, note bool) error {
	var tip storage.Position
	for {
		start := time.Now()
		var step rooms.Purged
		if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
			if step, err = rooms.PurgeStep(ctx, tx, p, stepRows); err != nil || !note {
				return err
			}
			reached := step.Reached
			for _, t := range []storage.Position{tip, step.Tip} {
				if t > 0 {
					reached = min(reached, t-1)
				}
			}
			return rooms.SetPurged(ctx, tx, p.RoomNID, reached)
		}); err != nil {
			if matrix.IsCode(err, "M_NOT_FOUND") {
				return nil // it was removed since
			}
			return err
		}
		s.forget(step.Events)
		if tip == 0 {
			tip = step.Tip
		}
		if step.Done {
			return nil
		}
		p.After = step.Reached
		if err := giveWay(ctx, start); err != nil {
			return err
		}
	}
}
