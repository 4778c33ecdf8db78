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

// beginning is before the position of every event.
const beginning storage.Position = math.MinInt64 / 2

// answer is one answer that is being made, from one snapshot.
type answer struct {
	s       *Server
	r       *storage.Reader
	account *account
	req     *Request
	filter  *filter

	since   *token           // nil: the client knows nothing
	from    storage.Position // of since
	to      storage.Position // the head of the log in the snapshot
	next    token
	changes changes

	sights  *roomserver.Sights
	rooms   map[int64]*room
	list    []*room // the same, in a fixed order
	ignored map[matrix.UserID]bool
	deltas  map[int64][]rooms.Delta
	loaded  map[int64]*rooms.Event // by number

	ear      roomserver.Ear
	data     accountDatas
	messages []json.RawMessage
	counts   []byte
	present  []json.RawMessage
	lists    deviceLists
}

// answer makes an answer. empty says that it has nothing in it.
func (s *Server) answer(ctx context.Context, acc *account, req *Request, f *filter, since *token) (
	out json.RawMessage, next token, empty bool, err error) {
	a := &answer{s: s, account: acc, req: req, filter: f, since: since, from: beginning,
		rooms: make(map[int64]*room), loaded: make(map[int64]*rooms.Event)}
	if since != nil {
		a.from = since.pos
	}
	if a.ear, err = s.Rooms.EarOf(ctx, acc.user); err != nil {
		return nil, token{}, false, err
	}
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		a.r = r
		return a.make(ctx)
	})
	if err != nil {
		return nil, token{}, false, err
	}
	if empty = a.empty(); empty && since != nil && !req.FullState {
		return nil, a.next, true, nil
	}
	out = a.render()
	s.notifier.sent(acc, req.Device, a)
	return out, a.next, empty, nil
}

// make reads what there is to tell, kind by kind.
func (a *answer) make(ctx context.Context) (err error) {
	if a.to, err = a.s.catchUp(ctx, a.r); err != nil {
		return err
	}
	t := token{pos: a.from}
	if a.since != nil {
		t = *a.since
	}
	a.changes = a.s.notifier.since(a.account, a.req.Device, t)
	a.changes.all = a.changes.all || a.since == nil || a.req.FullState
	a.next = token{a.to, a.changes.typing, a.to}
	for _, step := range []func(context.Context) error{
		a.readAccountData, a.selectRooms, a.spreadAccountData, a.readIgnored, a.readInvites,
		a.readTimelines, a.readBase, a.readDeltas, a.readSummaries, a.readMembers, a.readState,
		a.readReceipts, a.readTyping, a.readUnread, a.readPresence, a.renderEvents, a.readMessages, a.readLists, a.readCounts,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rules returns the rules of a room of this answer.
func (a *answer) rules(roomNID int64) *matrix.VersionRules {
	if room := a.rooms[roomNID]; room != nil {
		return room.Rules
	}
	return nil
}

// events returns stored events by their numbers.
func (a *answer) events(ctx context.Context, nids []int64) error {
	missing := make([]int64, 0, len(nids))
	for _, nid := range nids {
		if nid != 0 && a.loaded[nid] == nil {
			missing = append(missing, nid)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	found, err := rooms.LeanEventsByNID(ctx, a.r, missing, a.rules)
	for nid, e := range found {
		a.loaded[nid] = e
	}
	return err
}
