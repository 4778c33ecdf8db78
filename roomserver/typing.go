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
	// minTyping and maxTyping bound how long one notice of a user of this
	// server holds: clients repeat it.
	minTyping = time.Second
	maxTyping = 30 * time.Second
	// remoteTyping is how long a notice of another server holds. Some repeat
	// theirs only every 40 seconds.
	remoteTyping = time.Minute
	// resendTyping is how often a notice that goes on is repeated to others.
	resendTyping = 15 * time.Second
	// maxTypists bounds who can be typing in one room: nobody reads a longer list.
	maxTypists = 100
	// maxTypingRooms bounds the rooms that are remembered, and with the above
	// the memory.
	maxTypingRooms = 10_000
)

// typing is who is typing, in memory only. The zero value is ready.
//
// Its lock is the innermost: nothing is called while it is held.
type typing struct {
	mu      sync.Mutex
	version uint64                     // guarded by mu: goes up with every change
	floor   uint64                     // guarded by mu: the version of rooms that are not remembered
	rooms   map[matrix.RoomID]*typists // guarded by mu
	hooks   []func(room matrix.RoomID) // guarded by mu
}

// typists is who is typing in one room.
type typists struct {
	version uint64
	users   map[matrix.UserID]*typist
}

type typist struct {
	timer *time.Timer
	until time.Time // a timer that fires earlier was late to be reset
	sent  time.Time // when other servers were told last
}

// SetTyping notes that a user of this server types in a room, or no longer
// does, and tells the other servers. The user must be joined.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
func (s *Server) SetTyping(ctx context.Context, user matrix.UserID, room matrix.RoomID, on bool, timeout time.Duration) error {
	var servers []matrix.ServerName
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		row, err := s.joined(ctx, r, user, room)
		if err == nil {
			servers, err = rooms.Servers(ctx, r, row.NID)
		}
		return err
	}); err != nil {
		return err
	}
	tell := s.typing.set(room, user, on, min(max(timeout, minTyping), maxTyping), s.now())
	others := slices.DeleteFunc(servers, func(name matrix.ServerName) bool { return name == s.self })
	if !tell || len(others) == 0 || s.edus == nil {
		return nil
	}
	content, err := json.Marshal(typingEDU{room, user, on})
	if err != nil {
		return err
	}
	s.edus.SendEphemeral(others, "m.typing", "typing "+string(room)+" "+string(user), content)
	return nil
}

// typingEDU is the content of m.typing between servers.
//
// https://spec.matrix.org/v1.19/server-server-api/#typing-notifications
type typingEDU struct {
	Room   matrix.RoomID `json:"room_id"`
	User   matrix.UserID `json:"user_id"`
	Typing bool          `json:"typing"`
}

// ReceiveTyping takes an m.typing of another server, of one of its users who
// has joined the room. Anything else is an error that the origin need not hear.
func (s *Server) ReceiveTyping(ctx context.Context, origin matrix.ServerName, content []byte) error {
	var edu typingEDU
	if err := json.Unmarshal(content, &edu); err != nil {
		return matrix.BadJSON("m.typing: %v", err)
	}
	if edu.User.Server() != origin {
		return matrix.Forbidden("%s is not a user of %s", edu.User, origin)
	}
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		if err := s.allowedByACL(ctx, r, edu.Room, origin); err != nil {
			return err
		}
		_, err := s.joined(ctx, r, edu.User, edu.Room)
		return err
	}); err != nil {
		return err
	}
	s.typing.set(edu.Room, edu.User, edu.Typing, remoteTyping, s.now())
	return nil
}

// Typing returns who is typing in a room, in the order of their names, and the
// version at which that last changed. The version of a room of which nothing
// is remembered is as new as the oldest change that may have been forgotten:
// who knows an older one is told that nobody types.
func (s *Server) Typing(room matrix.RoomID) (users []matrix.UserID, version uint64) {
	t := &s.typing
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start()
	in := t.rooms[room]
	if in == nil {
		return nil, t.floor
	}
	users = make([]matrix.UserID, 0, len(in.users))
	for user := range in.users {
		users = append(users, user)
	}
	slices.Sort(users)
	return users, in.version
}

// TypingVersion returns a number that goes up whenever somebody begins or
// stops typing anywhere. It goes up over a restart too.
func (s *Server) TypingVersion() uint64 {
	t := &s.typing
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start()
	return t.version
}

// OnTyping calls fn with a room whenever who is typing in it has changed. fn
// must not block. It is for wiring, before the first request.
func (s *Server) OnTyping(fn func(room matrix.RoomID)) {
	s.typing.mu.Lock()
	defer s.typing.mu.Unlock()
	s.typing.hooks = append(s.typing.hooks, fn)
}

// start makes the zero value ready. Versions begin with the time, so that one
// from before a restart is older than any after it. The lock is held.
func (t *typing) start() {
	if t.rooms == nil {
		t.rooms = make(map[matrix.RoomID]*typists)
		t.version = uint64(time.Now().UnixMilli())
		t.floor = t.version
	}
}

// set notes that a user types or does not. tell says that other servers should
// hear of it, where the user is of this one.
func (t *typing) set(room matrix.RoomID, user matrix.UserID, on bool, timeout time.Duration, now time.Time) (tell bool) {
	t.mu.Lock()
	t.start()
	in := t.rooms[room]
	var entry *typist
	if in != nil {
		entry = in.users[user]
	}
	changed := false
	switch {
	case on && entry != nil:
		entry.until = time.Now().Add(timeout)
		entry.timer.Reset(timeout)
		if tell = now.Sub(entry.sent) >= resendTyping; tell {
			entry.sent = now
		}
	case on:
		if in = t.room(room); in == nil || len(in.users) >= maxTypists {
			break
		}
		entry = &typist{sent: now, until: time.Now().Add(timeout)}
		entry.timer = time.AfterFunc(timeout, func() { t.expire(room, user, entry) })
		in.users[user] = entry
		changed, tell = true, true
	case entry != nil:
		entry.timer.Stop()
		delete(in.users, user)
		changed, tell = true, true
	}
	hooks := t.changed(in, changed)
	t.mu.Unlock()
	for _, fn := range hooks {
		fn(room)
	}
	return tell
}

// expire ends a notice that was not repeated.
func (t *typing) expire(room matrix.RoomID, user matrix.UserID, entry *typist) {
	t.mu.Lock()
	in := t.rooms[room]
	ended := in != nil && in.users[user] == entry && !time.Now().Before(entry.until)
	if ended {
		delete(in.users, user)
	}
	hooks := t.changed(in, ended)
	t.mu.Unlock()
	for _, fn := range hooks {
		fn(room)
	}
}

// changed counts a change of a room and returns who is told. The lock is held.
func (t *typing) changed(in *typists, yes bool) []func(matrix.RoomID) {
	if !yes {
		return nil
	}
	t.version++
	in.version = t.version
	return t.hooks
}

// room returns the typists of a room, or nil where there are too many rooms in
// which somebody types. The lock is held.
func (t *typing) room(id matrix.RoomID) *typists {
	in := t.rooms[id]
	if in == nil {
		if len(t.rooms) >= maxTypingRooms {
			t.forget()
		}
		if len(t.rooms) >= maxTypingRooms {
			return nil
		}
		in = &typists{users: make(map[matrix.UserID]*typist)}
		t.rooms[id] = in
	}
	return in
}

// forget drops the rooms in which nobody types. The lock is held.
func (t *typing) forget() {
	for id, in := range t.rooms {
		if len(in.users) == 0 {
			t.floor = max(t.floor, in.version)
			delete(t.rooms, id)
		}
	}
}
