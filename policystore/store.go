// Package policystore owns the policy documents of a server and its audit
// trail: it activates documents, asks the engine for everybody, and records
// what was refused.
//
// A document is active once its row is in the journal, so a crash leaves the
// old one or the new one. The engine follows the journal, on every node. Two
// mutexes exist, of Store and of recorder; nothing holds both, and neither is
// held while the database or a file is read.
package policystore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/policies"
)

// Options is what a Store works with. DB and Self are needed.
type Options struct {
	DB   *storage.DB
	Self matrix.ServerName

	// File is the policy file that the operator named. It must exist.
	File string
	// Folder is the data folder. Where File is empty, policy.yaml in it is the
	// policy file, and is written when it is missing. Where both are empty,
	// documents come from the journal alone.
	Folder string
	// Development without File enforces [policy.Permissive] and leaves the
	// journal and the data folder as they are.
	Development bool

	// Trust says whose bundles may become the floor. Nil is nobody's.
	Trust *Trust
	// Feed is where the bundle is fetched. Its zero value is nowhere.
	Feed Feed
	// Impact is the share of the memberships, in percent, that a change may
	// refuse on the word of one person; 0 is 10, and 100 sets no bound.
	Impact int
	// Sign is the key that signs the bundle that this server publishes; nil
	// publishes none but the floor.
	Sign *signing.Key
	// Publish lets everybody who can reach the server fetch the bundle.
	Publish bool

	Log     *slog.Logger          // nil is slog.Default
	Metrics prometheus.Registerer // nil registers nothing
	Now     func() time.Time      // nil is time.Now
	// Activated is called after a document came into force, not at Open. It
	// must not block.
	Activated func(Active)
}

// Active is the document in force.
type Active struct {
	Document *policy.Document // must not be changed
	Version  int64
	SHA256   string // of its canonical JSON, in hexadecimal
	Since    time.Time
	Actor    string // who activated it
	Way      string // how it came in
	Floor    Floor  // what it stands on
}

// Store is the policy of a server. Any number of goroutines may use it.
type Store struct {
	db        *storage.DB
	self      matrix.ServerName
	log       *slog.Logger
	now       func() time.Time
	activated func(Active)

	engine   *policy.Engine
	active   atomic.Pointer[Active]
	recorder *recorder
	metrics  *metrics
	file     watchedFile
	trust    *Trust
	feed     feed
	publish  publisher

	maxImpact int // in percent

	mu         sync.Mutex
	journal    int64            // guarded by mu: the version up to which the journal was followed
	floor      int64            // guarded by mu: the same for floors
	journalErr string           // guarded by mu: why it could not be, when last tried
	freshness  policy.Freshness // guarded by mu: when last looked at
}

// Open reads the active document and activates the one of the policy file if
// it is newer. A bad file is logged and the active document stays in force;
// without any document that can be enforced Open fails.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{db: o.DB, self: o.Self, log: o.Log, now: o.Now, activated: o.Activated, trust: o.Trust,
		feed: feed{Feed: o.Feed}, publish: publisher{key: o.Sign, public: o.Publish}}
	if s.maxImpact = o.Impact; s.maxImpact == 0 {
		s.maxImpact = defaultImpact
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.metrics = newMetrics()
	s.recorder = newRecorder(s.db, s.log, s.now, s.metrics)
	if err := s.load(ctx, &o); err != nil {
		return nil, err
	}
	if o.Metrics != nil {
		s.metrics.register(s, o.Metrics)
	}
	return s, nil
}

// load finds the first document to enforce.
func (s *Store) load(ctx context.Context, o *Options) error {
	if o.Development && o.File == "" {
		return s.loadPermissive(ctx)
	}
	journalErr := s.follow(ctx)
	if s.file.path = o.File; o.File == "" && o.Folder != "" {
		s.file.path = filepath.Join(o.Folder, "policy.yaml")
		if err := s.writeMissingFile(); err != nil {
			return errors.Join(journalErr, err)
		}
	}
	var fileErr error
	switch {
	case s.file.path != "":
		fileErr = s.Reload(ctx)
	case s.engine == nil && journalErr == nil:
		fileErr = s.Activate(ctx, policy.Initial(s.self), Editor{Actor: ActorSystem, Way: WayInitial})
	}
	if s.engine == nil {
		return errors.Join(journalErr, fileErr)
	}
	return nil
}

func (s *Store) loadPermissive(ctx context.Context) error {
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		head, err := policies.ActiveHead(ctx, r)
		if err != nil {
			return err
		}
		under, err := policies.FloorHead(ctx, r)
		s.journal, s.floor = head.Version, under.Version
		return err
	}); err != nil {
		return err
	}
	active, snapshot, err := Permissive(s.self, s.now())
	if err != nil {
		return err
	}
	s.log.Warn("the policy is permissive: every server is admitted and anybody may register")
	s.engine = policy.NewEngine(snapshot)
	s.active.Store(&active)
	return nil
}

// Permissive returns what is in force in development where no file is named.
func Permissive(self matrix.ServerName, now time.Time) (Active, *policy.Snapshot, error) {
	doc := policy.Permissive(self)
	snapshot, err := policy.Compile(doc, self)
	if err != nil {
		return Active{}, nil, fmt.Errorf("compile permissive policy: %w", err)
	}
	sum, err := SHA256(doc)
	return Active{
		Document: doc, Version: doc.Version, SHA256: sum, Since: now, Actor: ActorSystem, Way: WayDevelopment,
	}, snapshot, err
}

// Engine returns the engine, which always answers from the document in force.
func (s *Store) Engine() *policy.Engine { return s.engine }

// Active returns the document in force.
func (s *Store) Active() Active { return *s.active.Load() }

const (
	// look is how often the policy file and the journal are looked at.
	look = time.Second
	// flushEvery is how often the audit trail is written at most.
	flushEvery = 200 * time.Millisecond
	// closeTimeout bounds the last write of the audit trail.
	closeTimeout = 20 * time.Second
)

// Run watches the policy file and the journal, and writes the audit trail,
// until ctx ends. What was not written then is written by Close.
func (s *Store) Run(ctx context.Context) error {
	var writer sync.WaitGroup
	writer.Go(func() { s.writeTrail(ctx) })
	if s.feed.URL != "" {
		writer.Go(func() { s.followFeed(ctx) })
	}
	if s.feed.Ask != nil {
		writer.Go(func() { s.followPeers(ctx) })
	}
	defer writer.Wait()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.watchFile(ctx)
			s.watchJournal(ctx)
			s.watchAge()
		}
	}
}

// writeTrail writes the audit trail: at once after a rest, and then no more
// often than flushEvery. Errors are logged by the recorder, which keeps the lines.
func (s *Store) writeTrail(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.recorder.wake:
		case <-tick.C:
		}
		rest := flushEvery
		if s.recorder.flush(ctx, false) != nil {
			rest = look
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
	}
}

// watchAge says in the log when the document becomes too old.
func (s *Store) watchAge() {
	now := s.engine.Snapshot().Freshness(s.now())
	s.mu.Lock()
	before := s.freshness
	s.freshness = now
	s.mu.Unlock()
	if now == before {
		return
	}
	version := s.Active().Version
	s.recorder.note(policies.Entry{Kind: KindFreshness, Actor: ActorSystem, Version: version, Detail: "from " + before.String() + " to " + now.String()})
	switch now {
	case policy.Fresh:
		s.log.Info("policy document is fresh again", "version", version)
	case policy.Blocking:
		s.log.Error("policy document is too old: no other server and no new member is admitted", "version", version)
	default:
		s.log.Warn("policy document should have been replaced", "version", version)
	}
}

// Close writes what is left of the audit trail. Run must have ended.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.recorder.flush(ctx, true); err != nil {
		return fmt.Errorf("write the end of the audit trail: %w", err)
	}
	return nil
}
