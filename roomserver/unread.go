package roomserver

import (
	"context"

	"beffroi/matrix"
	"beffroi/matrix/pushrules"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// maxUnread is up to where events are counted, of a room and of each kind:
	// no client shows more, and a count must not cost more than its answer.
	//
	// Divergence: a count of notifications ends at 1,000 for the main timeline and 1,000 for its threads.
	maxUnread = 1000
	// maxRuleSets bounds the compiled rules that are kept in memory.
	maxRuleSets = 10_000
)

// Count is how many events a user is notified of and has not read, and how
// many of them are highlights.
type Count struct{ Notifications, Highlights int64 }

func (c *Count) add(v verdictOf, n int64) {
	if v.notify {
		c.Notifications += n
		if v.highlight {
			c.Highlights += n
		}
	}
}

// Unread is what a user has not read of a room.
type Unread struct {
	Main    Count
	Threads map[matrix.EventID]Count // those with anything unread
	Moved   storage.Position         // of the user's last receipt
}

// All counts the main timeline and the threads together.
func (u *Unread) All() Count {
	all := u.Main
	for _, c := range u.Threads {
		all.Notifications += c.Notifications
		all.Highlights += c.Highlights
	}
	return all
}

// Ear is what an account wants to hear of.
type Ear struct {
	s     *Server
	user  matrix.UserID
	rules *pushrules.Rules // nil: the default rules
}

// EarOf returns what an account wants to hear of. It is kept in memory; it
// must not be called where a reader of the database is held.
func (s *Server) EarOf(ctx context.Context, user matrix.UserID) (Ear, error) {
	ear := Ear{s: s, user: user}
	var ok bool
	if ear.rules, ok = s.rulesOf.GetIfPresent(user); ok {
		return ear, nil
	}
	at := s.hearing.position()
	err := s.db.View(ctx, func(r *storage.Reader) error {
		list, err := rooms.RulesOf(ctx, r, []matrix.UserID{user})
		if err != nil {
			return err
		}
		for _, l := range list {
			if changes, changed := changesIn(l.Rules); changed {
				rules := changes.Ruleset(user)
				ear.rules = pushrules.Compile(user, &rules)
			}
		}
		return nil
	})
	if err == nil {
		s.hearing.keep(at, func() { s.rulesOf.Set(user, ear.rules) })
	}
	return ear, err
}

// said returns what the rules say of every event of a room with a notice.
func (e *Ear) said(room matrix.RoomID, notice int) verdictOf {
	switch {
	case notice <= noticeNone || notice >= notices:
		return verdictOf{}
	case e.rules == nil:
		return e.s.said[notice]
	}
	return verdictIn(evaluateSample(e.rules, room, notice))
}

// Unread counts what a user has not read of rooms that they have joined. What
// is for everybody is counted as the push rules of the user are now, what is
// for them alone as they were when it came.
//
// https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
func (e *Ear) Unread(ctx context.Context, r *storage.Reader, joined []rooms.Standing) (map[int64]*Unread, error) {
	nids := make([]int64, len(joined))
	tallies := make(map[int64]*unreadTally, len(joined))
	for i := range joined {
		nids[i] = joined[i].RoomNID
		tallies[nids[i]] = &unreadTally{ear: e, room: joined[i].RoomID, main: joined[i].Since, threads: joined[i].Since,
			each: make(map[matrix.EventID]storage.Position), said: make(map[int]verdictOf), out: &Unread{}}
	}
	marks, err := rooms.MarksOf(ctx, r, e.user, nids)
	if err != nil {
		return nil, err
	}
	after := make([]rooms.After, len(nids))
	for i, nid := range nids {
		t := tallies[nid]
		t.mark(marks[nid])
		after[i] = rooms.After{RoomNID: nid, Main: t.main, Threads: t.threads}
	}
	rows, err := rooms.UnreadOf(ctx, r, e.user, after, maxUnread)
	if err != nil {
		return nil, err
	}
	out := make(map[int64]*Unread, len(nids))
	for i := range rows {
		tallies[rows[i].RoomNID].count(&rows[i])
	}
	for nid, t := range tallies {
		out[nid] = t.done()
	}
	return out, nil
}

// unreadTally counts one room.
type unreadTally struct {
	ear           *Ear
	room          matrix.RoomID
	main, threads storage.Position                    // read up to here
	each          map[matrix.EventID]storage.Position // threads that are read farther
	said          map[int]verdictOf
	out           *Unread
}

// mark takes how far the user has read.
func (t *unreadTally) mark(marks []rooms.Mark) {
	for _, m := range marks {
		t.out.Moved = max(t.out.Moved, m.Moved)
		switch m.Thread {
		case "":
			t.main, t.threads = max(t.main, m.Place), max(t.threads, m.Place)
		case threadMain:
			t.main = max(t.main, m.Place)
		default:
			id := matrix.EventID(m.Thread)
			t.each[id] = max(t.each[id], m.Place)
		}
	}
}

func (t *unreadTally) verdict(notice int) verdictOf {
	v, known := t.said[notice]
	if !known {
		v = t.ear.said(t.room, notice)
		t.said[notice] = v
	}
	return v
}

// count takes a row. One of the user's own stands in the place of what is said
// to everybody.
func (t *unreadTally) count(u *rooms.Unread) {
	thread := matrix.EventID(u.Thread)
	if thread == "" {
		if !u.Own {
			t.out.Main.add(t.verdict(u.Notice), u.Count)
		} else if u.Pos > t.main {
			t.out.Main.add(t.verdict(u.Notice), -1)
			t.out.Main.add(verdictOf{u.Notify, u.Highlight}, 1)
		}
		return
	}
	if u.Pos <= max(t.threads, t.each[thread]) {
		return
	}
	if t.out.Threads == nil {
		t.out.Threads = make(map[matrix.EventID]Count)
	}
	c := t.out.Threads[thread]
	if u.Own {
		c.add(t.verdict(u.Notice), -1)
		c.add(verdictOf{u.Notify, u.Highlight}, 1)
	} else {
		c.add(t.verdict(u.Notice), u.Count)
	}
	t.out.Threads[thread] = c
}

// done returns the counts. Where more is unread than is counted, the parts need
// not agree with each other.
func (t *unreadTally) done() *Unread {
	floor := func(c Count) Count {
		c.Notifications = max(c.Notifications, 0)
		c.Highlights = min(max(c.Highlights, 0), c.Notifications)
		return c
	}
	t.out.Main = floor(t.out.Main)
	for id, c := range t.out.Threads {
		if c = floor(c); c == (Count{}) {
			delete(t.out.Threads, id)
		} else {
			t.out.Threads[id] = c
		}
	}
	return t.out
}
