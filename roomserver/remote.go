package roomserver

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"beffroi/matrix"
)

// Remote is what the room server needs of other servers. federation/client
// implements it; the interface stands here, with the one who needs it. What a
// peer refuses comes back as the *matrix.Error it answered.
type Remote interface {
	// MakeMembership asks a resident server for the template of a join, leave
	// or knock ("make_join", …). The answer is the event and the room version.
	MakeMembership(ctx context.Context, call string, to matrix.ServerName, room matrix.RoomID, user matrix.UserID,
		versions []matrix.RoomVersion) (version matrix.RoomVersion, template json.RawMessage, err error)
	// SendJoin gives a resident server our join. The answer is the state before
	// it, with its auth chain, and the event if the other server signed it.
	SendJoin(ctx context.Context, to matrix.ServerName, room matrix.RoomID, id matrix.EventID, pdu []byte) (*JoinAnswer, error)
	// SendLeave gives a resident server our leave.
	SendLeave(ctx context.Context, to matrix.ServerName, room matrix.RoomID, id matrix.EventID, pdu []byte) error
	// SendKnock gives a resident server our knock. The answer tells of the room.
	SendKnock(ctx context.Context, to matrix.ServerName, room matrix.RoomID, id matrix.EventID, pdu []byte) ([]json.RawMessage, error)
	// Invite gives an invitation to the server of the guest, which signs it.
	Invite(ctx context.Context, to matrix.ServerName, room matrix.RoomID, id matrix.EventID, version matrix.RoomVersion,
		pdu []byte, state []json.RawMessage) (signed []byte, err error)
	// Event returns an event.
	Event(ctx context.Context, from matrix.ServerName, id matrix.EventID) (pdu []byte, err error)
	// StateIDs returns the state before an event and its auth chain.
	StateIDs(ctx context.Context, from matrix.ServerName, room matrix.RoomID, at matrix.EventID) (state, auth []matrix.EventID, err error)
	// State returns the same with the events themselves.
	State(ctx context.Context, from matrix.ServerName, room matrix.RoomID, at matrix.EventID) (state, auth [][]byte, err error)
	// EventAuth returns the auth chain of an event.
	EventAuth(ctx context.Context, from matrix.ServerName, room matrix.RoomID, id matrix.EventID) ([][]byte, error)
	// MissingEvents returns events between earliest and latest, oldest first.
	MissingEvents(ctx context.Context, from matrix.ServerName, room matrix.RoomID, earliest, latest []matrix.EventID,
		limit int, minDepth int64) ([][]byte, error)
	// Backfill returns events before others, newest first.
	Backfill(ctx context.Context, from matrix.ServerName, room matrix.RoomID, before []matrix.EventID, limit int) ([][]byte, error)
	// QueryDirectory resolves an alias at its server.
	QueryDirectory(ctx context.Context, at matrix.ServerName, alias matrix.RoomAlias) (matrix.RoomID, []matrix.ServerName, error)
	// Hierarchy returns what a server tells of a room and of its children.
	Hierarchy(ctx context.Context, at matrix.ServerName, room matrix.RoomID, suggestedOnly bool) (json.RawMessage, error)
	// ExchangeThirdPartyInvite asks a server to make the invitation that the
	// third-party invitation of one of its users has become.
	ExchangeThirdPartyInvite(ctx context.Context, to matrix.ServerName, room matrix.RoomID, invite any) error
	// TimestampToEvent returns an event that a server has near a time, looking
	// forwards ("f") or backwards ("b").
	TimestampToEvent(ctx context.Context, at matrix.ServerName, room matrix.RoomID, ts int64, dir string) (matrix.EventID, int64, error)
}

// JoinAnswer is what a resident server says to a join.
type JoinAnswer struct {
	State     [][]byte // PDUs
	AuthChain [][]byte // PDUs
	Event     []byte   // our join with the other server's signature, or nil
}

// flights lets one caller fetch what several want.
type flights struct {
	mu      sync.Mutex
	running map[string]*flight // guarded by mu
}

// flight is one run of a function.
type flight struct {
	done chan struct{} // closed when it is over
	err  error         // read after that
}

// errAbandoned is the outcome of a run that panicked, for those who waited.
var errAbandoned = errors.New("the run was abandoned")

// do runs fn unless it is running already for the key; then it waits for that
// run, reports false and returns its error. A run that ended because its
// caller gave up is not the outcome of another: who waited runs it again.
func (f *flights) do(ctx context.Context, key string, fn func() error) (ran bool, err error) {
	for {
		f.mu.Lock()
		other, busy := f.running[key]
		if !busy {
			break
		}
		f.mu.Unlock()
		select {
		case <-other.done:
			if !errors.Is(other.err, context.Canceled) && !errors.Is(other.err, context.DeadlineExceeded) {
				return false, other.err
			}
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	if f.running == nil {
		f.running = make(map[string]*flight)
	}
	own := &flight{done: make(chan struct{}), err: errAbandoned}
	f.running[key] = own
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.running, key)
		f.mu.Unlock()
		close(own.done)
	}()
	own.err = fn()
	return true, own.err
}
