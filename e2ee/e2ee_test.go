package e2ee_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"beffroi/e2ee"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/peers"
	"beffroi/storage/rooms"
	"beffroi/storage/users"
)

// network is the servers of a test, which call each other directly.
type network struct {
	mu      sync.Mutex
	servers map[matrix.ServerName]*server // guarded by mu
	down    map[matrix.ServerName]bool    // guarded by mu
	asked   map[string]int                // guarded by mu; how often for what
}

// server is the keys of one server, on a database of its own.
type server struct {
	*e2ee.Server
	name matrix.ServerName
	db   *storage.DB
	sent storage.Position // what of the outbox was delivered
	mu   sync.Mutex
	at   time.Time // guarded by mu
}

// outbox is the real one.
type outbox struct{}

func (outbox) QueueEDU(ctx context.Context, tx *storage.Tx, destination matrix.ServerName, typ string, content json.RawMessage, key string) error {
	return peers.AddEDU(ctx, tx, []matrix.ServerName{destination}, peers.EDU{Type: typ, Content: content}, key)
}

func newNetwork() *network {
	return &network{servers: map[matrix.ServerName]*server{}, down: map[matrix.ServerName]bool{}, asked: map[string]int{}}
}

func (n *network) add(name matrix.ServerName, db *storage.DB) *server {
	s := &server{name: name, db: db, at: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	s.Server = e2ee.New(e2ee.Options{DB: db, ServerName: name, Remote: n, Outbox: outbox{}, Now: s.now})
	n.servers[name] = s
	return s
}

func (s *server) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *server) forward(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(d)
}

// alone returns a server without others.
func alone(db *storage.DB) *server { return newNetwork().add("here.example", db) }

func (n *network) peer(name matrix.ServerName, what string) (*server, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[what]++
	if n.down[name] || n.servers[name] == nil {
		return nil, matrix.NewError(502, "M_UNKNOWN", "%s does not answer", name)
	}
	return n.servers[name], nil
}

func (n *network) UserDevices(ctx context.Context, destination matrix.ServerName, user matrix.UserID) (json.RawMessage, error) {
	s, err := n.peer(destination, "devices")
	if err != nil {
		return nil, err
	}
	list, err := s.AnswerDevices(ctx, user)
	return encoded(list, err)
}

func (n *network) UserKeysQuery(ctx context.Context, destination matrix.ServerName, body any) (json.RawMessage, error) {
	s, err := n.peer(destination, "query")
	if err != nil {
		return nil, err
	}
	var q e2ee.Query
	if err := decode(body, &q); err != nil {
		return nil, err
	}
	return encodedOf(s.AnswerQuery(ctx, q))
}

func (n *network) UserKeysClaim(ctx context.Context, destination matrix.ServerName, body any) (json.RawMessage, error) {
	s, err := n.peer(destination, "claim")
	if err != nil {
		return nil, err
	}
	var c e2ee.Claim
	if err := decode(body, &c); err != nil {
		return nil, err
	}
	return encodedOf(s.AnswerClaim(ctx, c))
}

func decode(body, out any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

func encodedOf[T any](v T, err error) (json.RawMessage, error) { return encoded(v, err) }

func encoded(v any, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// deliver brings what waits in the outbox of one server to another, and
// returns the types of the messages.
func (s *server) deliver(t *testing.T, to *server) (types []string) {
	t.Helper()
	var waiting []peers.Queued
	read(t, s.db, func(r *storage.Reader) (err error) {
		waiting, err = peers.QueuedEDUs(t.Context(), r, to.name, s.sent, 0, 10_000)
		return err
	})
	for _, w := range waiting {
		var edu peers.EDU
		if err := json.Unmarshal(w.EDU, &edu); err != nil {
			t.Fatal(err)
		}
		to.receive(t, s.name, edu)
		types, s.sent = append(types, edu.Type), w.Pos
	}
	return types
}

func (s *server) receive(t *testing.T, origin matrix.ServerName, edu peers.EDU) {
	t.Helper()
	var err error
	switch edu.Type {
	case "m.direct_to_device":
		err = s.ReceiveToDevice(t.Context(), origin, edu.Content)
	case "m.device_list_update":
		err = s.ReceiveDeviceList(t.Context(), origin, edu.Content)
	case "m.signing_key_update":
		err = s.ReceiveSigningKeys(t.Context(), origin, edu.Content)
	}
	wants(t, err, "")
}

func read(t *testing.T, db *storage.DB, fn func(*storage.Reader) error) {
	t.Helper()
	if err := db.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, db *storage.DB, fn func(context.Context, *storage.Tx) error) {
	t.Helper()
	if _, err := db.Append(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func (s *server) head(t *testing.T) (pos storage.Position) {
	t.Helper()
	read(t, s.db, func(r *storage.Reader) (err error) {
		pos, err = storage.Head(t.Context(), r)
		return err
	})
	return pos
}

// join makes an account a member of a room, or with another membership not.
func (s *server) member(t *testing.T, room int64, user matrix.UserID, membership string) {
	t.Helper()
	write(t, s.db, func(ctx context.Context, tx *storage.Tx) error {
		return rooms.SetMember(ctx, tx, rooms.Member{RoomNID: room, User: user, Membership: membership, Pos: tx.Next()})
	})
}

// device is a device with its keys.
type device struct {
	user matrix.UserID
	id   matrix.DeviceID
	key  ed25519.PrivateKey
}

// device makes an account, if it is not there, and a device of it.
func (s *server) device(t *testing.T, user matrix.UserID, id matrix.DeviceID) *device {
	t.Helper()
	write(t, s.db, func(ctx context.Context, tx *storage.Tx) error {
		if _, err := users.Create(ctx, tx, users.User{ID: user}); err != nil {
			return err
		}
		return users.AddDevice(ctx, tx, user, users.Device{ID: id, DisplayName: "name of " + string(id)})
	})
	return &device{user, id, newKey(t)}
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(key ed25519.PrivateKey) string {
	return signing.EncodeBase64(key.Public().(ed25519.PublicKey))
}

// sign signs an object in the name of an account.
func sign(t *testing.T, object any, user matrix.UserID, id string, key ed25519.PrivateKey) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signing.Sign(raw, signing.Key{Server: matrix.ServerName(user), ID: matrix.KeyID("ed25519:" + id), Private: key})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (d *device) fields() map[string]any {
	return map[string]any{
		"user_id": d.user, "device_id": d.id, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
		"keys": map[string]string{"ed25519:" + string(d.id): public(d.key), "curve25519:" + string(d.id): public(d.key)},
	}
}

func (d *device) identity(t *testing.T) json.RawMessage {
	t.Helper()
	return sign(t, d.fields(), d.user, string(d.id), d.key)
}

// oneTime returns n signed one-time keys, whose IDs begin with a prefix.
func (d *device) oneTime(t *testing.T, prefix string, n int) map[string]json.RawMessage {
	t.Helper()
	list := map[string]json.RawMessage{}
	for i := range n {
		list[fmt.Sprintf("signed_curve25519:%s%03d", prefix, i)] =
			sign(t, map[string]any{"key": public(newKey(t))}, d.user, string(d.id), d.key)
	}
	return list
}

// publish uploads the identity of a device and some one-time keys.
func (s *server) publish(t *testing.T, d *device, n int) {
	t.Helper()
	result, err := s.Upload(t.Context(), d.user, d.id, e2ee.Upload{DeviceKeys: d.identity(t), OneTimeKeys: d.oneTime(t, "A", n)})
	wants(t, err, "")
	if len(result.Failures) > 0 || result.Counts["signed_curve25519"] != n {
		t.Fatalf("upload %+v", result)
	}
}

// wants fails unless err is an answer with a code; "" is success.
func wants(t *testing.T, err error, code string) {
	t.Helper()
	answer, ok := errors.AsType[*matrix.Error](err)
	switch {
	case code == "" && err != nil:
		t.Errorf("%v, want success", err)
	case code != "" && !ok:
		t.Errorf("%v, want %s", err, code)
	case code != "" && answer.Code != code:
		t.Errorf("%v, want %s", err, code)
	}
}

// changed returns the accounts that viewer sees changed after a position.
func (s *server) changed(t *testing.T, viewer matrix.UserID, after storage.Position) (list []matrix.UserID) {
	t.Helper()
	read(t, s.db, func(r *storage.Reader) (err error) {
		list, err = keys.ChangedUsers(t.Context(), r, viewer, after, 1<<62)
		return err
	})
	return list
}

// each runs fn with a server without others, on both engines.
func each(t *testing.T, fn func(t *testing.T, s *server)) {
	t.Helper()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) { fn(t, alone(db)) })
}

// deleteDevice does what the owner of accounts does.
func deleteDevice(user matrix.UserID, id matrix.DeviceID) func(context.Context, *storage.Tx) error {
	return func(ctx context.Context, tx *storage.Tx) error {
		if err := users.DeleteDevices(ctx, tx, user, []matrix.DeviceID{id}); err != nil {
			return err
		}
		return keys.DeleteDevices(ctx, tx, user, []matrix.DeviceID{id})
	}
}
