package clientapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"beffroi/account"
	"beffroi/bus"
	"beffroi/clientapi"
	"beffroi/e2ee"
	"beffroi/federation/client"
	"beffroi/federation/sendqueue"
	"beffroi/internal/httpx"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/media"
	"beffroi/media/blobs"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/search"
	"beffroi/storage"
	"beffroi/syncapi"
)

const server matrix.ServerName = "here.example"

// host is a whole server without a network: every other server is away.
type host struct {
	router   *httpx.Router
	accounts *account.Server
	rooms    *roomserver.Server
	gate     *policystore.Store
	db       *storage.DB
}

// presentURL is the URL of a host that tells who is there.
const presentURL = "https://present.here.example"

// options change a host before it starts.
type options func(*account.Options, *clientapi.Options, *policystore.Options)

func start(t *testing.T, change ...options) *host {
	t.Helper()
	return startOn(t, testkit.OpenDB(t, "sqlite"), change...)
}

func startOn(t *testing.T, db *storage.DB, change ...options) *host {
	t.Helper()
	ao := account.Options{DB: db, ServerName: server, Development: true, RegistrationSecret: "secret"}
	co := clientapi.Options{ServerName: server, PublicURL: "https://matrix.here.example",
		FederationAddress: "matrix.here.example:8448", Development: true}
	po := policystore.Options{DB: db, Self: server, Development: true, Log: slog.New(slog.DiscardHandler)}
	for _, fn := range change {
		fn(&ao, &co, &po)
	}
	hints := new(bus.Local)
	db.OnCommit(hints.Publish)
	gate, err := policystore.Open(t.Context(), po)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gate.Close(); err != nil {
			t.Error(err)
		}
	})
	key, err := signing.NewKey(server, "a1")
	if err != nil {
		t.Fatal(err)
	}
	others := remote{client.New(client.Options{Name: server, Key: key, Gate: gate, Resolver: nowhere, Dial: away})}
	ao.Gate, co.Gate = gate, gate
	if co.Accounts, err = account.New(ao); err != nil {
		t.Fatal(err)
	}
	co.Addresses = gate
	co.Rooms = roomserver.New(roomserver.Options{DB: db, Key: key, Gate: gate, Remote: others, Presence: co.PublicURL == presentURL,
		DefaultVersion: co.DefaultVersion, Guests: co.Accounts})
	co.Keys = e2ee.New(e2ee.Options{DB: db, ServerName: server, Remote: others, Outbox: sendqueue.Outbox{}})
	co.Remote = others
	if co.Media == nil {
		co.Media = newMedia(t, db)
	}
	co.Sync = syncapi.New(syncapi.Options{DB: db, Bus: hints, Rooms: co.Rooms, Devices: co.Keys})
	run(t, co.Sync.Run)
	co.Search = search.New(search.Options{DB: db, Bus: hints, ServerName: server})
	run(t, co.Search.Run)
	h := &host{router: httpx.NewRouter(httpx.Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}), accounts: co.Accounts, rooms: co.Rooms, gate: gate, db: db}
	clientapi.New(co).Routes(h.router)
	return h
}

// newMedia returns the owner of files, with small limits.
func newMedia(t *testing.T, db *storage.DB, change ...func(*media.Options)) *media.Server {
	t.Helper()
	store, err := blobs.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := media.Options{DB: db, ServerName: server, Store: store, Folder: t.TempDir(), MaxUpload: 1 << 20, MaxRemote: 1 << 20}
	for _, fn := range change {
		fn(&o)
	}
	m, err := media.New(o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, m.Run)
	return m
}

// run runs a component until the test ends.
func run(t *testing.T, component func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- component(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// remote is the real client of federation.
type remote struct{ *client.Client }

func (r remote) SendJoin(ctx context.Context, to matrix.ServerName, room matrix.RoomID, id matrix.EventID, pdu []byte) (*roomserver.JoinAnswer, error) {
	answer, err := r.Client.SendJoin(ctx, to, room, id, pdu)
	if err != nil {
		return nil, err
	}
	return &roomserver.JoinAnswer{State: answer.State, AuthChain: answer.AuthChain, Event: answer.Event}, nil
}

// nowhere has the addresses of other servers, and away is a network on which
// nobody answers.
var nowhere = map[matrix.ServerName]string{"away.example": "192.0.2.1:8448"}

func away(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }

// reply is an answer of the server.
type reply struct {
	status int
	header http.Header
	gjson.Result
}

// wants fails the test unless the answer has a status and, where it is not "",
// an errcode.
func (r reply) wants(t *testing.T, status int, code string) reply {
	t.Helper()
	if got := r.Get("errcode").String(); r.status != status || code != "" && got != code {
		t.Fatalf("%d %s, want %d %s", r.status, r.Raw, status, code)
	}
	return r
}

func (r reply) ok(t *testing.T) reply {
	t.Helper()
	return r.wants(t, http.StatusOK, "")
}

// call makes a request. The body is JSON as a string, nil, or something to
// marshal.
func (h *host) call(t testing.TB, token, method, path string, body any) reply {
	t.Helper()
	raw, isText := body.(string)
	if !isText && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		raw = string(b)
	}
	if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/_") && !strings.HasPrefix(path, "/.") {
		path = "/_matrix/client/v3" + path
	}
	r := httptest.NewRequest(method, path, strings.NewReader(raw))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return h.serve(r)
}

func (h *host) serve(r *http.Request) reply {
	w := httptest.NewRecorder()
	h.router.ServeHTTP(w, r)
	return toReply(w)
}

func toReply(w *httptest.ResponseRecorder) reply {
	return reply{w.Code, w.Header(), gjson.Parse(w.Body.String())}
}

// person is somebody who is logged in.
type person struct {
	*host
	id, token, device string
}

// registers makes an account with the password "pass-"+name.
func (h *host) registers(t testing.TB, name string) *person {
	t.Helper()
	got := h.call(t, "", "POST", "/register", map[string]any{
		"username": name, "password": "pass-" + name, "auth": map[string]string{"type": "m.login.dummy"}})
	if got.status != http.StatusOK {
		t.Fatalf("register %s: %d %s", name, got.status, got.Raw)
	}
	return &person{h, got.Get("user_id").String(), got.Get("access_token").String(), got.Get("device_id").String()}
}

func (p *person) get(t testing.TB, path string) reply {
	t.Helper()
	return p.call(t, p.token, "GET", path, nil)
}

func (p *person) put(t testing.TB, path string, body any) reply {
	t.Helper()
	return p.call(t, p.token, "PUT", path, body)
}

func (p *person) post(t testing.TB, path string, body any) reply {
	t.Helper()
	return p.call(t, p.token, "POST", path, body)
}

func (p *person) delete(t testing.TB, path string) reply {
	t.Helper()
	return p.call(t, p.token, "DELETE", path, nil)
}

// creates makes a room and returns its path.
func (p *person) creates(t testing.TB, body any) (id, path string) {
	t.Helper()
	got := p.post(t, "/createRoom", body)
	if got.status != http.StatusOK {
		t.Fatalf("create: %d %s", got.status, got.Raw)
	}
	id = got.Get("room_id").String()
	return id, "/rooms/" + url.PathEscape(id)
}

type body = map[string]any
