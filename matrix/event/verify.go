package event

import (
	"context"
	"crypto/ed25519"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"beffroi/matrix"
	"beffroi/matrix/signing"
)

const (
	// maxSignatures is how many signatures of one server an event may have: a
	// server has one key, or two while it changes it. Each may cost a request
	// to that server.
	//
	// Divergence: the specification knows no bound. An event with more
	// signatures of one server is refused.
	maxSignatures = 10
	// maxKeyLookups is how many keys are asked for at once. A lookup mostly
	// waits, so there may be more of them than processors.
	maxKeyLookups = 16
)

// KeySource knows the keys of servers.
//
// https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
type KeySource interface {
	// PublicKey returns a key of a server, and until when it was valid, in
	// milliseconds. atTS is when a signature claims to have been made. There
	// being no such key is an M_UNAUTHORIZED.
	PublicKey(ctx context.Context, server matrix.ServerName, id matrix.KeyID, atTS int64) (key ed25519.PublicKey, validUntilTS int64, err error)
}

// keyName names a key of a server.
type keyName struct {
	server matrix.ServerName
	id     matrix.KeyID
}

// keyAnswer is what a KeySource said.
type keyAnswer struct {
	atTS         int64 // the latest time the key is wanted for
	public       ed25519.PublicKey
	validUntilTS int64
	err          error
}

// VerifySignatures verifies the signatures that the specification requires,
// of many events at once: each key is asked for once, and the verifying is
// spread over all processors. errs[i] is nil when events[i] is good, an
// M_UNAUTHORIZED when it is not, and anything else when that could not be
// found out.
//
// Every signature of a required signer by a key that is known and had not
// expired must be valid, and there must be at least one. Those of policy
// servers are not looked at.
//
// https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
func VerifySignatures(ctx context.Context, keys KeySource, events []*Event) []error {
	errs := make([]error, len(events))
	answers := make(map[keyName]*keyAnswer)
	for i, e := range events {
		errs[i] = e.wantedKeys(answers)
	}
	lookUp(ctx, keys, answers)
	parallel(len(events), runtime.GOMAXPROCS(0), func(i int) {
		switch {
		case errs[i] != nil:
		case ctx.Err() != nil:
			errs[i] = ctx.Err()
		default:
			errs[i] = events[i].verify(answers)
		}
	})
	return errs
}

// wantedKeys adds the keys that verifying e takes.
func (e *Event) wantedKeys(wanted map[keyName]*keyAnswer) error {
	for _, server := range e.RequiredSigners() {
		ids := e.SignatureKeyIDs(server)
		if len(ids) > maxSignatures {
			return matrix.Unauthorized("the event has more than %d signatures of %s", maxSignatures, server)
		}
		for _, id := range ids {
			if id == signing.PolicyServerKeyID {
				continue
			}
			name := keyName{server, id}
			answer := wanted[name]
			if answer == nil {
				answer = &keyAnswer{atTS: e.originServerTS}
				wanted[name] = answer
			}
			answer.atTS = max(answer.atTS, e.originServerTS)
		}
	}
	return nil
}

// lookUp asks for all keys.
func lookUp(ctx context.Context, keys KeySource, wanted map[keyName]*keyAnswer) {
	names := make([]keyName, 0, len(wanted))
	for name := range wanted {
		names = append(names, name)
	}
	parallel(len(names), maxKeyLookups, func(i int) {
		a := wanted[names[i]]
		a.public, a.validUntilTS, a.err = keys.PublicKey(ctx, names[i].server, names[i].id, a.atTS)
	})
}

// parallel calls fn for 0 to n-1 from at most limit goroutines, and returns
// when all calls have.
func parallel(n, limit int, fn func(i int)) {
	if limit = min(limit, n); limit <= 1 {
		for i := range n {
			fn(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range limit {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				fn(i)
			}
		})
	}
	wg.Wait()
}

// verify checks e with the keys that were found.
func (e *Event) verify(answers map[keyName]*keyAnswer) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.b = e.appendRedacted(s.b[:0], false)
	for _, server := range e.RequiredSigners() {
		if err := e.verifySigner(s.b, server, answers); err != nil {
			return err
		}
	}
	return nil
}

func (e *Event) verifySigner(message []byte, server matrix.ServerName, answers map[keyName]*keyAnswer) error {
	verified := false
	for _, id := range e.SignatureKeyIDs(server) {
		if id == signing.PolicyServerKeyID {
			continue
		}
		answer := answers[keyName{server, id}]
		if answer.err != nil {
			if _, told := errors.AsType[*matrix.Error](answer.err); !told {
				return answer.err
			}
			continue // unknown
		}
		if e.rules.EnforceKeyValidity && answer.validUntilTS < e.originServerTS {
			continue // expired
		}
		sig, _ := signing.Signature(e.raw(fieldSignatures), string(server), id)
		if err := signing.VerifyBytes(message, sig, string(server), id, answer.public); err != nil {
			return err
		}
		verified = true
	}
	if !verified {
		return matrix.Unauthorized("the event has no signature of %s by a key that is known and was valid", server)
	}
	return nil
}
