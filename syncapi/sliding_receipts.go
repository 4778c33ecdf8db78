package syncapi

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/storage/rooms"
)

// slideReceipts reads who has read how far: in rooms that are new to the
// client those receipts that it can show, in others all that moved.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3960
func (a *slideAnswer) slideReceipts(ctx context.Context) error {
	late, since := a.lateRooms(&a.sl.req.Extensions.Receipts, streamReceipts)
	list, err := a.newReceipts(ctx, late)
	if err != nil {
		return err
	}
	oldest := a.to
	var nids []int64
	for _, p := range a.picks {
		from, in := since[p.nid]
		if !in || from == beginning || p.receipts <= from && !a.changes.all {
			continue
		}
		nids = append(nids, p.nid)
		oldest = min(oldest, from)
	}
	moved, err := rooms.Receipts(ctx, a.r, nids, max(oldest, 0), a.to)
	if err != nil {
		return err
	}
	for _, rc := range moved {
		if rc.Pos > since[rc.RoomNID] {
			list = append(list, rc)
		}
	}
	a.sortReceipts(list)
	return nil
}

// newReceipts returns the receipts for what is told of the timelines of rooms
// that are new to the client or told with more of the past, and in new rooms
// the user's own.
func (a *slideAnswer) newReceipts(ctx context.Context, late []*pick) ([]rooms.Receipt, error) {
	var ids []matrix.EventID
	var own []int64
	add := func(p *pick) {
		if p.rm != nil {
			for _, e := range p.rm.timeline {
				ids = append(ids, e.ID())
			}
		}
	}
	for _, p := range late {
		if p.initial || p.sent.upTo[streamReceipts] == never {
			own = append(own, p.nid)
			add(p)
		}
	}
	for _, p := range a.picks {
		if p.expanded && a.sl.req.Extensions.Receipts.covers(p) {
			add(p)
		}
	}
	list, err := rooms.ReceiptsOn(ctx, a.r, ids)
	if err != nil {
		return nil, err
	}
	mine, err := rooms.ReceiptsBy(ctx, a.r, a.req.User, own)
	return append(list, mine...), err
}

// sortReceipts makes the event of each room. It has one place for each user
// beside an event: of receipts in several threads for the same event, one that
// is in none comes first.
func (a *slideAnswer) sortReceipts(list []rooms.Receipt) {
	list = slices.DeleteFunc(list, func(rc rooms.Receipt) bool {
		return a.byNID[rc.RoomNID] == nil || rc.Type == receiptPrivate && rc.User != a.req.User || rc.Pos > a.to
	})
	slices.SortFunc(list, func(x, y rooms.Receipt) int {
		return cmp.Or(cmp.Compare(x.RoomNID, y.RoomNID), cmp.Compare(x.EventID, y.EventID),
			cmp.Compare(x.Type, y.Type), cmp.Compare(x.User, y.User), cmp.Compare(x.ThreadID, y.ThreadID))
	})
	list = slices.CompactFunc(list, func(x, y rooms.Receipt) bool {
		return x.RoomNID == y.RoomNID && x.EventID == y.EventID && x.Type == y.Type && x.User == y.User
	})
	a.ext.receipts = make(map[matrix.RoomID]json.RawMessage)
	for len(list) > 0 {
		nid := list[0].RoomNID
		n := slices.IndexFunc(list, func(rc rooms.Receipt) bool { return rc.RoomNID != nid })
		if n < 0 {
			n = len(list)
		}
		a.ext.receipts[a.byNID[nid].id] = receiptEvents(list[:n])[0]
		list = list[n:]
	}
}
