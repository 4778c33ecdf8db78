package roomserver

import (
	"context"
	"slices"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// filteredPage is how many events are read at once where a filter drops some.
const filteredPage = 100

// walk collects the events of a room that a user may see and wants. It reads
// only where visible events can be, so it never ends early for those that are
// not.
type walk struct {
	*reach
	limit  int
	filter *Filter
	spans  []span

	events  []*rooms.Event
	at      storage.Position // where to go on: between the last event looked at and the next
	scanned int
	done    bool // there is nothing beyond at
	starved bool // there is nothing beyond at that this server has
}

func (a *reach) walk(limit int, filter *Filter) *walk {
	return &walk{reach: a, limit: limit, filter: filter, spans: a.sight.spans()}
}

// start returns where a walk begins: from, or the end of the history that it
// walks away from.
func (w *walk) start(from *storage.Position, backwards bool) storage.Position {
	switch {
	case from != nil:
		return *from
	case !backwards:
		return storage.Position(w.room.FirstPos) - 1
	case w.until > 0:
		return w.until - 1
	}
	return w.room.HeadPos
}

// back collects events before a place, the newest first, down to another.
func (w *walk) back(ctx context.Context, r *storage.Reader, from storage.Position, to *storage.Position) error {
	bottom := firstPosition - 1
	if to != nil {
		bottom = *to
	}
	w.at = from
	for _, sp := range slices.Backward(w.spans) {
		if sp.from > w.at {
			continue
		}
		w.at = min(w.at, sp.to)
		ended, err := w.stretch(ctx, r, max(sp.from-1, bottom), w.at, true)
		if err != nil || !ended {
			return err
		}
	}
	reaches := to == nil && len(w.spans) > 0 && w.spans[0].from == firstPosition && !w.atCreate()
	w.starved = reaches && len(w.events) < w.limit
	w.done = !reaches || w.starved
	if reaches {
		w.at = max(w.at, storage.Position(w.room.FirstPos)-1) // what comes later stands below
	}
	return nil
}

// forth collects events after a place, the oldest first, up to another.
func (w *walk) forth(ctx context.Context, r *storage.Reader, from storage.Position, to *storage.Position) error {
	top := lastPosition
	if to != nil {
		top = *to
	}
	w.at = from
	for _, sp := range w.spans {
		if sp.to <= w.at {
			continue
		}
		w.at = max(w.at, sp.from-1)
		ended, err := w.stretch(ctx, r, w.at, min(sp.to, top), false)
		if err != nil || !ended {
			return err
		}
	}
	w.done = true
	return nil
}

// stretch collects events with after < pos ≤ upTo. It reports whether it came
// to the end of them.
func (w *walk) stretch(ctx context.Context, r *storage.Reader, after, upTo storage.Position, backwards bool) (ended bool, err error) {
	for after < upTo {
		if len(w.events) >= w.limit || w.scanned >= maxScan {
			return backwards && w.atCreate(), nil
		}
		n := w.limit - len(w.events)
		if !w.filter.All() {
			n = max(n, filteredPage)
		}
		n = min(n, maxScan-w.scanned)
		list, err := rooms.Timeline(ctx, r, w.room.NID, after, upTo, n, backwards)
		if err != nil {
			return false, err
		}
		w.scanned += len(list)
		var related map[matrix.EventID]bool
		if w.filter.byRelation() {
			if related, err = rooms.RelatedBy(ctx, r, w.room.NID, list, w.filter.RelatedByRelTypes, w.filter.RelatedBySenders); err != nil {
				return false, err
			}
		}
		for _, e := range list {
			if len(w.events) == w.limit {
				return false, nil
			}
			if backwards {
				upTo, w.at = e.Pos-1, e.Pos-1
			} else {
				after, w.at = e.Pos, e.Pos
			}
			if w.sight.sees(w.sights.user, e) && w.filter.Wants(e) && (!w.filter.byRelation() || related[e.ID()]) {
				w.events = append(w.events, e)
			}
		}
		if len(list) < n {
			if backwards {
				w.at = after
			} else {
				w.at = upTo
			}
			return true, nil
		}
	}
	return true, nil
}

// atCreate reports whether the last event collected is the first of its room,
// and nothing stands before it.
func (w *walk) atCreate() bool {
	n := len(w.events)
	return n > 0 && w.events[n-1].IsStateKey("m.room.create", "") &&
		(w.room.FirstPos == 0 || w.events[n-1].Pos <= storage.Position(w.room.FirstPos))
}
