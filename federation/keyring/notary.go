package keyring

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/storage/peers"
)

const (
	// maxQueried is for how many servers one question may ask.
	maxQueried = 100
	// maxParallel bounds what one question makes us ask at once.
	maxParallel = 8
)

// askNotaries asks the notaries for a key of a server, adds what they know to
// fresh and returns what was added. A key that is known better stays.
func (r *Ring) askNotaries(ctx context.Context, server matrix.ServerName, id matrix.KeyID, fresh *known) (added []peers.Key) {
	for _, notary := range r.notaries {
		if notary == server {
			continue
		}
		a, err := r.fromNotary(ctx, notary, server, id)
		if err != nil {
			continue // the next may answer; the error of the server itself is what counts
		}
		for _, k := range a.keys {
			if have, ok := fresh.keys[k.ID]; !ok || have.ValidUntil < k.ValidUntil && !have.Expired {
				fresh.keys[k.ID] = k
				added = append(added, k)
			}
		}
		if a.ValidUntil > fresh.answer.ValidUntil {
			fresh.answer = a.KeyAnswer
		}
		if _, ok := fresh.keys[id]; ok {
			return added
		}
	}
	return added
}

// fromNotary fetches the answer of a server from a notary, which must have
// signed it too.
func (r *Ring) fromNotary(ctx context.Context, notary, server matrix.ServerName, id matrix.KeyID) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	raws, err := r.client.NotaryKeys(ctx, notary, Wanted{server: {id: 0}})
	if err != nil {
		return answer{}, err
	}
	best, err := answer{}, error(matrix.NotFound("the notary %s knows no keys of %s", notary, server))
	for _, raw := range raws[:min(len(raws), maxQueried)] {
		a, parseErr := parseAnswer(raw, server, r.now())
		if parseErr != nil {
			continue
		}
		if err = r.signedBy(ctx, a.JSON, notary); err != nil {
			return answer{}, err
		}
		if !hasKey(best, id) && (hasKey(a, id) || a.ValidUntil >= best.ValidUntil) {
			best = a
		}
	}
	return best, err
}

func hasKey(a answer, id matrix.KeyID) bool {
	return slices.ContainsFunc(a.keys, func(k peers.Key) bool { return k.ID == id })
}

// signedBy checks the signature of a notary by one of its current keys.
func (r *Ring) signedBy(ctx context.Context, raw []byte, notary matrix.ServerName) error {
	now := r.now().UnixMilli()
	for _, id := range signing.SignatureIDs(raw, string(notary)) {
		k, err := r.find(ctx, notary, id, now)
		if err == nil && !k.Expired && k.ValidUntil >= now {
			return signing.Verify(raw, string(notary), id, k.Public)
		}
	}
	return matrix.Unauthorized("the notary %s has not signed its answer", notary)
}

// OwnAnswer is the body of /_matrix/key/v2/server: the keys of this server,
// signed, and valid for hours.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
func (r *Ring) OwnAnswer() (json.RawMessage, error) {
	own, err := r.ownKeys()
	return own.JSON, err
}

func (r *Ring) ownKeys() (answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if now.Sub(time.UnixMilli(r.ownAnswer.FetchedAt)) < ownRefresh {
		return r.ownAnswer, nil
	}
	fresh, err := ownAnswer(r.own, now)
	if err == nil {
		r.ownAnswer = fresh
	}
	return fresh, err
}

// Wanted are the keys that a notary is asked for: the servers, for each the
// key IDs (none means all), and for each until when it has to be valid, in
// milliseconds (0 means now).
type Wanted map[matrix.ServerName]map[matrix.KeyID]int64

// ParseQuery reads the body of POST /_matrix/key/v2/query.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
func ParseQuery(body []byte) (Wanted, error) {
	var in struct {
		ServerKeys map[string]map[string]struct {
			MinimumValidUntilTS int64 `json:"minimum_valid_until_ts"`
		} `json:"server_keys"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, matrix.BadJSON("the body has a field of the wrong form")
	}
	wanted := make(Wanted, len(in.ServerKeys))
	for name, ids := range in.ServerKeys {
		server, err := matrix.ParseServerName(name)
		if err != nil {
			return nil, err
		}
		if len(ids) > maxKeys || len(wanted) >= maxQueried {
			return nil, matrix.TooLarge("at most %d servers and %d keys of each can be asked for", maxQueried, maxKeys)
		}
		wanted[server] = make(map[matrix.KeyID]int64, len(ids))
		for id, criteria := range ids {
			wanted[server][matrix.KeyID(id)] = criteria.MinimumValidUntilTS
		}
	}
	return wanted, nil
}

// Query answers as a notary: what each server says about its keys, with our
// signature added. Servers that cannot be asked, and of which nothing is kept,
// are missing from the answer.
//
// https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
func (r *Ring) Query(ctx context.Context, wanted Wanted) ([]json.RawMessage, error) {
	if len(wanted) > maxQueried {
		return nil, matrix.TooLarge("at most %d servers can be asked for", maxQueried)
	}
	var (
		mu    sync.Mutex
		out   = make([]json.RawMessage, 0, len(wanted))
		group sync.WaitGroup
		slots = make(chan struct{}, maxParallel)
	)
	for server, ids := range wanted {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			raw, err := r.vouch(ctx, server.Normalise(), ids)
			if err != nil || raw == nil {
				return // the specification leaves it out
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, raw)
		})
	}
	group.Wait()
	return out, ctx.Err()
}

// vouch returns the answer of one server with our signature, or nil.
func (r *Ring) vouch(ctx context.Context, server matrix.ServerName, ids map[matrix.KeyID]int64) (json.RawMessage, error) {
	if server == r.own.Current.Server.Normalise() {
		return r.OwnAnswer()
	}
	have, err := r.known(ctx, server)
	if err != nil {
		return nil, err
	}
	if r.stale(have, ids) {
		if have, err = r.ask(ctx, server, ""); err != nil {
			return nil, err
		}
	}
	if have.answer.JSON == nil {
		return nil, nil
	}
	return signing.Sign(have.answer.JSON, r.own.Current)
}

// stale says whether the server should be asked again: in the second half of
// the life of its answer, or when that does not have what is wanted.
func (r *Ring) stale(have *known, ids map[matrix.KeyID]int64) bool {
	now := r.now().UnixMilli()
	if (have.answer.FetchedAt+have.answer.ValidUntil)/2 < now {
		return true
	}
	for id, until := range ids {
		if k, ok := have.keys[id]; !ok || !k.Expired && k.ValidUntil < until {
			return true
		}
	}
	return false
}
