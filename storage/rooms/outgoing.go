package rooms

import (
	"context"
	"database/sql"
	"slices"

	"beffroi/matrix"
	"beffroi/storage"
)

// Outgoing is an event that this server sends and the servers that must have it.
type Outgoing struct {
	Pos          storage.Position
	RoomID       matrix.RoomID
	Event        *Event
	Destinations []matrix.ServerName // never this server
}

// OutgoingEvents returns what this server has to send of what happened after a
// position, at most limit events, and how far the log was read for it: beyond
// the last event returned there may be positions that are nobody's concern.
//
// An event goes to the servers that had a joined member when it was written;
// one that ends a membership also to the server of the member, which is no
// longer among them. The server of a guest has got the invitation already, and
// one that joined later what was before: sent again, it would look like a fork.
func OutgoingEvents(ctx context.Context, r *storage.Reader, self matrix.ServerName, after storage.Position,
	limit int) (out []Outgoing, head storage.Position, err error) {
	if head, err = storage.Head(ctx, r); err != nil {
		return nil, 0, err
	}
	const q = `SELECT ` + eventColumns + ` FROM events e
		WHERE e.outgoing = 1 AND e.pos > $1 ORDER BY e.pos LIMIT $2`
	var events []*Event
	if err := r.Each(ctx, q, []any{int64(after), limit}, func(rows *sql.Rows) error {
		e, err := scanEvent(rows.Scan)
		events = append(events, e)
		return err
	}); err != nil {
		return nil, 0, err
	}
	if len(events) == limit {
		head = events[limit-1].Pos
	}
	presences := make(map[int64]*presence)
	for _, e := range events {
		p := presences[e.RoomNID]
		if p == nil {
			if p, err = readPresence(ctx, r, e.RoomNID, e.Pos); err != nil {
				return nil, 0, err
			}
			presences[e.RoomNID] = p
		}
		out = append(out, Outgoing{e.Pos, e.RoomID(), e, destinations(e, p.at(e.Pos), self)})
	}
	return out, head, nil
}

func destinations(e *Event, joined []matrix.ServerName, self matrix.ServerName) []matrix.ServerName {
	to := joined
	if key, ok := e.StateKey(); ok && (e.Membership() == "leave" || e.Membership() == "ban") {
		to = append(to, matrix.UserID(key).Server())
	}
	slices.Sort(to)
	to = slices.Compact(to)
	sender := e.Sender().Server() // has it already
	return slices.DeleteFunc(to, func(name matrix.ServerName) bool { return name == self || name == sender || name == "" })
}

// presence is how many joined members servers had in a room at a position, and
// how that changed afterwards.
type presence struct {
	joined map[matrix.ServerName]int
	moves  []move // oldest first
}

// move is a member of a server who came or went.
type move struct {
	pos    storage.Position
	server matrix.ServerName
	by     int
}

// readPresence reads the presence in a room at a position.
func readPresence(ctx context.Context, r *storage.Reader, roomNID int64, from storage.Position) (*presence, error) {
	p := &presence{joined: make(map[matrix.ServerName]int)}
	const now = `SELECT server, COUNT(*) FROM memberships WHERE room_nid = $1 AND membership = 'join' GROUP BY server`
	if err := r.Each(ctx, now, []any{roomNID}, func(rows *sql.Rows) error {
		var server matrix.ServerName
		var n int
		err := rows.Scan(&server, &n)
		p.joined[server] = n
		return err
	}); err != nil {
		return nil, err
	}
	var deltas []Delta
	const q = `SELECT pos, type, state_key, old_nid, new_nid FROM state_delta
		WHERE room_nid = $1 AND pos > $2 AND type = 'm.room.member' ORDER BY pos`
	if err := r.Each(ctx, q, []any{roomNID, int64(from)}, func(rows *sql.Rows) error {
		d, err := scanDelta(rows)
		deltas = append(deltas, d)
		return err
	}); err != nil || len(deltas) == 0 {
		return p, err
	}
	var nids []int64
	for _, d := range deltas {
		nids = append(nids, d.OldNID, d.NewNID)
	}
	events, err := EventsByNID(ctx, r, nids)
	if err != nil {
		return nil, err
	}
	joined := func(nid int64) int {
		if e := events[nid]; e != nil && e.Membership() == "join" {
			return 1
		}
		return 0
	}
	for _, d := range deltas {
		if by := joined(d.NewNID) - joined(d.OldNID); by != 0 {
			server := matrix.UserID(d.StateKey).Server()
			p.moves = append(p.moves, move{d.Pos, server, by})
			p.joined[server] -= by // back to how it was
		}
	}
	return p, nil
}

// at returns the servers with a joined member after a position, which is never
// before one that was asked for earlier.
func (p *presence) at(pos storage.Position) (servers []matrix.ServerName) {
	for len(p.moves) > 0 && p.moves[0].pos <= pos {
		p.joined[p.moves[0].server] += p.moves[0].by
		p.moves = p.moves[1:]
	}
	for server, n := range p.joined {
		if n > 0 {
			servers = append(servers, server)
		}
	}
	return servers
}
