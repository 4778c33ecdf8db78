package e2ee

import (
	"context"
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/rooms"
)

const (
	// follower is the name of the cursor in the log.
	follower = "e2ee"
	// followChunk is how many changes are read from the log at once.
	followChunk = 200
	// cursorStep is how far the cursor may lag behind when nothing was to be
	// done: writing it each time would cost a commit for each message.
	cursorStep = 1000

	typeDeviceList = "m.device_list_update"
	typeSigning    = "m.signing_key_update"
)

// progress is how far the log has been followed.
type progress struct {
	started bool
	pos     storage.Position
	saved   storage.Position // in the database
}

// step is what one stretch of the log asks for.
type step struct {
	upto    storage.Position
	more    bool
	edus    []outgoingEDU
	forget  []matrix.UserID // remote accounts that share no room with us any more
	nothing bool
}

type outgoingEDU struct {
	queuedEDU
	typ, key string
}

// follow reads the log to its end: it tells other servers of changes of our
// accounts, and forgets the accounts of which nobody tells us any more.
func (s *Server) follow(ctx context.Context, at *progress) error {
	for more := true; more; {
		next, err := s.nextStep(ctx, at)
		if err != nil {
			return err
		}
		if next.nothing && next.upto-at.saved < cursorStep {
			at.pos, more = next.upto, next.more
			continue
		}
		_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			for _, edu := range next.edus {
				if err := s.Outbox.QueueEDU(ctx, tx, edu.destination, edu.typ, edu.content, edu.key); err != nil {
					return err
				}
			}
			if err := keys.ForgetRemote(ctx, tx, next.forget); err != nil {
				return err
			}
			return storage.SetCursor(ctx, tx, follower, next.upto)
		})
		if err != nil {
			return err
		}
		at.pos, at.saved, more = next.upto, next.upto, next.more
	}
	return nil
}

// nextStep looks at the next stretch of the log.
func (s *Server) nextStep(ctx context.Context, at *progress) (next step, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		if !at.started {
			if at.pos, err = storage.Cursor(ctx, r, follower); err != nil {
				return err
			}
			at.saved, at.started = at.pos, true
		}
		head, err := storage.Head(ctx, r)
		next = step{upto: head, nothing: true}
		if err != nil || head == at.pos {
			return err
		}
		changes, err := keys.Changes(ctx, r, at.pos, head, followChunk)
		if err != nil {
			return err
		}
		members, err := rooms.MemberChanges(ctx, r, at.pos, followChunk)
		if err != nil {
			return err
		}
		if len(changes) == followChunk {
			next.upto, next.more = changes[followChunk-1].Pos, true
		}
		if len(members) == followChunk && members[followChunk-1].Pos < next.upto {
			next.upto, next.more = members[followChunk-1].Pos, true
		}
		return s.plan(ctx, r, &next, changes, members)
	})
	return next, err
}

// plan says what changes up to the end of the stretch ask for.
func (s *Server) plan(ctx context.Context, r *storage.Reader, next *step, changes []keys.Change, members []rooms.Member) error {
	for _, c := range changes {
		if c.Pos > next.upto || c.OnlyFor != "" || !s.isLocal(c.User) {
			continue
		}
		servers, err := rooms.SharedServers(ctx, r, c.User)
		if err != nil {
			return err
		}
		if err := s.announce(ctx, r, next, c, servers); err != nil {
			return err
		}
	}
	for _, m := range members {
		if m.Pos > next.upto {
			continue
		}
		var err error
		switch {
		case m.Membership == "join" && s.isLocal(m.User):
			err = s.joined(ctx, r, next, m)
		case m.Membership == "leave" || m.Membership == "ban":
			err = s.left(ctx, r, next, m)
		}
		if err != nil {
			return err
		}
	}
	next.nothing = len(next.edus)+len(next.forget) == 0
	return nil
}

// announce queues a change of an account of ours for servers.
func (s *Server) announce(ctx context.Context, r *storage.Reader, next *step, c keys.Change, servers []matrix.ServerName) error {
	servers = slices.DeleteFunc(servers, s.isUs)
	if len(servers) == 0 {
		return nil
	}
	edu := outgoingEDU{typ: typeSigning, key: typeSigning + "\n" + string(c.User)}
	var err error
	if c.Device == "" {
		edu.content, err = s.signingContent(ctx, r, c.User)
	} else {
		edu.typ, edu.key = typeDeviceList, typeDeviceList+"\n"+string(c.User)+"\n"+string(c.Device)
		edu.content, err = s.deviceContent(ctx, r, c)
	}
	if err != nil || edu.content == nil {
		return err
	}
	for _, server := range servers {
		edu.destination = server
		next.edus = append(next.edus, edu)
	}
	return nil
}

// deviceContent says how a device is now, as the change at its position.
func (s *Server) deviceContent(ctx context.Context, r *storage.Reader, c keys.Change) (json.RawMessage, error) {
	u := deviceUpdate{User: c.User, Device: c.Device, StreamID: int64(c.Pos), Previous: []int64{}}
	if c.Previous > 0 {
		u.Previous = append(u.Previous, int64(c.Previous))
	}
	list, err := s.deviceList(ctx, r, c.User)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list.Devices, func(d listedDevice) bool { return d.ID == c.Device })
	if i < 0 {
		u.Deleted = true
	} else {
		u.Name, u.Keys = list.Devices[i].Name, list.Devices[i].Keys
	}
	return json.Marshal(u)
}

// signingContent says what the cross-signing keys of an account are now.
func (s *Server) signingContent(ctx context.Context, r *storage.Reader, user matrix.UserID) (json.RawMessage, error) {
	list, err := s.deviceList(ctx, r, user)
	if err != nil || list.Master == nil {
		return nil, err
	}
	content := canonicaljson.SetField(nil, "user_id", canonicaljson.AppendString(nil, string(user)))
	content = canonicaljson.SetField(content, "master_key", list.Master)
	if list.SelfSigning != nil {
		content = canonicaljson.SetField(content, "self_signing_key", list.SelfSigning)
	}
	return content, nil
}

// joined tells the servers of a room that an account of ours entered of its
// devices: those that knew it from other rooms may have stopped listening. They
// fetch the list if the last change is news to them.
func (s *Server) joined(ctx context.Context, r *storage.Reader, next *step, m rooms.Member) error {
	pos, err := keys.LastChange(ctx, r, m.User)
	if err != nil || pos == 0 {
		return err
	}
	last, err := keys.Changes(ctx, r, pos-1, pos, 1)
	if err != nil || len(last) == 0 {
		return err
	}
	servers, err := rooms.Servers(ctx, r, m.RoomNID)
	if err != nil {
		return err
	}
	return s.announce(ctx, r, next, last[0], servers)
}

// left forgets remote accounts that share no room with us any more. If it was
// our last member who left, that can be everybody in the room.
func (s *Server) left(ctx context.Context, r *storage.Reader, next *step, m rooms.Member) error {
	candidates := []matrix.UserID{m.User}
	if s.isLocal(m.User) {
		here, err := rooms.ServerJoined(ctx, r, m.RoomNID, s.ServerName)
		if err != nil || here {
			return err
		}
		members, err := rooms.MembersOf(ctx, r, m.RoomNID, "join")
		if err != nil {
			return err
		}
		candidates = candidates[:0]
		for _, other := range members {
			candidates = append(candidates, other.User)
		}
	}
	known, err := keys.RemoteLists(ctx, r, candidates)
	if err != nil {
		return err
	}
	still, err := s.shared(ctx, r, candidates)
	if err != nil {
		return err
	}
	for user := range known {
		if !slices.Contains(still, user) {
			next.forget = append(next.forget, user)
		}
	}
	return nil
}
