package policystore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/policies"
)

// ActorSystem is who acts where nobody in particular does.
const ActorSystem = "system"

// How a document came in.
const (
	WayInitial     = "initial" // written by the server at its first start
	WayFile        = "file"
	WayAPI         = "api"
	WayDevelopment = "development" // permissive, and not in the journal
)

// Editor is who activates a document, and how.
type Editor struct {
	Actor string // a user ID, or ActorSystem
	Way   string
}

// Activate validates a document, runs its tests, writes it to the journal and
// puts it in force. A document that is in force already is no error. One that
// is refused is [policy.Mistakes], everything that is wrong with it at once.
func (s *Store) Activate(ctx context.Context, doc *policy.Document, by Editor) error {
	return s.activateWith(ctx, doc, by, nil)
}

// also is what else is written in the transaction that puts a document in
// force. Its error keeps the document from being activated.
type also func(context.Context, *storage.Tx) error

func (s *Store) activateWith(ctx context.Context, doc *policy.Document, by Editor, more also) error {
	err := s.activate(ctx, doc, by, more)
	if errors.Is(err, storage.ErrConflict) { // somebody was first: the mistake is the version
		err = s.activate(ctx, doc, by, more)
	}
	if mistakes, ok := errors.AsType[policy.Mistakes](err); ok {
		s.refusedDocument(doc.Version, doc.Issuer, by, mistakes)
	}
	return err
}

func (s *Store) activate(ctx context.Context, doc *policy.Document, by Editor, more also) error {
	raw, sum, err := canonical(doc)
	if err != nil {
		return err
	}
	var head policies.Head
	var floor policies.Floor
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		if head, err = policies.ActiveHead(ctx, r); err == nil {
			floor, err = policies.ActiveFloor(ctx, r)
		}
		return err
	}); err != nil {
		return err
	}
	if head == (policies.Head{Version: doc.Version, SHA256: sum}) {
		return s.follow(ctx)
	}
	now := s.now()
	under, err := readFloor(&floor)
	if err != nil {
		return err
	}
	snapshot, err := ValidateOn(under, doc, s.self, head.Version, now)
	if err != nil {
		return err
	}
	a := policies.Activation{
		Version: doc.Version, Issuer: doc.Issuer, SHA256: sum, Actor: by.Actor, Way: by.Way,
		ActivatedTS: now.UnixMilli(), Document: raw,
	}
	line := policies.Entry{
		ID: newID(now), TS: a.ActivatedTS, Kind: KindActivation, Actor: by.Actor, Source: by.Way,
		Version: doc.Version, Detail: "sha256 " + sum + ", issuer " + doc.Issuer, Count: 1,
	}
	clean(&line)
	if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if more != nil {
			if err := more(ctx, tx); err != nil {
				return err
			}
		}
		if err := policies.Activate(ctx, tx, &a); err != nil {
			return err
		}
		e := line
		return policies.Append(ctx, tx, []*policies.Entry{&e})
	}); err != nil {
		return fmt.Errorf("activate policy document %d: %w", doc.Version, err)
	}
	if under != nil { // another one may have come meanwhile
		return s.follow(ctx)
	}
	s.adopt(activeOf(doc, &a), composed{Snapshot: snapshot})
	return nil
}

// Candidate returns the snapshot of a document that may follow the one in
// force, on the floor in force: what would decide if it were activated now.
// What is wrong with it is [policy.Mistakes].
func (s *Store) Candidate(ctx context.Context, doc *policy.Document) (*policy.Snapshot, error) {
	floor, err := FloorDocument(ctx, s.db)
	if err != nil {
		return nil, err
	}
	return ValidateOn(floor, doc, s.self, s.Active().Version, s.now())
}

// Validate returns the snapshot of a document that may follow version active;
// 0 is none. Everything that is wrong with the document is told at once, as
// [policy.Mistakes].
func Validate(doc *policy.Document, self matrix.ServerName, active int64, now time.Time) (*policy.Snapshot, error) {
	return ValidateOn(nil, doc, self, active, now)
}

// ValidateOn is [Validate] for a document that stands on a floor, if that is
// not nil. What the floor does not allow is a mistake here.
func ValidateOn(floor, doc *policy.Document, self matrix.ServerName, active int64, now time.Time) (*policy.Snapshot, error) {
	var mistakes policy.Mistakes
	c, err := compose(floor, doc, self)
	if found, bad := errors.AsType[policy.Mistakes](err); bad {
		mistakes = found
	} else if err != nil {
		return nil, err
	}
	mistakes = append(append(mistakes, c.overruled...), doc.Follows(active)...)
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	if err := failures(c.Snapshot, now); err != nil {
		return nil, err
	}
	return c.Snapshot, nil
}

// failures runs the tests of a document. The error is [policy.Mistakes].
func failures(snapshot *policy.Snapshot, now time.Time) error {
	var mistakes policy.Mistakes
	for _, failure := range policy.RunTests(snapshot, now) {
		mistakes = append(mistakes, policy.Mistake{
			Path: "tests[" + strconv.Itoa(failure.Index) + "]", Text: failure.String(),
		})
	}
	if len(mistakes) > 0 {
		return mistakes
	}
	return nil
}

func canonical(doc *policy.Document) (raw []byte, sum string, err error) {
	raw, err = doc.JSON()
	if err != nil {
		return nil, "", fmt.Errorf("write policy document: %w", err)
	}
	raw, err = canonicaljson.Canonicalise(raw, canonicaljson.Strict)
	if err != nil {
		return nil, "", fmt.Errorf("write policy document: %w", err)
	}
	return raw, hashOf(raw), nil
}

// SHA256 returns the hash that the journal knows a document by: of its
// canonical JSON, in hexadecimal. The form of the file makes no difference.
func SHA256(doc *policy.Document) (string, error) {
	_, sum, err := canonical(doc)
	return sum, err
}

func hashOf(raw []byte) string {
	hash := sha256.Sum256(raw)
	return hex.EncodeToString(hash[:])
}

func activeOf(doc *policy.Document, a *policies.Activation) *Active {
	return &Active{
		Document: doc, Version: a.Version, SHA256: a.SHA256, Since: time.UnixMilli(a.ActivatedTS), Actor: a.Actor,
		Way: a.Way,
	}
}

// adopt puts the documents of the journal in force, unless newer ones are.
func (s *Store) adopt(a *Active, c composed) {
	snapshot := c.Snapshot
	s.mu.Lock()
	if a.Version < s.journal || a.Floor.Version < s.floor || a.Version == s.journal && a.Floor.Version == s.floor {
		s.mu.Unlock()
		return
	}
	s.journal, s.floor = a.Version, a.Floor.Version
	opening := s.engine == nil
	if opening {
		s.engine = policy.NewEngine(snapshot)
	} else {
		s.engine.Replace(snapshot)
	}
	s.active.Store(a)
	s.mu.Unlock()

	s.log.Info("policy document is in force", "version", a.Version, "issuer", a.Document.Issuer, "sha256", a.SHA256,
		"actor", a.Actor, "way", a.Way, "floor", a.Floor.Version)
	if len(c.overruled) > 0 {
		s.log.Warn("the floor leaves out parts of the local policy document", "floor", a.Floor.Version, "err", c.overruled)
	}
	s.metrics.activations.WithLabelValues("activated").Inc()
	if !opening && s.activated != nil {
		s.activated(*a)
	}
}

// follow puts the newest document of the journal in force. One that this
// server cannot use leaves the one before in force.
func (s *Store) follow(ctx context.Context) error {
	s.mu.Lock()
	seen, seenFloor := s.journal, s.floor
	s.mu.Unlock()
	active, c, err := read(ctx, s.db, s.self, seen, seenFloor)
	if err == nil && active != nil {
		s.adopt(active, c)
	}
	return err
}

// Read returns the active document of a database and its snapshot for the
// server self, for commands; Version is 0 where there is none.
func Read(ctx context.Context, db *storage.DB, self matrix.ServerName) (Active, *policy.Snapshot, error) {
	active, c, err := read(ctx, db, self, 0, 0)
	if active == nil {
		return Active{}, nil, err
	}
	return *active, c.Snapshot, err
}

// read returns the active document and the floor if one of their versions is
// above those seen, or nil.
func read(ctx context.Context, db *storage.DB, self matrix.ServerName, seen, seenFloor int64) (*Active, composed, error) {
	var a policies.Activation
	var f policies.Floor
	if err := db.View(ctx, func(r *storage.Reader) error {
		head, err := policies.ActiveHead(ctx, r)
		if err != nil {
			return err
		}
		under, err := policies.FloorHead(ctx, r)
		if err != nil || head.Version <= seen && under.Version <= seenFloor {
			return err
		}
		if a, err = policies.Active(ctx, r); err == nil {
			f, err = policies.ActiveFloor(ctx, r)
		}
		return err
	}); err != nil || a.Version == 0 {
		return nil, composed{}, err
	}
	if hashOf(a.Document) != a.SHA256 {
		return nil, composed{}, fmt.Errorf("policy document %d in the database is not the one that was activated", a.Version)
	}
	doc, err := policy.ParseDocument(a.Document)
	if err != nil {
		return nil, composed{}, fmt.Errorf("read policy document %d of the database: %w", a.Version, err)
	}
	floor, err := readFloor(&f)
	if err != nil {
		return nil, composed{}, err
	}
	c, err := compose(floor, doc, self)
	if err != nil {
		return nil, composed{}, fmt.Errorf("compile policy document %d of the database: %w", a.Version, err)
	}
	active := activeOf(doc, &a)
	active.Floor = floorOf(&f)
	return active, c, nil
}

// watchJournal follows what another node or command has activated. An error
// is logged when it changes.
func (s *Store) watchJournal(ctx context.Context) {
	err := s.follow(ctx)
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
	}
	s.mu.Lock()
	before := s.journalErr
	s.journalErr = text
	s.mu.Unlock()
	if text != "" && text != before {
		s.log.Error("policy journal cannot be followed; the document before stays in force", "err", err)
	}
}

// refusedDocument records a document that was not activated.
func (s *Store) refusedDocument(version int64, issuer string, by Editor, mistakes policy.Mistakes) {
	s.metrics.activations.WithLabelValues("refused").Inc()
	s.recorder.note(policies.Entry{
		Kind: KindRejected, Actor: by.Actor, Source: by.Way, Version: version,
		Detail: "issuer " + cleanText(issuer, maxField) + ": " + mistakes.Error(),
	})
}
