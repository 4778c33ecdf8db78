// Package roomserver owns the rooms: it is the only writer of events.
//
// An event, ours or theirs, goes through the same steps in the same order:
// prepare, admit, authorise, commit. Nothing else in the program may skip one.
//
// The lock of a room (room.mu) is the only lock that is held while another is
// taken: that of the cache, for a moment, and by an upgrade that of the room
// which it makes and nobody else knows yet.
package roomserver

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"time"

	"github.com/maypok86/otter/v2"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/pushrules"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/storage"
)

// Gate is the policy layer. It answers nil or what the peer is told.
type Gate interface {
	// Check decides a request that is no event.
	Check(ctx context.Context, req *policy.Request) error
	// AdmitEvent decides whether an event may enter a room.
	AdmitEvent(ctx context.Context, req *policy.EventRequest) error
	// PrepareRoom says what a room that is created must hold.
	PrepareRoom(ctx context.Context, in policy.CreateRequest) (policy.CreatePlan, error)
}

// Keys finds the public keys of servers and verifies with them.
type Keys interface {
	PublicKey(ctx context.Context, server matrix.ServerName, id matrix.KeyID, atTS int64) (ed25519.PublicKey, int64, error)
}

// Guests are the accounts of this server, as those who invite them meet them.
type Guests interface {
	// MayInvite returns nil, or M_INVITE_BLOCKED where the guest, a user of this
	// server, does not want to be invited by the host.
	MayInvite(ctx context.Context, host, guest matrix.UserID) error
}

// EDUs sends what is not kept to other servers.
type EDUs interface {
	// SendEphemeral sends an EDU to servers if they can be reached now. A later
	// one with the same key replaces one that still waits.
	SendEphemeral(destinations []matrix.ServerName, eduType, key string, content []byte)
}

// Options is what a room server needs.
type Options struct {
	DB     *storage.DB
	Key    signing.Key // Key.Server is the name of this server
	Gate   Gate
	Keys   Keys
	Remote Remote
	EDUs   EDUs
	Now    func() time.Time
	// MemoryBytes bounds the cache of rooms and events. Zero means 64 MiB.
	MemoryBytes int64
	// Guests says who lets whom invite them. nil lets everybody.
	Guests Guests
	// DefaultVersion is the version of rooms where neither the creator nor the
	// policy names one. Empty means [matrix.DefaultRoomVersion].
	DefaultVersion matrix.RoomVersion
	// Presence says that others are told who is there.
	Presence bool
	// Retention is how long messages are kept. The zero value is for ever,
	// unless a room says otherwise.
	Retention Retention
}

// Server is safe for concurrent use.
type Server struct {
	db     *storage.DB
	key    signing.Key
	self   matrix.ServerName
	gate   Gate
	keys   Keys
	remote Remote
	edus   EDUs
	guests Guests
	now    func() time.Time
	log    *slog.Logger

	defaultVersion matrix.RoomVersion
	rooms          *otter.Cache[matrix.RoomID, *room]
	events         *otter.Cache[matrix.EventID, *event.Event]
	spaces         *otter.Cache[string, *toldSpace]
	typing         typing
	presence       presence
	fetches        flights
	sends          flights // by transaction ID
	retention      Retention
	work           work
	hearing        hearing
	everybody      *pushrules.Rules // the default rules, of nobody
	said           [notices]verdictOf
	rulesOf        *otter.Cache[matrix.UserID, *pushrules.Rules] // nil where nothing was changed
}

// defaultMemory is the cache where Options name no size.
const defaultMemory = 64 << 20

// New wires a server. It starts nothing.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = defaultMemory
	}
	if o.DefaultVersion == "" {
		o.DefaultVersion = matrix.DefaultRoomVersion
	}
	s := &Server{
		db: o.DB, key: o.Key, self: o.Key.Server, gate: o.Gate, keys: o.Keys, remote: o.Remote, edus: o.EDUs, guests: o.Guests,
		now: o.Now, log: slog.Default().With("component", "roomserver"), defaultVersion: o.DefaultVersion,
		retention: o.Retention, work: work{wake: make(chan struct{}, 1)}, spaces: newSpaceMemory(),
	}
	s.presence.on = o.Presence
	s.rulesOf = otter.Must(&otter.Options[matrix.UserID, *pushrules.Rules]{MaximumSize: maxRuleSets})
	defaults := pushrules.Default(nobody)
	s.everybody = pushrules.Compile(nobody, &defaults)
	for notice := range s.said {
		s.said[notice] = verdictIn(evaluateSample(s.everybody, "", notice))
	}
	s.rooms = otter.Must(&otter.Options[matrix.RoomID, *room]{
		MaximumWeight: uint64(o.MemoryBytes / 2),
		Weigher:       func(_ matrix.RoomID, r *room) uint32 { return r.weight.Load() },
	})
	s.events = otter.Must(&otter.Options[matrix.EventID, *event.Event]{
		MaximumWeight: uint64(o.MemoryBytes / 2),
		Weigher:       func(_ matrix.EventID, e *event.Event) uint32 { return uint32(len(e.JSON())) + eventOverhead },
	})
	return s
}

// eventOverhead is about what an event takes in memory beside its JSON.
const eventOverhead = 512

// Name returns the name of this server.
func (s *Server) Name() matrix.ServerName { return s.self }

// local reports whether an account is of this server.
func (s *Server) local(user matrix.UserID) bool { return user.Server() == s.self }

// nowMS returns the time in milliseconds, as events carry it.
func (s *Server) nowMS() int64 { return s.now().UnixMilli() }
