package policystore

import (
	"context"
	"sync"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/policies"
)

// AskFunc asks a peer which documents it enforces, at [VersionPath].
type AskFunc func(context.Context, matrix.ServerName) (Enforced, error)

// Peer is what another server said last of the documents it enforces.
type Peer = policies.Peer

const (
	askEvery = 10 * time.Minute
	// askAtOnce bounds how many peers are asked at the same moment, and
	// maxAsked how many in one round.
	askAtOnce  = 8
	maxAsked   = 2000
	askTimeout = 20 * time.Second
)

func (s *Store) followPeers(ctx context.Context) {
	every := s.feed.AskEvery
	if every <= 0 {
		every = askEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.AskPeers(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("what peers enforce cannot be kept", "err", err)
		}
	}
}

// AskPeers asks all peers of the document which documents they enforce, and
// keeps their answers for beffroi policy peers.
func (s *Store) AskPeers(ctx context.Context) error {
	peers := s.engine.Snapshot().Peers(s.now())
	peers = peers[:min(len(peers), maxAsked)]
	rows := make([]policies.Peer, len(peers))
	var asking sync.WaitGroup
	turn := make(chan struct{}, askAtOnce) // one for each question under way
	for i, name := range peers {
		asking.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			rows[i] = s.ask(ctx, name)
		})
	}
	asking.Wait()
	if ctx.Err() != nil || len(rows) == 0 {
		return ctx.Err()
	}
	_, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		for i := range rows {
			if err := policies.SetPeer(ctx, tx, &rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (s *Store) ask(ctx context.Context, name matrix.ServerName) policies.Peer {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	row := policies.Peer{Server: string(name), AskedTS: s.now().UnixMilli()}
	said, err := s.feed.Ask(ctx, name)
	if err != nil {
		row.Failure = cleanText(err.Error(), maxField)
		return row
	}
	row.AnsweredTS, row.Version, row.SHA256 = row.AskedTS, said.Version, cleanText(said.SHA256, maxField)
	row.Freshness = cleanText(said.Freshness, maxField)
	if said.Floor != nil {
		row.FloorVersion, row.FloorSHA256 = said.Floor.Version, cleanText(said.Floor.SHA256, maxField)
	}
	return row
}

// Peers returns what the peers said last, for commands.
func Peers(ctx context.Context, db *storage.DB) (out []Peer, err error) {
	err = db.View(ctx, func(r *storage.Reader) (err error) {
		out, err = policies.Peers(ctx, r)
		return err
	})
	return out, err
}
