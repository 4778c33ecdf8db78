package syncapi_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"beffroi/bus"
	"beffroi/e2ee"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
	"beffroi/storage/users"
	"beffroi/syncapi"
)

const (
	self  matrix.ServerName = "here"
	alice matrix.UserID     = "@alice:here"
	bob   matrix.UserID     = "@bob:here"
	carol matrix.UserID     = "@carol:here"
)

// server is a server with what sync reads from. Other servers are keys alone.
type server struct {
	t     testing.TB
	db    *storage.DB
	bus   *bus.Local
	rooms *roomserver.Server
	keys  *e2ee.Server
	sync  *syncapi.Server
	peers map[matrix.ServerName]signing.Key
	far   *far
}

func start(t testing.TB, db *storage.DB) *server {
	t.Helper()
	s := build(t, db)
	t.Cleanup(s.follow())
	return s
}

// build is start without the follower.
func build(t testing.TB, db *storage.DB) *server {
	t.Helper()
	gate, err := policystore.Open(t.Context(), policystore.Options{DB: db, Self: self, Development: true})
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.NewKey(self, "a1")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, db: db, bus: new(bus.Local), peers: map[matrix.ServerName]signing.Key{self: key}}
	db.OnCommit(s.bus.Publish)
	s.far = new(far)
	s.rooms = roomserver.New(roomserver.Options{DB: db, Key: key, Gate: gate, Keys: s, Remote: s.far})
	s.keys = e2ee.New(e2ee.Options{DB: db, ServerName: self})
	s.sync = syncapi.New(syncapi.Options{DB: db, Bus: s.bus, Rooms: s.rooms, Devices: s.keys})
	return s
}

// follow runs the follower until it is stopped.
func (s *server) follow() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- s.sync.Run(ctx) }()
	return func() {
		cancel()
		if err := <-stopped; err != nil {
			s.t.Errorf("Run: %v", err)
		}
	}
}

func (s *server) PublicKey(_ context.Context, name matrix.ServerName, id matrix.KeyID, at int64) (ed25519.PublicKey, int64, error) {
	key, ok := s.peers[name]
	if !ok || key.ID != id {
		return nil, 0, matrix.Unauthorized("%s has no key %s", name, id)
	}
	return key.Public(), at + 3_600_000, nil
}

// device logs a client in.
func (s *server) device(user matrix.UserID, id matrix.DeviceID) {
	s.t.Helper()
	s.append(func(ctx context.Context, tx *storage.Tx) error {
		return users.AddDevice(ctx, tx, user, users.Device{ID: id})
	})
}

func (s *server) append(write func(context.Context, *storage.Tx) error) {
	s.t.Helper()
	if _, err := s.db.Append(s.t.Context(), write); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) create(creator matrix.UserID, preset string, invite ...matrix.UserID) matrix.RoomID {
	s.t.Helper()
	id, err := s.rooms.CreateRoom(s.t.Context(), roomserver.CreateRequest{CreateRequest: policy.CreateRequest{
		Creator: creator, Preset: preset, Invite: invite, CreationContent: unlike()}, Profile: profile(creator)})
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// unlike is content that makes a room unlike others made in the same millisecond.
func unlike() json.RawMessage { return json.RawMessage(`{"org.test":"` + rand.Text() + `"}`) }

func profile(user matrix.UserID) roomserver.Profile {
	return roomserver.Profile{DisplayName: user.Localpart()}
}

func (s *server) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) join(user matrix.UserID, room matrix.RoomID) {
	s.t.Helper()
	s.do(s.rooms.Join(s.t.Context(), roomserver.JoinRequest{User: user, Room: room, Profile: profile(user)}))
}

func (s *server) invite(by, user matrix.UserID, room matrix.RoomID) {
	s.t.Helper()
	s.do(s.rooms.Invite(s.t.Context(), roomserver.MembershipRequest{Sender: by, Target: user, Room: room}))
}

func (s *server) leave(user matrix.UserID, room matrix.RoomID) {
	s.t.Helper()
	s.do(s.rooms.Leave(s.t.Context(), roomserver.MembershipRequest{Sender: user, Room: room}))
}

func (s *server) send(req roomserver.SendRequest) matrix.EventID {
	s.t.Helper()
	id, err := s.rooms.Send(s.t.Context(), req)
	s.do(err)
	return id
}

func (s *server) say(user matrix.UserID, room matrix.RoomID, body string) matrix.EventID {
	s.t.Helper()
	content, _ := json.Marshal(map[string]string{"msgtype": "m.text", "body": body})
	return s.send(roomserver.SendRequest{Sender: user, Room: room, Type: "m.room.message", Content: content})
}

func (s *server) set(user matrix.UserID, room matrix.RoomID, typ, key, content string) matrix.EventID {
	s.t.Helper()
	return s.send(roomserver.SendRequest{Sender: user, Room: room, Type: typ, StateKey: &key, Content: json.RawMessage(content)})
}

func (s *server) data(user matrix.UserID, room matrix.RoomID, typ, content string) {
	s.t.Helper()
	s.append(func(ctx context.Context, tx *storage.Tx) error {
		return users.SetAccountData(ctx, tx, user, room, typ, content)
	})
}

// client is a client that syncs.
type client struct {
	*server
	req syncapi.Request
}

func (s *server) client(user matrix.UserID) *client {
	return &client{server: s, req: syncapi.Request{User: user, Device: "D"}}
}

func (c *client) with(change func(*syncapi.Request)) *client {
	change(&c.req)
	return c
}

func filtered(filter string) func(*syncapi.Request) {
	return func(r *syncapi.Request) { r.Filter = filter }
}

// sync asks once, without waiting, and goes on from the answer the next time.
func (c *client) sync() *answer {
	c.t.Helper()
	out := c.peek()
	c.req.Since = out.NextBatch
	return out
}

// peek asks without going on.
func (c *client) peek() *answer {
	c.t.Helper()
	raw, err := c.server.sync.Sync(c.t.Context(), c.req)
	if err != nil {
		c.t.Fatal(err)
	}
	return parse(c.t, raw)
}

// await asks in the background and waits for something to happen.
func (c *client) await() <-chan *answer {
	req := c.req
	req.Timeout = 30 * time.Second
	out := make(chan *answer, 1)
	go func() {
		raw, err := c.server.sync.Sync(c.t.Context(), req)
		if err != nil {
			c.t.Error(err)
			raw = []byte(`{}`)
		}
		out <- parse(c.t, raw)
	}()
	return out
}

func parse(t testing.TB, raw json.RawMessage) *answer {
	t.Helper()
	var out answer
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Errorf("%v in %s", err, raw)
	}
	return &out
}

type syncRequest = syncapi.Request

type answer struct {
	NextBatch   string `json:"next_batch"`
	AccountData events `json:"account_data"`
	ToDevice    events `json:"to_device"`
	DeviceLists struct {
		Changed []matrix.UserID `json:"changed"`
		Left    []matrix.UserID `json:"left"`
	} `json:"device_lists"`
	Counts   map[string]int `json:"device_one_time_keys_count"`
	Fallback []string       `json:"device_unused_fallback_key_types"`
	Rooms    struct {
		Join   map[matrix.RoomID]*joinedRoom `json:"join"`
		Invite map[matrix.RoomID]struct {
			State events `json:"invite_state"`
		} `json:"invite"`
		Knock map[matrix.RoomID]struct {
			State events `json:"knock_state"`
		} `json:"knock"`
		Leave map[matrix.RoomID]*joinedRoom `json:"leave"`
	} `json:"rooms"`
}

type joinedRoom struct {
	Timeline struct {
		events
		Limited   bool   `json:"limited"`
		PrevBatch string `json:"prev_batch"`
	} `json:"timeline"`
	State              *events `json:"state"`
	StateAfter         *events `json:"state_after"`
	UnstableStateAfter *events `json:"org.matrix.msc4222.state_after"`
	AccountData        events  `json:"account_data"`
	Ephemeral          events  `json:"ephemeral"`
	Summary            *struct {
		Heroes  []matrix.UserID `json:"m.heroes"`
		Joined  int             `json:"m.joined_member_count"`
		Invited int             `json:"m.invited_member_count"`
	} `json:"summary"`
}

type events struct {
	Events []event `json:"events"`
}

type event struct {
	ID       matrix.EventID  `json:"event_id"`
	RoomID   string          `json:"room_id"`
	Type     string          `json:"type"`
	StateKey *string         `json:"state_key"`
	Sender   matrix.UserID   `json:"sender"`
	Content  json.RawMessage `json:"content"`
	Unsigned map[string]any  `json:"unsigned"`
}

// bodies returns the messages of a list, and of state events the type and key.
func (e *events) bodies() (out []string) {
	for _, ev := range e.Events {
		var content struct {
			Body       string `json:"body"`
			Membership string `json:"membership"`
		}
		_ = json.Unmarshal(ev.Content, &content)
		switch {
		case ev.StateKey == nil:
			out = append(out, content.Body)
		case content.Membership != "":
			out = append(out, content.Membership+" "+*ev.StateKey)
		default:
			out = append(out, ev.Type)
		}
	}
	return out
}

// find returns the first event of a type and key.
func (e *events) find(typ, key string) *event {
	if e == nil {
		return nil
	}
	for i, ev := range e.Events {
		if ev.Type == typ && (ev.StateKey == nil || *ev.StateKey == key) {
			return &e.Events[i]
		}
	}
	return nil
}

func (e event) body() string {
	list := events{Events: []event{e}}
	return list.bodies()[0]
}

func parseEvent(t testing.TB, raw json.RawMessage) (e event) {
	t.Helper()
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Error(err)
	}
	return e
}

func position(t testing.TB, token string) *storage.Position {
	t.Helper()
	pos, err := roomserver.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	return &pos
}

func (s *server) forget(user matrix.UserID, room matrix.RoomID) {
	s.t.Helper()
	s.append(func(ctx context.Context, tx *storage.Tx) error {
		row, err := rooms.ByID(ctx, &tx.Reader, room)
		if err == nil {
			_, err = rooms.Forget(ctx, tx, row.NID, user)
		}
		return err
	})
}
