package roomserver

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/matrix/pushrules"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// audience is who of this server hears what is said in a room, and by which
// push rules. Members whose rules say the same of the room are one group, so
// that a message costs as much as there are different rules, and not members.
//
// It is guarded by the lock of the room.
type audience struct {
	members   map[matrix.UserID]*listeners // nil: they changed nothing
	groups    map[string]*listeners
	ignoredBy map[matrix.UserID]map[matrix.UserID]bool // by whom they ignore
	fresh     []matrix.UserID                          // whose rules are not read yet
	seen      uint64                                   // of the changes of rules
}

// listeners are members with the same rules in a room.
type listeners struct {
	changes pushrules.Changes
	rules   *pushrules.Rules // of nobody: whom an event names is looked at one by one
	said    [notices]verdictOf
	users   map[matrix.UserID]bool
}

// verdictOf is what rules say of an event.
type verdictOf struct{ notify, highlight bool }

func verdictIn(o pushrules.Outcome) verdictOf { return verdictOf{o.Notify, o.Notify && o.Highlight} }

// nobody is the user of rules that are everybody's. No event names it.
const nobody matrix.UserID = "@"

// newAudience returns that of a room without members of this server, as of
// a position of the changes of rules.
func newAudience(seen uint64) *audience {
	return &audience{members: make(map[matrix.UserID]*listeners), groups: make(map[string]*listeners),
		ignoredBy: make(map[matrix.UserID]map[matrix.UserID]bool), seen: seen}
}

// loadAudience reads who hears a room with nothing in flight. seen is from
// before the snapshot of the reader.
func (s *Server) loadAudience(ctx context.Context, r *storage.Reader, rm *room, nid int64, seen uint64) error {
	a := newAudience(seen)
	list, err := rooms.Listeners(ctx, r, nid, s.self)
	if err != nil {
		return err
	}
	for _, l := range list {
		a.put(rm.id, l)
	}
	rm.audience = a
	return nil
}

// put adds a member, or their new rules.
func (a *audience) put(room matrix.RoomID, l rooms.Listener) {
	a.remove(l.User)
	a.members[l.User] = nil
	for _, user := range ignoredIn(l.Ignored) {
		if a.ignoredBy[user] == nil {
			a.ignoredBy[user] = make(map[matrix.UserID]bool)
		}
		a.ignoredBy[user][l.User] = true
	}
	changes, ok := changesIn(l.Rules)
	if !ok {
		return
	}
	within := changes.Within(room)
	raw, err := json.Marshal(within)
	if err != nil {
		return // it was made of JSON
	}
	key := string(raw)
	if within.Personal() {
		key += string(l.User)
	}
	g := a.groups[key]
	if g == nil {
		who := nobody
		if within.Personal() {
			who = l.User
		}
		rules := within.Ruleset(who)
		g = &listeners{changes: within, rules: pushrules.Compile(who, &rules), users: make(map[matrix.UserID]bool)}
		for kind := range g.said {
			g.said[kind] = verdictIn(evaluateSample(g.rules, room, kind))
		}
		a.groups[key] = g
	}
	g.users[l.User] = true
	a.members[l.User] = g
}

func (a *audience) remove(user matrix.UserID) {
	if g := a.members[user]; g != nil {
		delete(g.users, user)
		if len(g.users) == 0 {
			for key, other := range a.groups {
				if other == g {
					delete(a.groups, key)
				}
			}
		}
	}
	delete(a.members, user)
	for _, by := range a.ignoredBy {
		delete(by, user)
	}
}

// changesIn reads what a user changed of their push rules; ok is false where
// that is nothing.
func changesIn(content string) (c pushrules.Changes, ok bool) {
	if content == "" {
		return c, false
	}
	err := json.Unmarshal([]byte(content), &c)
	return c, err == nil
}

// maxIgnored bounds whom one user ignores.
const maxIgnored = 10_000

// ignoredIn reads whom a user ignores.
func ignoredIn(content string) (users []matrix.UserID) {
	list := canonicaljson.Object(canonicaljson.Field([]byte(content), "ignored_users"))
	for m, ok := list.Next(); ok && len(users) < maxIgnored; m, ok = list.Next() {
		users = append(users, matrix.UserID(m.Name()))
	}
	return users
}

// moved follows a change of a membership.
func (a *audience) moved(self matrix.ServerName, was, is *event.Event) {
	if a == nil {
		return
	}
	if is != nil && is.Membership() == "join" {
		if user := matrix.UserID(stateKeyOf(is)); user.Server() == self {
			if _, in := a.members[user]; !in {
				a.members[user] = nil
				a.fresh = append(a.fresh, user)
			}
		}
		return
	}
	if was != nil && was.Membership() == "join" {
		a.remove(matrix.UserID(stateKeyOf(was)))
	}
}

func stateKeyOf(e *event.Event) string {
	key, _ := e.StateKey()
	return key
}

// refresh reads the rules of those who joined, or changed them, since it was
// last called.
func (s *Server) refresh(ctx context.Context, rm *room) error {
	a := rm.audience
	changed, now, all := s.hearing.since(a.seen)
	stale := slices.Clone(a.fresh)
	if all {
		stale = stale[:0]
		for user := range a.members {
			stale = append(stale, user)
		}
	}
	for _, user := range changed {
		if _, in := a.members[user]; in {
			stale = append(stale, user)
		}
	}
	if len(stale) > 0 {
		if err := s.db.View(ctx, func(r *storage.Reader) error {
			list, err := rooms.RulesOf(ctx, r, stale)
			for _, l := range list {
				if _, in := a.members[l.User]; in {
					a.put(rm.id, l)
				}
			}
			return err
		}); err != nil {
			return err
		}
	}
	a.fresh, a.seen = nil, now
	return nil
}

// maxHearing bounds how many changes of rules are remembered. A room that is
// behind by more reads those of all its members.
const maxHearing = 4096

// hearing is who changed what they want to hear of, in memory.
type hearing struct {
	mu      sync.Mutex
	changed []matrix.UserID // guarded by mu: the last
	next    uint64          // guarded by mu: the number of the next
}

func (h *hearing) position() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next
}

// since returns who changed something since a position; all says that it is
// not known.
func (h *hearing) since(seen uint64) (users []matrix.UserID, now uint64, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	behind := h.next - seen
	if behind > uint64(len(h.changed)) {
		return nil, h.next, true
	}
	return slices.Clone(h.changed[len(h.changed)-int(behind):]), h.next, false
}

func (h *hearing) note(user matrix.UserID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.changed) >= maxHearing {
		h.changed = slices.Delete(h.changed, 0, maxHearing/2)
	}
	h.changed = append(h.changed, user)
	h.next++
}

// keep calls fn, which keeps something that was read, unless anything has
// changed since then.
func (h *hearing) keep(at uint64, fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == at {
		fn()
	}
}

// PushRulesChanged says that an account has changed its push rules or whom it
// ignores, once that is committed.
func (s *Server) PushRulesChanged(user matrix.UserID) {
	s.hearing.note(user)
	s.rulesOf.Invalidate(user)
}
