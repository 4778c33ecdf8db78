package roomserver

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/pushrules"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// defaultNotifications and maxNotifications are how many one answer has.
	defaultNotifications = 20
	maxNotifications     = 100
	// maxNotificationRounds bounds how often more is read for one answer, where
	// most of what was read is nothing to the user.
	maxNotificationRounds = 10
)

// NotificationsRequest asks what a user was notified of.
type NotificationsRequest struct {
	User       matrix.UserID
	Device     matrix.DeviceID
	From       string // "" is now
	Limit      int    // 0 is the default
	Highlights bool   // only these
}

// Notifications is the answer of notifications, newest first.
type Notifications struct {
	Next          string         `json:"next_token,omitempty"`
	Notifications []Notification `json:"notifications"`
}

// Notification is an event that a user was notified of.
type Notification struct {
	Actions []json.RawMessage `json:"actions"`
	Event   json.RawMessage   `json:"event"`
	Read    bool              `json:"read"`
	RoomID  matrix.RoomID     `json:"room_id"`
	TS      int64             `json:"ts"`
}

// Notifications returns what a user was notified of, in the rooms that they are
// in now, and their invitations.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
func (s *Server) Notifications(ctx context.Context, req NotificationsRequest) (out Notifications, err error) {
	upTo := lastPosition
	if req.From != "" {
		if upTo, err = ParseToken(req.From); err != nil {
			return out, err
		}
	}
	if req.Limit == 0 {
		req.Limit = defaultNotifications
	}
	req.Limit = min(req.Limit, maxNotifications)
	ear, err := s.EarOf(ctx, req.User)
	if err != nil {
		return out, err
	}
	err = s.db.View(ctx, func(r *storage.Reader) error {
		standings, err := rooms.StandingsOf(ctx, r, req.User)
		if err != nil {
			return err
		}
		l := &notified{s: s, r: r, ear: &ear, req: &req, rooms: make(map[int64]rooms.Standing, len(standings)), upTo: upTo}
		for _, m := range standings {
			l.rooms[m.RoomNID] = m
		}
		for range maxNotificationRounds {
			if l.upTo <= 0 || len(l.found) > req.Limit {
				break
			}
			if err := l.more(ctx); err != nil {
				return err
			}
		}
		out, err = l.render(ctx)
		return err
	})
	return out, err
}

// notified is an answer that is being made.
type notified struct {
	s     *Server
	r     *storage.Reader
	ear   *Ear
	req   *NotificationsRequest
	rooms map[int64]rooms.Standing
	upTo  storage.Position // what is above was looked at
	found []rooms.Notified
}

// more looks at what is before.
func (l *notified) more(ctx context.Context) error {
	limit := l.req.Limit + 1
	own, err := rooms.NotifiedAlone(ctx, l.r, l.req.User, l.upTo, limit)
	if err != nil {
		return err
	}
	var windows []rooms.Window
	for nid, m := range l.rooms {
		if m.Membership == "join" {
			windows = append(windows, rooms.Window{RoomNID: nid, After: m.Since, UpTo: l.upTo})
		}
	}
	all, err := rooms.NotifiedIn(ctx, l.r, l.req.User, windows, limit)
	if err != nil {
		return err
	}
	list := append(own, all...)
	// Where a stretch was cut off by the limit, nothing before its end is whole.
	slices.SortFunc(list, func(x, y rooms.Notified) int { return cmp.Compare(y.Pos, x.Pos) })
	floor := storage.Position(0)
	if len(list) >= limit {
		floor = list[limit-1].Pos - 1
	}
	alone := make(map[int64]bool, len(own))
	for _, n := range own {
		alone[n.EventNID] = true
	}
	for _, n := range list {
		if n.Pos > floor && (n.Own || !alone[n.EventNID]) && l.wants(&n) {
			l.found = append(l.found, n)
		}
	}
	l.upTo = floor
	return nil
}

// wants sets what an event is for the user and reports whether it is told.
func (l *notified) wants(n *rooms.Notified) bool {
	m, in := l.rooms[n.RoomNID]
	if !in || m.Membership != "join" && m.Membership != "invite" {
		return false
	}
	if !n.Own {
		v := l.ear.said(m.RoomID, n.Notice)
		n.Notify, n.Highlight = v.notify, v.highlight
	}
	return n.Notify && (n.Highlight || !l.req.Highlights)
}

func (l *notified) render(ctx context.Context) (out Notifications, err error) {
	out.Notifications = []Notification{}
	if len(l.found) > l.req.Limit {
		l.found = l.found[:l.req.Limit]
		out.Next = Token(l.found[l.req.Limit-1].Pos - 1)
	} else if l.upTo > 0 {
		out.Next = Token(l.upTo)
	}
	var nids, in []int64
	for _, n := range l.found {
		nids, in = append(nids, n.EventNID), append(in, n.RoomNID)
	}
	events, err := rooms.EventsByNID(ctx, l.r, nids)
	if err != nil {
		return out, err
	}
	slices.Sort(in)
	marks, err := rooms.MarksOf(ctx, l.r, l.req.User, slices.Compact(in))
	if err != nil {
		return out, err
	}
	sights := NewSights(l.req.User, nil)
	var list []*rooms.Event
	for _, n := range l.found {
		if e := events[n.EventNID]; e != nil {
			list = append(list, e)
		}
	}
	if err := sights.Look(ctx, l.r, list); err != nil {
		return out, err
	}
	list = slices.DeleteFunc(list, func(e *rooms.Event) bool { return !sights.Sees(e) })
	rendered, err := l.s.RenderEvents(ctx, l.r, list, Rendering{Sights: sights, Device: l.req.Device, OmitRoomID: true})
	if err != nil {
		return out, err
	}
	said := make(map[int64]rooms.Notified, len(l.found))
	for _, n := range l.found {
		said[n.EventNID] = n
	}
	for i, e := range list {
		thread, err := threadOf(ctx, l.r, e)
		if err != nil {
			return out, err
		}
		read := slices.ContainsFunc(marks[e.RoomNID], func(m rooms.Mark) bool {
			return e.Pos <= m.Place && (m.Thread == "" || m.Thread == thread)
		})
		out.Notifications = append(out.Notifications, Notification{Actions: l.actions(e, said[e.NID]), Event: rendered[i],
			Read: read, RoomID: e.RoomID(), TS: e.OriginServerTS()})
	}
	return out, nil
}

// actions returns what the rules say is to be done about an event. Where they
// say something else by now, it is what it was.
func (l *notified) actions(e *rooms.Event, n rooms.Notified) []json.RawMessage {
	rules := l.ear.rules
	if rules == nil {
		set := pushrules.Default(l.req.User)
		rules = pushrules.Compile(l.req.User, &set)
	}
	in := pushrules.NewInput(e.Event, l.rooms[e.RoomNID].Joined, func(string) bool { return true })
	if o := rules.Evaluate(in, ""); o.Notify && o.Highlight == n.Highlight {
		return o.Actions
	}
	actions := []json.RawMessage{json.RawMessage(`"notify"`)}
	if n.Highlight {
		actions = append(actions, json.RawMessage(`{"set_tweak":"highlight"}`))
	}
	return actions
}
