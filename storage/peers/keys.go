// Package peers keeps what concerns other servers: their keys, the
// transactions they sent, and what waits to be sent to them.
package peers

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/storage"
)

// Key is a public key of a server.
type Key struct {
	ID     matrix.KeyID
	Public ed25519.PublicKey
	// ValidUntil is in milliseconds; of an expired key, when it was given up.
	ValidUntil int64
	Expired    bool
}

// Keys returns all keys that are known of a server.
func Keys(ctx context.Context, r *storage.Reader, server matrix.ServerName) (keys []Key, err error) {
	const q = `SELECT key_id, public_key, valid_until, expired FROM server_keys WHERE server = $1`
	err = r.Each(ctx, q, []any{string(server)}, func(rows *sql.Rows) error {
		var k Key
		var public string
		if err := rows.Scan(&k.ID, &public, &k.ValidUntil, &k.Expired); err != nil {
			return err
		}
		k.Public, err = signing.DecodeBase64(public)
		keys = append(keys, k)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read server keys: %w", err)
	}
	return keys, nil
}

// KeyAnswer is the last answer of a server about its keys.
type KeyAnswer struct {
	JSON       []byte
	ValidUntil int64 // ms
	FetchedAt  int64 // ms
}

// ServerKeyAnswer returns the last answer of a server about its keys; a
// FetchedAt of 0 says that there is none.
func ServerKeyAnswer(ctx context.Context, r *storage.Reader, server matrix.ServerName) (a KeyAnswer, err error) {
	const q = `SELECT answer, valid_until, fetched_at FROM server_key_answers WHERE server = $1`
	var text string
	err = r.QueryRow(ctx, q, string(server)).Scan(&text, &a.ValidUntil, &a.FetchedAt)
	if storage.NoRows(err) {
		return KeyAnswer{}, nil
	}
	if err != nil {
		return a, fmt.Errorf("read server key answer: %w", err)
	}
	a.JSON = []byte(text)
	return a, nil
}

// SaveKeys keeps an answer of a server and the keys that were verified in it.
// Keys that the answer no longer has are kept as they are.
func SaveKeys(ctx context.Context, tx *storage.Tx, server matrix.ServerName, a KeyAnswer, keys []Key) error {
	const key = `
		INSERT INTO server_keys (server, key_id, public_key, valid_until, expired) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (server, key_id) DO UPDATE SET
			public_key = excluded.public_key, valid_until = excluded.valid_until, expired = excluded.expired`
	for _, k := range keys { // a server has one or two
		var expired int64
		if k.Expired {
			expired = 1
		}
		if _, err := tx.Exec(ctx, key, string(server), string(k.ID), signing.EncodeBase64(k.Public), k.ValidUntil, expired); err != nil {
			return fmt.Errorf("save server key: %w", err)
		}
	}
	const answer = `
		INSERT INTO server_key_answers (server, answer, valid_until, fetched_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (server) DO UPDATE SET
			answer = excluded.answer, valid_until = excluded.valid_until, fetched_at = excluded.fetched_at`
	if _, err := tx.Exec(ctx, answer, string(server), string(a.JSON), a.ValidUntil, a.FetchedAt); err != nil {
		return fmt.Errorf("save server key answer: %w", err)
	}
	return nil
}
