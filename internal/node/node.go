// Package node assembles one homeserver from its configuration. It knows every
// package and holds no rule: cmd/beffroi runs one node, its demo and the tests
// run several in one process.
package node

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"beffroi/account"
	"beffroi/adminapi"
	"beffroi/bus"
	"beffroi/clientapi"
	"beffroi/config"
	"beffroi/e2ee"
	"beffroi/federation"
	"beffroi/federation/client"
	"beffroi/federation/keyring"
	"beffroi/federation/sendqueue"
	"beffroi/internal/httpx"
	"beffroi/internal/obs"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/media"
	"beffroi/media/preview"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/search"
	"beffroi/storage"
	"beffroi/storage/peers"
	"beffroi/syncapi"
)

// Node is one homeserver. Its exported parts are for commands that run beside
// it and for tests.
type Node struct {
	DB       *storage.DB
	Policy   *policystore.Store
	Accounts *account.Server
	Rooms    *roomserver.Server
	Devices  *e2ee.Server
	Sync     *syncapi.Server
	Media    *media.Server
	Key      signing.Key

	config      config.Config
	log         *slog.Logger
	registry    *prometheus.Registry
	bus         *bus.Local
	keys        *keyring.Ring
	remote      *client.Client
	queue       *sendqueue.Queue
	inbox       *federation.Inbox
	previews    *preview.Server // nil: none
	sweeper     *policystore.Sweeper
	search      *search.Server
	certificate *certificate
	tls         *tls.Config // of the federation listener
	client      http.Handler
	federation  http.Handler
}

// Open brings the database up to date and wires a node. Nothing runs yet. The
// configuration was checked.
func Open(ctx context.Context, c config.Config) (n *Node, err error) {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	n = &Node{config: c, log: slog.Default(), registry: obs.NewRegistry(), bus: new(bus.Local)}
	if n.DB, err = storage.Open(ctx, c.DatabaseSource()); err != nil {
		return nil, err
	}
	n.DB.OnCommit(n.bus.Publish)
	n.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "beffroi_storage_statements_total", Help: "Statements that the database was asked to run.",
	}, func() float64 { return float64(n.DB.Statements()) }))
	for _, step := range []func(context.Context) error{n.openPolicy, n.openFederation, n.openOwners, n.openMedia, n.openEdges} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.DB.Close())
		}
	}
	return n, nil
}

func (n *Node) openFederation(context.Context) error {
	c := &n.config
	certFile, keyFile, own := c.TLSFiles()
	if own {
		if err := ensureCertificate(certFile, keyFile, c.ServerName); err != nil {
			return fmt.Errorf("self-signed certificate: %w", err)
		}
	}
	var err error
	if n.certificate, err = loadCertificate(certFile, keyFile); err != nil {
		return err
	}
	identity, err := keyring.LoadOrCreate(c.SigningKeyFile(), c.ServerName)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	n.Key = identity.Current
	options := client.Options{Name: c.ServerName, Key: n.Key, Gate: n.Policy, AllowRanges: c.Federation.AllowRanges,
		Timeout: c.Federation.Timeout, Metrics: n.registry}
	if options.RootCAs, err = readRoots(c.TrustCA); err != nil {
		return err
	}
	if options.Resolver, err = readResolver(c.Federation.Resolver); err != nil {
		return err
	}
	if c.Federation.Proxy != "" {
		if options.Proxy, err = url.Parse(c.Federation.Proxy); err != nil {
			return fmt.Errorf("federation.proxy: %w", err)
		}
	}
	if c.Federation.MutualTLS {
		options.Certificate = func() (*tls.Certificate, error) { return n.certificate.get(nil) }
	}
	if n.tls, err = federationTLS(c, n.certificate); err != nil {
		return err
	}
	n.remote = client.New(options)
	n.keys = keyring.New(keyring.Options{Own: identity, DB: n.DB, Client: n.remote, Pinned: n.pinnedKeys})
	n.queue = sendqueue.New(sendqueue.Options{Name: c.ServerName, DB: n.DB, Bus: n.bus,
		Log: sendqueue.RoomLog(n.DB, c.ServerName), Sender: n.remote, Logger: n.log, Metrics: n.registry})
	return nil
}

// pinnedKeys are the keys that the active document has for a server. The
// document was checked: what cannot be read here is no key.
func (n *Node) pinnedKeys(server matrix.ServerName) map[matrix.KeyID]ed25519.PublicKey {
	pinned := n.Policy.Engine().Snapshot().PinnedKeys(server)
	if len(pinned) == 0 {
		return nil
	}
	out := make(map[matrix.KeyID]ed25519.PublicKey, len(pinned))
	for id, text := range pinned {
		if raw, err := signing.DecodeBase64(text); err == nil && len(raw) == ed25519.PublicKeySize {
			out[id] = raw
		}
	}
	return out
}

func (n *Node) openOwners(context.Context) (err error) {
	c := &n.config
	mailer, err := newMailer(c.SMTP)
	if err != nil {
		return err
	}
	if mailer == nil {
		c.Validity.Period = 0 // nobody could renew an account
	}
	n.Accounts, err = account.New(account.Options{DB: n.DB, ServerName: c.ServerName, Gate: n.Policy, Mailer: mailer,
		PublicURL: c.ClientURL(), Development: c.Development, RegistrationSecret: c.Registration.Secret,
		TokenLifetime: c.Sessions.TokenLifetime, Validity: c.Validity.Period, DeactivateAfter: c.Validity.DeactivateAfter})
	if err != nil {
		return err
	}
	n.Rooms = roomserver.New(roomserver.Options{DB: n.DB, Key: n.Key, Gate: n.Policy, Keys: n.keys,
		Remote: federation.NewRemote(n.remote), EDUs: ephemeral{n.queue}, MemoryBytes: cacheMemory(int64(c.Memory)),
		Retention: roomserver.Retention(c.Retention), DefaultVersion: c.RoomVersion, Presence: c.Presence.Enabled,
		Guests: n.Accounts})
	n.sweeper = policystore.NewSweeper(n.Policy, n.Rooms)
	n.Devices = e2ee.New(e2ee.Options{DB: n.DB, ServerName: c.ServerName, Remote: n.remote, Outbox: sendqueue.Outbox{},
		Bus: n.bus, Logger: n.log})
	return nil
}

func (n *Node) openEdges(context.Context) error {
	c := &n.config
	n.Sync = syncapi.New(syncapi.Options{DB: n.DB, Bus: n.bus, Rooms: n.Rooms, Devices: n.Devices, Logger: n.log})
	router := httpx.NewRouter(httpx.Options{Listener: "client", Metrics: n.registry, Log: n.log, TrustedProxies: c.Client.TrustedProxies})
	n.search = search.New(search.Options{DB: n.DB, Bus: n.bus, ServerName: c.ServerName, Everybody: c.UserDirectory.Everybody, Logger: n.log})
	clientapi.New(clientapi.Options{Search: n.search, ServerName: c.ServerName, Accounts: n.Accounts, Rooms: n.Rooms, Keys: n.Devices,
		Sync: n.Sync, Media: n.Media, Previews: n.previews, Gate: n.Policy, Remote: n.remote, Addresses: n.Policy, PublicURL: c.ClientURL(), Development: c.Development,
		FederationAddress: string(c.FederationAddress), Support: support(c.Support),
		DefaultVersion: c.RoomVersion}).Routes(router)
	adminapi.New(adminapi.Options{Policy: n.Policy, Media: n.Media, Alone: c.PolicyAlone}).Routes(router)
	router.Handle("GET /health", http.HandlerFunc(n.health))
	n.client = router

	n.inbox = federation.NewInbox(federation.InboxOptions{Name: c.ServerName, DB: n.DB, Gate: n.Policy,
		Rooms: n.Rooms, Devices: n.Devices, Logger: n.log, Metrics: n.registry})
	router = httpx.NewRouter(httpx.Options{Listener: "federation", Metrics: n.registry, Log: n.log})
	federation.New(federation.Options{Name: c.ServerName, Gate: n.Policy, Keys: n.keys, Rooms: n.Rooms, Accounts: n.Accounts,
		Devices: n.Devices, Media: n.Media, Inbox: n.inbox, WakeUp: n.queue.WakeUp, Software: "Beffroi", Version: obs.ReadBuild().Version,
		Logger: n.log}).Routes(router)
	for _, path := range []string{policystore.BundlePath, policystore.VersionPath} {
		router.Handle("GET "+path, n.Policy.Handler())
	}
	n.federation = router
	return nil
}

// health says whether the node can answer.
func (n *Node) health(w http.ResponseWriter, r *http.Request) {
	if err := n.DB.Ping(r.Context()); err != nil {
		httpx.Fail(w, r, matrix.Unavailable(0))
		return
	}
	w.WriteHeader(http.StatusOK)
}

// Run answers on the listeners and does the node's work until ctx ends, then
// stops in order and closes the database.
func (n *Node) Run(ctx context.Context, l Listeners) error {
	group, running := errgroup.WithContext(ctx)
	for _, run := range n.serve(running, l) {
		group.Go(run)
	}
	for name, run := range map[string]func(context.Context) error{
		"policy": n.Policy.Run, "rooms": n.Rooms.Run, "accounts": n.Accounts.Run, "devices": n.Devices.Run, "sync": n.Sync.Run, "search": n.search.Run,
		"media": n.Media.Run, "inbox": n.inbox.Run, "send queue": n.queue.Run, "sweep": n.sweeper.Run, "shadow": n.Policy.RunShadow,
		"profiles": n.followProfiles, "departures": n.followDepartures, "reminders": n.Accounts.RunReminders,
	} {
		group.Go(func() error {
			if err := run(running); err != nil && running.Err() == nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	err := group.Wait()
	n.remote.Close()
	return errors.Join(err, n.Close())
}

// Close closes a node that does not run, or runs no more.
func (n *Node) Close() error { return errors.Join(n.Policy.Close(), n.DB.Close()) }

// ephemeral gives the send queue what the room server has for other servers.
type ephemeral struct{ queue *sendqueue.Queue }

// SendEphemeral implements [roomserver.EDUs]. An EDU that is too long is not
// sent: none of those that the room server makes is.
func (e ephemeral) SendEphemeral(destinations []matrix.ServerName, eduType, key string, content []byte) {
	if err := e.queue.SendEphemeral(destinations, peers.EDU{Type: eduType, Content: content}, key); err != nil {
		slog.Warn("EDU not sent", "type", eduType, "error", err)
	}
}
