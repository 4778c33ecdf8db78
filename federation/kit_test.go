package federation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/bus"
	"beffroi/e2ee"
	"beffroi/federation"
	"beffroi/federation/client"
	"beffroi/federation/keyring"
	"beffroi/federation/sendqueue"
	"beffroi/internal/httpx"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/media"
	"beffroi/media/blobs"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/peers"
	"beffroi/storage/rooms"
)

const (
	one   matrix.ServerName = "one.example"
	two   matrix.ServerName = "two.example"
	evil  matrix.ServerName = "evil.example"
	alice matrix.UserID     = "@alice:one.example"
	bob   matrix.UserID     = "@bob:two.example"
	eve   matrix.UserID     = "@eve:evil.example"
)

// network is the HTTPS servers of a test. Each server name has an address in a
// range for documentation, which leads to a listener on loopback.
type network struct {
	ca *testkit.CA

	mu    sync.Mutex
	addrs map[string]string // guarded by mu: of the network to loopback; none for who is away
}

var addresses = map[matrix.ServerName]string{
	one: "192.0.2.1:8448", two: "192.0.2.2:8448", evil: "192.0.2.3:8448", "stranger.example": "192.0.2.4:8448",
	"away.example": "192.0.2.5:8448",
}

func newNetwork(t *testing.T) *network {
	return &network{ca: testkit.NewCA(t), addrs: make(map[string]string)}
}

func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	to := n.addrs[addr]
	n.mu.Unlock()
	if to == "" {
		return nil, fmt.Errorf("nobody is at %s", addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, to)
}

// serve puts a handler at the address of a server.
func (n *network) serve(t *testing.T, name matrix.ServerName, h http.Handler) *httptest.Server {
	t.Helper()
	server := n.ca.Serve(t, h, string(name))
	n.connect(name, server.Listener.Addr().String())
	return server
}

func (n *network) connect(name matrix.ServerName, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs[addresses[name]] = to
}

func (n *network) client(t *testing.T, key signing.Key, gate client.Gate) *client.Client {
	t.Helper()
	c := client.New(client.Options{Name: key.Server, Key: key, Gate: gate, RootCAs: n.ca.Pool(), Resolver: addresses,
		Dial: n.dial, Timeout: 20 * time.Second})
	t.Cleanup(c.Close)
	return c
}

// maxFile bounds the files of a test.
const maxFile = 1 << 20

// host is one homeserver as far as other servers see it, and what brings its
// events to them.
type host struct {
	name     matrix.ServerName
	net      *network
	db       *storage.DB
	bus      *bus.Local
	key      signing.Key
	gate     *policystore.Store
	rooms    *roomserver.Server
	accounts *account.Server
	devices  *e2ee.Server
	remote   *client.Client
	keys     *keyring.Ring
	inbox    *federation.Inbox
	media    *media.Server
	router   *httpx.Router
	server   *httptest.Server

	woken   atomic.Int64 // how often somebody signed a request
	fetched atomic.Int64 // how often somebody asked for our keys
}

// ministries is a document with one and two as ministries and evil as a
// partner. stranger.example is unknown.
const ministries = `
version: 1
issuer: dinum.example
organisations:
  - {id: un, class: government, homeservers: [{name: one.example}], contact: "mailto:ssi@one.example"}
  - {id: deux, class: government, homeservers: [{name: two.example}, {name: away.example}]}
  - {id: partenaire, class: external, homeservers: [{name: evil.example}]}
`

// start runs a server on a database of its own. Without a document every
// server is admitted and no access rule is enforced.
func (n *network) start(t *testing.T, engine string, name matrix.ServerName, document string) *host {
	t.Helper()
	return n.startOn(t, testkit.OpenDB(t, engine), name, document)
}

func (n *network) startOn(t *testing.T, db *storage.DB, name matrix.ServerName, document string) *host {
	t.Helper()
	key, err := signing.NewKey(name, "a1")
	must(t, err)
	h := &host{name: name, net: n, db: db, bus: new(bus.Local), key: key}
	db.OnCommit(h.bus.Publish)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	options := policystore.Options{DB: db, Self: name, Development: document == "", Log: log}
	if document != "" {
		options.File = filepath.Join(t.TempDir(), "policy.yaml")
		must(t, os.WriteFile(options.File, []byte(document), 0o600))
	}
	h.gate, err = policystore.Open(t.Context(), options)
	must(t, err)
	h.remote = n.client(t, key, h.gate)
	h.keys = keyring.New(keyring.Options{Own: keyring.Own{Current: key}, DB: db, Client: h.remote})
	queue := sendqueue.New(sendqueue.Options{Name: name, DB: db, Bus: h.bus, Log: sendqueue.RoomLog(db, name), Sender: h.remote, Logger: log})
	h.accounts, err = account.New(account.Options{DB: db, ServerName: name, Gate: h.gate, Development: true})
	must(t, err)
	h.rooms = roomserver.New(roomserver.Options{DB: db, Key: key, Gate: h.gate, Keys: h.keys,
		Remote: federation.NewRemote(h.remote), EDUs: ephemeral{queue}, Guests: h.accounts})
	h.devices = e2ee.New(e2ee.Options{DB: db, ServerName: name, Remote: h.remote, Outbox: sendqueue.Outbox{}, Bus: h.bus, Logger: log})
	store, err := blobs.NewDir(t.TempDir())
	must(t, err)
	h.media, err = media.New(media.Options{DB: db, ServerName: name, Store: store, Remote: h.remote, Folder: t.TempDir(),
		MaxUpload: maxFile, MaxRemote: maxFile, Log: log})
	must(t, err)
	h.inbox = federation.NewInbox(federation.InboxOptions{Name: name, DB: db, Gate: h.gate, Rooms: h.rooms, Devices: h.devices,
		Backoff: func(int) time.Duration { return time.Millisecond }, Logger: log})
	h.router = httpx.NewRouter(httpx.Options{Log: log})
	federation.New(federation.Options{Name: name, Gate: h.gate, Keys: h.keys, Rooms: h.rooms, Accounts: h.accounts,
		Devices: h.devices, Media: h.media, Inbox: h.inbox, WakeUp: func(s matrix.ServerName) { h.woken.Add(1); queue.WakeUp(s) },
		Software: "Beffroi", Version: "test", Logger: log}).Routes(h.router)
	h.server = n.serve(t, name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_matrix/key/v2/server") {
			h.fetched.Add(1)
		}
		h.router.ServeHTTP(w, r)
	}))
	run(t, queue.Run)
	return h
}

// work makes the inbox of a server work until the test ends, or stop is called.
func (h *host) work(t *testing.T) (stop func()) { return run(t, h.inbox.Run) }

func run(t *testing.T, fn func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := fn(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

type ephemeral struct{ queue *sendqueue.Queue }

func (e ephemeral) SendEphemeral(to []matrix.ServerName, typ, key string, content []byte) {
	_ = e.queue.SendEphemeral(to, peers.EDU{Type: typ, Content: content}, key) // none is too long
}

// user makes an account.
func (h *host) user(t *testing.T, user matrix.UserID) {
	t.Helper()
	_, err := h.accounts.CreateUser(t.Context(), account.NewUser{Localpart: user.Localpart(), Password: "pw"})
	must(t, err)
}

// device logs an account in.
func (h *host) device(t *testing.T, user matrix.UserID, id matrix.DeviceID) {
	t.Helper()
	_, err := h.accounts.LoginByPassword(t.Context(), account.Identifier{Type: "m.id.user", User: user.Localpart()}, "pw", account.Client{DeviceID: id})
	must(t, err)
}

func (h *host) room(t *testing.T, creator matrix.UserID, version matrix.RoomVersion, preset string, state ...policy.StateEvent) matrix.RoomID {
	t.Helper()
	id, err := h.rooms.CreateRoom(t.Context(), roomserver.CreateRequest{
		CreateRequest: policy.CreateRequest{Creator: creator, Preset: preset, Version: version, InitialState: state}})
	must(t, err)
	return id
}

func (h *host) join(t *testing.T, user matrix.UserID, room matrix.RoomID, via ...matrix.ServerName) {
	t.Helper()
	must(t, h.rooms.Join(t.Context(), roomserver.JoinRequest{User: user, Room: room, Via: via}))
}

func (h *host) say(t *testing.T, user matrix.UserID, room matrix.RoomID, text string) matrix.EventID {
	t.Helper()
	content, err := json.Marshal(map[string]string{"body": text, "msgtype": "m.text"})
	must(t, err)
	id, err := h.rooms.Send(t.Context(), roomserver.SendRequest{Sender: user, Room: room, Type: "m.room.message", Content: content})
	must(t, err)
	return id
}

// has waits until a server has accepted an event.
func (h *host) has(t *testing.T, id matrix.EventID) {
	t.Helper()
	h.until(t, "event "+string(id), func(r *storage.Reader) bool {
		status, ok := h.status(t, r, id)
		return ok && status == rooms.Accepted
	})
}

func (h *host) status(t *testing.T, r *storage.Reader, id matrix.EventID) (rooms.Status, bool) {
	t.Helper()
	found, err := rooms.Events(t.Context(), r, []matrix.EventID{id})
	must(t, err)
	if found[id] == nil {
		return 0, false
	}
	return found[id].Status, true
}

// knows reports whether an event is stored, in whatever status.
func (h *host) knows(t *testing.T, id matrix.EventID) (known bool) {
	t.Helper()
	must(t, h.db.View(t.Context(), func(r *storage.Reader) error {
		_, known = h.status(t, r, id)
		return nil
	}))
	return known
}

// idle waits until the inbox has nothing to do.
func (h *host) idle(t *testing.T) {
	t.Helper()
	h.until(t, "an empty inbox", func(r *storage.Reader) bool {
		names, err := peers.WaitingNames(t.Context(), r, 10)
		must(t, err)
		return len(names) == 0
	})
}

// until waits for something to be so in the database.
func (h *host) until(t *testing.T, what string, is func(*storage.Reader) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	hints := bus.Hints(ctx, h.bus)
	tick := time.NewTicker(20 * time.Millisecond) // not every commit moves the log
	defer tick.Stop()
	for {
		ok := false
		must(t, h.db.View(context.Background(), func(r *storage.Reader) error {
			ok = is(r)
			return nil
		}))
		if ok {
			return
		}
		select {
		case <-hints:
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: waited in vain for %s", h.name, what)
		}
	}
}

func (h *host) verify(t *testing.T) {
	t.Helper()
	findings, err := storage.Verify(t.Context(), h.db)
	must(t, err)
	for _, f := range findings {
		t.Error(h.name, f)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
