package roomserver_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
)

// network is several room servers that ask each other by function calls: the
// transport is tested with federation/client, on real HTTPS.
//
// A test may cut links between servers, and make a server lie.
type network struct {
	servers map[matrix.ServerName]*node
	cut     map[link]bool
	lies    map[matrix.ServerName]*lies
	open    bool // who asks for history is not asked who it is
}

// link is the way from one server to another.
type link struct{ from, to matrix.ServerName }

type node struct {
	*roomserver.Server
	db   *storage.DB
	gate roomserver.Gate
	now  func() time.Time
	key  signing.Key
	net  *network
}

// lies are answers of a server that replace those of its room server. A nil
// one is answered truly.
type lies struct {
	makeMembership func(call string, room matrix.RoomID, user matrix.UserID) (matrix.RoomVersion, json.RawMessage, error)
	sendJoin       func(room matrix.RoomID, pdu []byte) (*roomserver.JoinAnswer, error)
	invite         func(pdu []byte) ([]byte, error)
	event          func(id matrix.EventID) ([]byte, error)
	stateIDs       func(at matrix.EventID) (state, auth []matrix.EventID, err error)
	state          func(at matrix.EventID) (state, auth [][]byte, err error)
	eventAuth      func(id matrix.EventID) ([][]byte, error)
	missing        func(latest []matrix.EventID) ([][]byte, error)
	backfill       func(before []matrix.EventID) ([][]byte, error)

	asked atomic.Int64 // how many questions there were
}

// wire asks other servers for a node.
type wire struct{ *node }

func newNetwork() *network {
	return &network{servers: make(map[matrix.ServerName]*node), cut: make(map[link]bool), lies: make(map[matrix.ServerName]*lies)}
}

// lie makes a server answer as l says.
func (n *network) lie(name matrix.ServerName, l *lies) *lies {
	n.lies[name] = l
	return l
}

// divide cuts every link between some servers and the others.
func (n *network) divide(side map[matrix.ServerName]bool) {
	for a := range n.servers {
		for b := range n.servers {
			n.cut[link{a, b}] = side[a] != side[b]
		}
	}
}

// start runs a room server on a database of its own with a permissive document.
func (n *network) start(t *testing.T, engine string, name matrix.ServerName) *node {
	t.Helper()
	db := testkit.OpenDB(t, engine)
	gate, err := policystore.Open(t.Context(), policystore.Options{DB: db, Self: name, Development: true})
	if err != nil {
		t.Fatal(err)
	}
	return n.startWith(t, db, name, gate)
}

func (n *network) startWith(t testing.TB, db *storage.DB, name matrix.ServerName, gate roomserver.Gate) *node {
	t.Helper()
	nd, err := n.add(db, name, gate)
	if err != nil {
		t.Fatal(err)
	}
	return nd
}

func (n *network) add(db *storage.DB, name matrix.ServerName, gate roomserver.Gate) (*node, error) {
	key, err := signing.NewKey(name, "a1")
	if err != nil {
		return nil, err
	}
	nd := &node{db: db, gate: gate, now: time.Now, key: key, net: n}
	nd.restart()
	n.servers[name] = nd
	return nd, nil
}

// restart forgets all that the room server has in memory.
func (nd *node) restart() {
	nd.Server = roomserver.New(roomserver.Options{DB: nd.db, Key: nd.key, Gate: nd.gate, Keys: nd, Remote: wire{nd}, EDUs: nd,
		Now: func() time.Time { return nd.now() }})
}

func (nd *node) SendEphemeral([]matrix.ServerName, string, string, []byte) {}

func (nd *node) PublicKey(_ context.Context, server matrix.ServerName, id matrix.KeyID, at int64) (ed25519.PublicKey, int64, error) {
	other := nd.net.servers[server]
	if other == nil || other.key.ID != id {
		return nil, 0, matrix.Unauthorized("%s has no key %s", server, id)
	}
	return other.key.Public(), at + 3_600_000, nil
}

func (nd *node) peer(name matrix.ServerName) (*node, error) {
	if other := nd.net.servers[name]; other != nil && !nd.net.cut[link{nd.key.Server, name}] {
		return other, nil
	}
	return nil, matrix.NewError(502, "M_UNKNOWN", "%s does not answer", name)
}

// asking returns as whom a node asks another for history.
func (nd *node) asking(other *node) matrix.ServerName {
	if nd.net.open {
		return other.Name()
	}
	return nd.Name()
}

// lie returns the lies of a server, which may be none, and counts the question.
func (nd *node) lie(name matrix.ServerName) *lies {
	l := nd.net.lies[name]
	if l == nil {
		return new(lies)
	}
	l.asked.Add(1)
	return l
}

func (nd wire) MakeMembership(ctx context.Context, call string, to matrix.ServerName, room matrix.RoomID, user matrix.UserID,
	versions []matrix.RoomVersion) (matrix.RoomVersion, json.RawMessage, error) {
	if lie := nd.lie(to).makeMembership; lie != nil {
		return lie(call, room, user)
	}
	other, err := nd.peer(to)
	if err != nil {
		return "", nil, err
	}
	return other.Server.MakeMembership(ctx, nd.Name(), room, user, call[len("make_"):], versions)
}

func (nd wire) SendJoin(ctx context.Context, to matrix.ServerName, room matrix.RoomID, id matrix.EventID, pdu []byte) (*roomserver.JoinAnswer, error) {
	if lie := nd.lie(to).sendJoin; lie != nil {
		return lie(room, pdu)
	}
	other, err := nd.peer(to)
	if err != nil {
		return nil, err
	}
	join, err := other.SendMembership(ctx, nd.Name(), room, id, "join", pdu)
	if err != nil {
		return nil, err
	}
	state, err := other.StateForJoin(ctx, join)
	return &roomserver.JoinAnswer{State: jsons(state.State), AuthChain: jsons(state.AuthChain), Event: join.JSON()}, err
}

func jsons(events []*event.Event) [][]byte {
	out := make([][]byte, len(events))
	for i, e := range events {
		out[i] = e.JSON()
	}
	return out
}

func (nd wire) SendLeave(ctx context.Context, to matrix.ServerName, room matrix.RoomID, id matrix.EventID, pdu []byte) error {
	other, err := nd.peer(to)
	if err == nil {
		_, err = other.SendMembership(ctx, nd.Name(), room, id, "leave", pdu)
	}
	return err
}

func (nd wire) SendKnock(ctx context.Context, to matrix.ServerName, room matrix.RoomID, id matrix.EventID, pdu []byte) ([]json.RawMessage, error) {
	other, err := nd.peer(to)
	if err != nil {
		return nil, err
	}
	if _, err := other.SendMembership(ctx, nd.Name(), room, id, "knock", pdu); err != nil {
		return nil, err
	}
	return other.Told(ctx, room)
}

func (nd wire) Invite(ctx context.Context, to matrix.ServerName, room matrix.RoomID, id matrix.EventID, version matrix.RoomVersion,
	pdu []byte, state []json.RawMessage) ([]byte, error) {
	if lie := nd.lie(to).invite; lie != nil {
		return lie(pdu)
	}
	other, err := nd.peer(to)
	if err != nil {
		return nil, err
	}
	return other.ReceiveInvite(ctx, nd.Name(), room, id, version, pdu, state)
}

func (nd wire) Event(ctx context.Context, from matrix.ServerName, id matrix.EventID) ([]byte, error) {
	if lie := nd.lie(from).event; lie != nil {
		return lie(id)
	}
	other, err := nd.peer(from)
	if err != nil {
		return nil, err
	}
	e, err := other.EventFor(ctx, nd.asking(other), id)
	if err != nil {
		return nil, err
	}
	return e.JSON(), nil
}

func (nd wire) StateIDs(ctx context.Context, from matrix.ServerName, room matrix.RoomID, at matrix.EventID) (state, auth []matrix.EventID, err error) {
	if lie := nd.lie(from).stateIDs; lie != nil {
		return lie(at)
	}
	other, err := nd.peer(from)
	if err != nil {
		return nil, nil, err
	}
	got, err := other.StateAt(ctx, nd.asking(other), room, at)
	for _, e := range got.State {
		state = append(state, e.ID())
	}
	for _, e := range got.AuthChain {
		auth = append(auth, e.ID())
	}
	return state, auth, err
}

func (nd wire) State(ctx context.Context, from matrix.ServerName, room matrix.RoomID, at matrix.EventID) (state, auth [][]byte, err error) {
	if lie := nd.lie(from).state; lie != nil {
		return lie(at)
	}
	other, err := nd.peer(from)
	if err != nil {
		return nil, nil, err
	}
	got, err := other.StateAt(ctx, nd.asking(other), room, at)
	return jsons(got.State), jsons(got.AuthChain), err
}

func (nd wire) EventAuth(ctx context.Context, from matrix.ServerName, room matrix.RoomID, id matrix.EventID) ([][]byte, error) {
	if lie := nd.lie(from).eventAuth; lie != nil {
		return lie(id)
	}
	other, err := nd.peer(from)
	if err != nil {
		return nil, err
	}
	got, err := other.Server.EventAuth(ctx, nd.asking(other), room, id)
	return jsons(got), err
}

func (nd wire) MissingEvents(ctx context.Context, from matrix.ServerName, room matrix.RoomID, earliest, latest []matrix.EventID,
	limit int, minDepth int64) ([][]byte, error) {
	if lie := nd.lie(from).missing; lie != nil {
		return lie(latest)
	}
	other, err := nd.peer(from)
	if err != nil {
		return nil, err
	}
	got, err := other.MissingFor(ctx, nd.asking(other), room, earliest, latest, limit, minDepth)
	return jsons(got), err
}

func (nd wire) Backfill(ctx context.Context, from matrix.ServerName, room matrix.RoomID, before []matrix.EventID, limit int) ([][]byte, error) {
	if lie := nd.lie(from).backfill; lie != nil {
		return lie(before)
	}
	other, err := nd.peer(from)
	if err != nil {
		return nil, err
	}
	got, err := other.BackfillFor(ctx, nd.asking(other), room, before, limit)
	return jsons(got), err
}

func (wire) QueryDirectory(context.Context, matrix.ServerName, matrix.RoomAlias) (matrix.RoomID, []matrix.ServerName, error) {
	return "", nil, matrix.NotFound("no alias")
}

func (nd wire) Hierarchy(ctx context.Context, at matrix.ServerName, room matrix.RoomID, suggestedOnly bool) (json.RawMessage, error) {
	other, err := nd.peer(at)
	if err != nil {
		return nil, err
	}
	got, err := other.HierarchyFor(ctx, nd.Name(), room, suggestedOnly)
	if err != nil {
		return nil, err
	}
	return json.Marshal(got)
}

func (wire) ExchangeThirdPartyInvite(context.Context, matrix.ServerName, matrix.RoomID, any) error {
	return matrix.NotFound("no invitation")
}

func (nd wire) TimestampToEvent(ctx context.Context, at matrix.ServerName, room matrix.RoomID, ts int64, dir string) (matrix.EventID, int64, error) {
	other, err := nd.peer(at)
	if err != nil {
		return "", 0, err
	}
	got, err := other.NearTimeFor(ctx, nd.Name(), roomserver.NearRequest{Room: room, TS: ts, Backwards: dir == "b"})
	return got.EventID, got.TS, err
}

func createRoom(t *testing.T, nd *node, creator matrix.UserID, version matrix.RoomVersion, preset string, invite ...matrix.UserID) matrix.RoomID {
	t.Helper()
	id, err := nd.CreateRoom(t.Context(), roomserver.CreateRequest{CreateRequest: policy.CreateRequest{
		Creator: creator, Version: version, Preset: preset, Invite: invite}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func say(t *testing.T, nd *node, user matrix.UserID, room matrix.RoomID, body string) matrix.EventID {
	t.Helper()
	content, _ := json.Marshal(map[string]string{"msgtype": "m.text", "body": body})
	id, err := nd.Send(t.Context(), roomserver.SendRequest{Sender: user, Room: room, Type: "m.room.message", Content: content})
	if err != nil {
		t.Fatal(err)
	}
	return id
}
