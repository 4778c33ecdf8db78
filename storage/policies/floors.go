package policies

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/storage"
)

// Floor is a national document as the journal keeps it.
type Floor struct {
	Version     int64
	Position    storage.Position
	Issuer      string
	SHA256      string // of the canonical JSON of the document, in hexadecimal
	Actor       string
	Way         string
	ActivatedTS int64  // milliseconds
	Bundle      []byte // signed, as it came
}

const floorHeadQuery = `SELECT version, sha256 FROM policy_floors ORDER BY version DESC LIMIT 1`

// FloorHead returns which floor is in force; the zero Head is none.
func FloorHead(ctx context.Context, r *storage.Reader) (Head, error) {
	return scanHead(r.QueryRow(ctx, floorHeadQuery))
}

// ActiveFloor returns the floor in force; its Version is 0 where there is none.
func ActiveFloor(ctx context.Context, r *storage.Reader) (f Floor, err error) {
	const q = `
		SELECT version, pos, issuer, sha256, actor, way, activated_ts, bundle
		FROM policy_floors ORDER BY version DESC LIMIT 1`
	err = r.QueryRow(ctx, q).Scan(&f.Version, &f.Position, &f.Issuer, &f.SHA256, &f.Actor, &f.Way, &f.ActivatedTS, &f.Bundle)
	if storage.NoRows(err) {
		return Floor{}, nil
	}
	if err != nil {
		return Floor{}, fmt.Errorf("read policy floor: %w", err)
	}
	return f, nil
}

// PutFloor adds a floor to the journal. It returns [storage.ErrConflict] if one
// that is as new is in force.
func PutFloor(ctx context.Context, tx *storage.Tx, f *Floor) error {
	head, err := scanHead(tx.QueryRow(ctx, floorHeadQuery))
	if err != nil {
		return err
	}
	if f.Version <= head.Version {
		return storage.ErrConflict
	}
	f.Position = tx.Next()
	const q = `
		INSERT INTO policy_floors (version, pos, issuer, sha256, actor, way, activated_ts, bundle)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	if _, err := tx.Exec(ctx, q, f.Version, int64(f.Position), f.Issuer, f.SHA256, f.Actor, f.Way, f.ActivatedTS,
		string(f.Bundle)); err != nil {
		return fmt.Errorf("write policy floor: %w", err)
	}
	return nil
}

// At returns the document of the journal with a version; its Version is 0 where
// there is none.
func At(ctx context.Context, r *storage.Reader, version int64) (a Activation, err error) {
	const q = `
		SELECT version, pos, issuer, sha256, actor, way, activated_ts, document
		FROM policy_documents WHERE version = $1`
	err = r.QueryRow(ctx, q, version).Scan(&a.Version, &a.Position, &a.Issuer, &a.SHA256, &a.Actor, &a.Way, &a.ActivatedTS, &a.Document)
	if storage.NoRows(err) {
		return Activation{}, nil
	}
	if err != nil {
		return Activation{}, fmt.Errorf("read policy document %d: %w", version, err)
	}
	return a, nil
}

// Peer is what another server said last of the documents it enforces.
type Peer struct {
	Server       string
	Version      int64
	SHA256       string
	FloorVersion int64
	FloorSHA256  string
	Freshness    string
	AskedTS      int64
	AnsweredTS   int64  // 0: never
	Failure      string // why it did not answer when it was asked last
}

// SetPeer keeps what a peer said. Where it did not answer, what it said before
// stays.
func SetPeer(ctx context.Context, tx *storage.Tx, p *Peer) error {
	const q = `
		INSERT INTO policy_peers (server, version, sha256, floor_version, floor_sha256, freshness, asked_ts, answered_ts, failure)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (server) DO UPDATE SET asked_ts = excluded.asked_ts, failure = excluded.failure,
			version = CASE WHEN excluded.answered_ts = 0 THEN policy_peers.version ELSE excluded.version END,
			sha256 = CASE WHEN excluded.answered_ts = 0 THEN policy_peers.sha256 ELSE excluded.sha256 END,
			floor_version = CASE WHEN excluded.answered_ts = 0 THEN policy_peers.floor_version ELSE excluded.floor_version END,
			floor_sha256 = CASE WHEN excluded.answered_ts = 0 THEN policy_peers.floor_sha256 ELSE excluded.floor_sha256 END,
			freshness = CASE WHEN excluded.answered_ts = 0 THEN policy_peers.freshness ELSE excluded.freshness END,
			answered_ts = CASE WHEN excluded.answered_ts = 0 THEN policy_peers.answered_ts ELSE excluded.answered_ts END`
	if _, err := tx.Exec(ctx, q, p.Server, p.Version, p.SHA256, p.FloorVersion, p.FloorSHA256, p.Freshness, p.AskedTS,
		p.AnsweredTS, p.Failure); err != nil {
		return fmt.Errorf("keep what a peer enforces: %w", err)
	}
	return nil
}

// Peers returns what all peers said last.
func Peers(ctx context.Context, r *storage.Reader) (out []Peer, err error) {
	const q = `
		SELECT server, version, sha256, floor_version, floor_sha256, freshness, asked_ts, answered_ts, failure
		FROM policy_peers ORDER BY server`
	err = r.Each(ctx, q, nil, func(rows *sql.Rows) error {
		var p Peer
		err := rows.Scan(&p.Server, &p.Version, &p.SHA256, &p.FloorVersion, &p.FloorSHA256, &p.Freshness, &p.AskedTS, &p.AnsweredTS, &p.Failure)
		out = append(out, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what peers enforce: %w", err)
	}
	return out, nil
}
