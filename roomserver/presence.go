package roomserver

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// maxPresent bounds the users whose presence is known, and so the memory.
	// Those of whom nothing was heard for longest are forgotten.
	maxPresent = 50_000
	// maxPresenceEDU bounds the users of one EDU: no server sends more.
	maxPresenceEDU = 1000
	// maxStatus bounds a status message.
	maxStatus = 512
	// presentFor is how long a client that syncs is there after its last sync:
	// longer than it waits in one.
	presentFor = 90 * time.Second
	// remotePresence is how long what another server said holds.
	remotePresence = 30 * time.Minute
	// activeFor is how long somebody who is online is active after they did
	// something.
	activeFor = time.Minute
)

// The states of presence.
const (
	presenceOnline      = "online"
	presenceOffline     = "offline"
	presenceUnavailable = "unavailable"
)

// presence is who is there, in memory only. The zero value is off.
//
// Its lock is the innermost: nothing is called while it is held.
type presence struct {
	on    bool
	mu    sync.Mutex
	users map[matrix.UserID]*attendee                  // guarded by mu
	hooks []func(user matrix.UserID, roomNIDs []int64) // guarded by mu
}

// attendee is what is known of one user.
type attendee struct {
	state, status string
	active, until time.Time
	timer         *time.Timer // ends it
}

// Presence is what is told of a user.
//
// https://spec.matrix.org/v1.19/client-server-api/#presence
type Presence struct {
	State     string  `json:"presence"`
	Status    *string `json:"status_msg,omitempty"`
	ActiveAgo int64   `json:"last_active_ago,omitempty"` // ms
	Active    bool    `json:"currently_active"`
}

// PresenceOn reports whether this server tells who is there.
func (s *Server) PresenceOn() bool { return s.presence.on }

// OnPresence calls fn with a user and the rooms that they have joined, whenever
// they come or go. fn must not block. It is for wiring, before the first
// request.
func (s *Server) OnPresence(fn func(user matrix.UserID, roomNIDs []int64)) {
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	s.presence.hooks = append(s.presence.hooks, fn)
}

// PresenceOf returns what is known of a user; ok is false where that is nothing.
func (s *Server) PresenceOf(user matrix.UserID) (out Presence, ok bool) {
	p := &s.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.users[user]
	if one == nil {
		return Presence{State: presenceOffline}, false
	}
	ago := max(s.now().Sub(one.active), time.Millisecond) // 0 would be left out
	out = Presence{State: one.state, ActiveAgo: ago.Milliseconds(), Active: one.state == presenceOnline && ago < activeFor}
	if one.status != "" {
		status := one.status // which others may change once the lock is released
		out.Status = &status
	}
	return out, true
}

// SetPresence notes how a user of this server is there. status is what they say
// about it; nil leaves it as it is. What is no state is 400 M_INVALID_PARAM, and
// where presence is off nothing happens.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus
func (s *Server) SetPresence(ctx context.Context, user matrix.UserID, state string, status *string) error {
	switch {
	case state != presenceOnline && state != presenceOffline && state != presenceUnavailable:
		return matrix.InvalidParam("presence must be online, offline or unavailable")
	case status != nil && len(*status) > maxStatus:
		return matrix.InvalidParam("a status message has at most %d bytes", maxStatus)
	}
	if !s.presence.on || !s.setPresent(user, state, status, presentFor, 0) {
		return nil
	}
	return s.tellPresence(ctx, user)
}

// setPresent notes a state and reports whether others are to be told.
func (s *Server) setPresent(user matrix.UserID, state string, status *string, holds time.Duration, ago time.Duration) (changed bool) {
	p := &s.presence
	now := s.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == nil {
		p.users = make(map[matrix.UserID]*attendee)
	}
	one := p.users[user]
	if one == nil {
		if state == presenceOffline && status == nil {
			return false
		}
		if len(p.users) >= maxPresent {
			p.forget()
		}
		one = &attendee{state: presenceOffline}
		p.users[user] = one
	}
	changed = one.state != state || status != nil && one.status != *status
	one.state, one.until = state, now.Add(holds)
	if status != nil {
		one.status = *status
	}
	if state != presenceOffline || changed {
		one.active = now.Add(-ago)
	}
	switch {
	case state == presenceOffline && one.timer != nil:
		one.timer.Stop()
	case state == presenceOffline:
	case one.timer == nil:
		one.timer = time.AfterFunc(holds, func() { s.expirePresence(user, one) })
	default:
		one.timer.Reset(holds)
	}
	return changed
}

// expirePresence makes somebody go of whom nothing was heard.
func (s *Server) expirePresence(user matrix.UserID, one *attendee) {
	p := &s.presence
	p.mu.Lock()
	over := p.users[user] == one && one.state != presenceOffline && !s.now().Before(one.until)
	if over {
		one.state = presenceOffline
	}
	p.mu.Unlock()
	if !over {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), presenceTimeout)
	defer cancel()
	if err := s.tellPresence(ctx, user); err != nil {
		s.log.DebugContext(ctx, "nobody was told that somebody has gone", "error", err)
	}
}

// presenceTimeout bounds how long it takes to find out who is to be told.
const presenceTimeout = 10 * time.Second

// forget drops a tenth of the users, those who are gone first. The lock is held.
func (p *presence) forget() {
	for _, gone := range []bool{true, false} {
		for user, one := range p.users {
			if len(p.users) <= maxPresent*9/10 {
				return
			}
			if one.state == presenceOffline || !gone {
				if one.timer != nil {
					one.timer.Stop()
				}
				delete(p.users, user)
			}
		}
	}
}

// tellPresence tells those who share a room with a user that they came or went.
func (s *Server) tellPresence(ctx context.Context, user matrix.UserID) error {
	var nids []int64
	var servers []matrix.ServerName
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		joined, err := rooms.JoinedRoomsOf(ctx, r, []matrix.UserID{user})
		nids = joined[user]
		if err != nil || !s.local(user) {
			return err
		}
		servers, err = rooms.SharedServers(ctx, r, user)
		return err
	}); err != nil {
		return err
	}
	s.presence.mu.Lock()
	hooks := s.presence.hooks
	s.presence.mu.Unlock()
	for _, fn := range hooks {
		fn(user, nids)
	}
	others := slices.DeleteFunc(servers, func(name matrix.ServerName) bool { return name == s.self })
	if len(others) == 0 || s.edus == nil {
		return nil
	}
	now, _ := s.PresenceOf(user)
	content, err := json.Marshal(presenceEDU{[]presencePush{{user, now}}})
	if err != nil {
		return err
	}
	s.edus.SendEphemeral(others, "m.presence", "presence "+string(user), content)
	return nil
}

// presenceEDU is the content of m.presence between servers.
//
// https://spec.matrix.org/v1.19/server-server-api/#presence
type presenceEDU struct {
	Push []presencePush `json:"push"`
}

type presencePush struct {
	User matrix.UserID `json:"user_id"`
	Presence
}

// ReceivePresence takes an m.presence of another server. What it says of users
// of others, of users who share no room with anybody here, and what is no
// state, is left out.
//
// https://spec.matrix.org/v1.19/server-server-api/#presence
func (s *Server) ReceivePresence(ctx context.Context, origin matrix.ServerName, content []byte) error {
	if !s.presence.on {
		return nil
	}
	var edu presenceEDU
	if err := json.Unmarshal(content, &edu); err != nil {
		return matrix.BadJSON("m.presence: %v", err)
	}
	if len(edu.Push) > maxPresenceEDU {
		return matrix.TooLarge("an m.presence of %d users", len(edu.Push))
	}
	var named []matrix.UserID
	for _, push := range edu.Push {
		if push.User.Server() == origin {
			named = append(named, push.User)
		}
	}
	var joined map[matrix.UserID][]int64
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		joined, err = rooms.JoinedRoomsOf(ctx, r, named)
		return err
	}); err != nil {
		return err
	}
	for _, push := range edu.Push {
		known := push.State == presenceOnline || push.State == presenceOffline || push.State == presenceUnavailable
		if len(joined[push.User]) == 0 || push.User.Server() != origin || !known || push.ActiveAgo < 0 || push.ActiveAgo > maxTS/int64(time.Millisecond) {
			continue
		}
		status := ""
		if push.Status != nil && len(*push.Status) <= maxStatus {
			status = *push.Status
		}
		if s.setPresent(push.User, push.State, &status, remotePresence, time.Duration(push.ActiveAgo)*time.Millisecond) {
			if err := s.tellPresence(ctx, push.User); err != nil {
				return err
			}
		}
	}
	return nil
}
