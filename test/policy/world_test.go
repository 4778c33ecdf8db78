// Package policy_test holds whole servers against the policy: every way by
// which an account could become a member of a room is tried, and a table that
// people can read (waysin.tsv) says what must come of it.
package policy_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/config"
	"beffroi/internal/node"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/peers"
)

// The document that every real server of the world enforces.
const document = `
version: 2
issuer: dinum.example
organisations:
  - {id: un, class: government, homeservers: [{name: one.example}], email_domains: [un.gouv.example], contact: "mailto:ssi@one.example"}
  - {id: deux, class: government, homeservers: [{name: two.example}], email_domains: [deux.gouv.example]}
  - {id: allie, class: government, homeservers: [{name: ally.example}]}
  - {id: partenaire, class: external, homeservers: [{name: externe.example}, {name: evil.example}], email_domains: [partenaire.example]}
  - {id: fini, class: external, homeservers: [{name: ended.example}], starts: 2020-01-01T00:00:00Z, ends: 2021-01-01T00:00:00Z}
  - {id: bloque, class: blocked, homeservers: [{name: blocked.example}]}
  - {id: coupe, class: government, homeservers: [{name: denied.example}]}
federation: {default: deny, allow: [free.example], deny: [denied.example]}
`

// The accounts that try to come in, by the word that the table has for them.
var (
	realServers = map[string]matrix.ServerName{
		"agent": "one.example", "ministry": "two.example", "partner": "externe.example",
	}
	scriptedServers = map[string]matrix.ServerName{
		"ministry": "ally.example", "partner": "evil.example", "ended": "ended.example", "blocked": "blocked.example",
		"denied": "denied.example", "unaffiliated": "free.example", "unknown": "stranger.example",
	}
)

// world is three real servers and a scripted one under several names.
type world struct {
	ca    *testkit.CA
	real  map[matrix.ServerName]*server
	pens  map[matrix.ServerName]*pen
	alice *client // of one.example, who has the rooms

	last atomic.Int64 // counts the accounts, and what else must be another each time
	mu   sync.Mutex
	out  map[place]string // guarded by mu: who must not be a member, and by which way it tried
}

// place is an account in a room.
type place struct {
	room matrix.RoomID
	user matrix.UserID
}

// server is a real one.
type server struct {
	*node.Node
	name       matrix.ServerName
	url        string // of the client API
	federation string // host and port
}

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "24"); err != nil { // most of the time they wait for each other's servers
		panic(err)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(m.Run())
}

// newWorld starts the servers on databases of an engine.
func newWorld(t *testing.T, engine string) *world {
	t.Helper()
	w := &world{ca: testkit.NewCA(t), real: make(map[matrix.ServerName]*server), pens: make(map[matrix.ServerName]*pen),
		out: make(map[place]string)}
	folder := t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, "ca.pem"), w.ca.PEM(), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "policy.yaml"), []byte(document), 0o600))
	var resolver strings.Builder
	listeners := make(map[matrix.ServerName]node.Listeners)
	for _, name := range realServers {
		var l node.Listeners
		var err error
		l.Client, err = net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		l.Federation, err = net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		listeners[name] = l
		fmt.Fprintf(&resolver, "%s %s\n", name, l.Federation.Addr())
	}
	address := w.startPens(t)
	for name := range w.pens {
		fmt.Fprintf(&resolver, "%s %s\n", name, address)
	}
	must(t, os.WriteFile(filepath.Join(folder, "resolver"), []byte(resolver.String()), 0o600))
	for name, l := range listeners {
		w.real[name] = w.start(t, engine, folder, name, l)
	}
	w.alice = w.account(t, "one.example", "alice")
	return w
}

func (w *world) start(t *testing.T, engine, folder string, name matrix.ServerName, l node.Listeners) *server {
	t.Helper()
	c := config.Default()
	c.Development = true // no limits of rate; the policy that it names is enforced
	c.ServerName, c.Data, c.Database = name, filepath.Join(folder, string(name)), testkit.DSN(t, engine)
	c.Policy, c.Federation.Resolver = filepath.Join(folder, "policy.yaml"), filepath.Join(folder, "resolver")
	c.TrustCA, c.PublicURL = filepath.Join(folder, "ca.pem"), "http://"+l.Client.Addr().String()
	c.Client.Listen, c.Federation.Listen, c.Metrics.Listen = l.Client.Addr().String(), l.Federation.Addr().String(), ""
	c.TLS.Cert, c.TLS.Key = w.ca.Files(t, string(name))
	must(t, c.Check())
	n, err := node.Open(t.Context(), c)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	return &server{Node: n, name: name, url: c.PublicURL, federation: l.Federation.Addr().String()}
}

// account makes an account on a real server and logs it in.
func (w *world) account(t *testing.T, at matrix.ServerName, name string) *client {
	t.Helper()
	s := w.real[at]
	user, err := s.Accounts.CreateUser(t.Context(), account.NewUser{Localpart: name, Password: "secret password"})
	must(t, err)
	login, err := s.Accounts.LoginByPassword(t.Context(), account.Identifier{Type: "m.id.user", User: name}, "secret password", account.Client{})
	must(t, err)
	return &client{server: s, user: user, token: login.Token}
}

// settled waits until a real server has worked a transaction.
func (s *server) settled(t *testing.T, origin matrix.ServerName, txn string) {
	t.Helper()
	s.until(t, "what "+string(origin)+" sent is worked", func(r *storage.Reader) bool {
		waiting, err := peers.WaitingNames(t.Context(), r, 1000)
		must(t, err)
		for _, in := range waiting {
			if in.Origin == origin && in.TxnID == txn {
				return false
			}
		}
		return true
	})
}

// until waits for something to be so in the database.
func (s *server) until(t *testing.T, what string, is func(*storage.Reader) bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok := false
		must(t, s.DB.View(t.Context(), func(r *storage.Reader) error {
			ok = is(r)
			return nil
		}))
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: waited in vain: %s", s.name, what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
