package syncapi

import (
	"context"
	"strconv"

	"beffroi/storage"
	"beffroi/storage/rooms"
)

// slideUnread counts what the user has not read of the rooms that are told of,
// and tells of those where nothing but that has changed: the user has read them,
// maybe with another client.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4186
func (a *slideAnswer) slideUnread(ctx context.Context) error {
	var list []rooms.Standing
	for _, p := range a.told {
		if p.rm.section == joined {
			list = append(list, p.rm.Standing)
		}
	}
	quiet, err := a.maybeRead(ctx)
	if err != nil {
		return err
	}
	for _, p := range quiet {
		list = append(list, p.rm.Standing)
	}
	if len(list) == 0 {
		return nil
	}
	unread, err := a.ear.Unread(ctx, a.r, list)
	if err != nil {
		return err
	}
	for _, p := range a.told {
		p.rm.unread = unread[p.nid]
	}
	var read []int64
	for _, p := range quiet {
		if u := unread[p.nid]; u != nil && u.Moved > a.readSince(p) {
			p.rm.unread = u
			a.told = append(a.told, p)
			read = append(read, p.nid)
		}
	}
	bumps, err := rooms.Bumps(ctx, a.r, read)
	for _, nid := range read {
		p := a.byNID[nid]
		if p.bump = bumps[nid]; p.bump == 0 {
			p.bump = p.rm.Pos
		}
	}
	return err
}

// maybeRead returns the rooms that are not told of and in which somebody has
// read since the client was told how much is unread.
func (a *slideAnswer) maybeRead(ctx context.Context) (list []*pick, err error) {
	told := make(map[int64]bool, len(a.told))
	for _, p := range a.told {
		told[p.nid] = true
	}
	var nids []int64
	for _, p := range a.picks {
		if p.had && p.word == "join" && !told[p.nid] && (a.changes.all || p.receipts > a.readSince(p)) {
			nids = append(nids, p.nid)
		}
	}
	if len(nids) == 0 {
		return nil, nil
	}
	standings, err := rooms.StandingsIn(ctx, a.r, a.req.User, nids)
	for i := range standings {
		m := &standings[i]
		p := a.byNID[m.RoomNID]
		if m.Membership != "join" || p.look && p.rm == nil {
			continue
		}
		if p.rm == nil {
			p.rm = &room{Standing: *m}
		}
		list = append(list, p)
	}
	return list, err
}

// readSince returns up to where the client knows what the user has read of a
// room. Of one that was out of its view that is known where it asks for receipts.
func (a *slideAnswer) readSince(p *pick) storage.Position {
	if at := p.sent.upTo[streamReceipts]; at > 0 && a.sl.req.Extensions.Receipts.covers(p) {
		return at
	}
	return a.from
}

// appendSlideUnread writes the counts of a room, with those of its threads.
func appendSlideUnread(out []byte, rm *room) []byte {
	if rm.unread == nil {
		return out
	}
	all := rm.unread.All()
	out = strconv.AppendInt(append(out, `,"notification_count":`...), all.Notifications, 10)
	return strconv.AppendInt(append(out, `,"highlight_count":`...), all.Highlights, 10)
}
