// Package e2ee owns the keys of devices and the messages between devices: it
// is the only writer of them. It sees no secret: only public keys, signatures,
// and messages that it cannot read.
//
// What it accepts it must be able to send on to other servers, so everything
// is checked at the door: form, size and signatures.
package e2ee

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"beffroi/bus"
	"beffroi/matrix"
	"beffroi/storage"
)

// RemoteKeys is what e2ee needs of other servers; federation/client has it.
// Their answers are checked here.
type RemoteKeys interface {
	UserDevices(ctx context.Context, destination matrix.ServerName, user matrix.UserID) (json.RawMessage, error)
	UserKeysQuery(ctx context.Context, destination matrix.ServerName, body any) (json.RawMessage, error)
	UserKeysClaim(ctx context.Context, destination matrix.ServerName, body any) (json.RawMessage, error)
}

// Outbox takes what must reach another server. It is sent once the transaction
// has committed, and not before what was queued earlier.
type Outbox interface {
	// QueueEDU queues a message. Where key is not "", a message of the same key
	// that still waits for the server is replaced.
	QueueEDU(ctx context.Context, tx *storage.Tx, destination matrix.ServerName, typ string, content json.RawMessage, key string) error
}

// Options are what a [Server] is made of.
type Options struct {
	DB         *storage.DB
	ServerName matrix.ServerName
	Remote     RemoteKeys
	Outbox     Outbox
	Bus        bus.Bus      // wakes the follower; nil leaves it to its ticks
	Logger     *slog.Logger // nil: none

	// ShareDeviceNames tells other servers the display names of devices, which
	// people write their whereabouts into.
	ShareDeviceNames bool
	// Now is the clock. nil is [time.Now].
	Now func() time.Time
}

// Server is safe for concurrent use. [Server.Run] tells other servers of
// changes and keeps what is known of their accounts up to date.
type Server struct {
	Options
	remoteSlots chan struct{} // maxParallel of them

	mu        sync.Mutex
	delivered map[deviceKey]storage.Position // guarded by mu; see Acknowledge
}

type deviceKey struct {
	user   matrix.UserID
	device matrix.DeviceID
}

const (
	// maxParallel is how many servers are asked for keys at once.
	maxParallel = 32
	// defaultTimeout and maxTimeout bound how long a client waits for other servers.
	defaultTimeout = 10 * time.Second
	maxTimeout     = 30 * time.Second
	// maxAsked bounds the accounts or devices of one request. A room of ten
	// thousand members is asked for in steps.
	maxAsked = 5000
	// maxIDBytes bounds names of devices and keys.
	maxIDBytes = 255
)

// New returns the keys of a server. It starts nothing.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{Options: o, remoteSlots: make(chan struct{}, maxParallel), delivered: map[deviceKey]storage.Position{}}
}

func (s *Server) now() int64 { return s.Now().UnixMilli() }

func (s *Server) isLocal(user matrix.UserID) bool { return s.isUs(user.Server()) }

func (s *Server) isUs(name matrix.ServerName) bool {
	return name.Normalise() == s.ServerName.Normalise()
}

// Failure says what was wrong with one of many things.
//
// https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
type Failure struct {
	Code string `json:"errcode"`
	Text string `json:"error"`
}

func failure(err error) Failure {
	answer := matrix.Answer(err)
	return Failure{answer.Code, answer.Text}
}

// invalidSignature is the error of a signature that is missing or wrong.
func invalidSignature(format string, args ...any) *matrix.Error {
	return matrix.NewError(400, "M_INVALID_SIGNATURE", format, args...)
}

// plain reports whether a name can be stored and sent on: UTF-8 of 1 to
// maxIDBytes bytes without control characters.
func plain(s string) bool {
	if s == "" || len(s) > maxIDBytes || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	return true
}
