package keys

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// The usages of cross-signing keys.
const (
	Master      = "master"
	SelfSigning = "self_signing"
	UserSigning = "user_signing"
)

// CrossSigningKey is a key with which an account signs keys.
type CrossSigningKey struct {
	User      matrix.UserID
	Usage     string
	PublicKey string // unpadded base64
	JSON      string // canonical
}

// CrossSigningKeys returns the keys of accounts, ours or remote.
func CrossSigningKeys(ctx context.Context, r *storage.Reader, users []matrix.UserID) (list []CrossSigningKey, err error) {
	const q = `SELECT user_id, usage, public_key, json FROM cross_signing_keys WHERE user_id IN ($LIST)`
	err = storage.EachIn(ctx, r, q, nil, users, func(rows *sql.Rows) error {
		var k CrossSigningKey
		err := rows.Scan(&k.User, &k.Usage, &k.PublicKey, &k.JSON)
		list = append(list, k)
		return err
	})
	return list, err
}

// IsCrossSigningKey reports whether a name is the public part of a
// cross-signing key of an account: no device may be called so.
func IsCrossSigningKey(ctx context.Context, r *storage.Reader, user matrix.UserID, name string) (bool, error) {
	var n int
	const q = `SELECT COUNT(*) FROM cross_signing_keys WHERE user_id = $1 AND public_key = $2`
	err := r.QueryRow(ctx, q, string(user), name).Scan(&n)
	return n > 0, err
}

// SetCrossSigningKey stores a key in place of the one with its usage.
// Signatures on the old one go.
func SetCrossSigningKey(ctx context.Context, tx *storage.Tx, k CrossSigningKey) error {
	if err := DeleteCrossSigningKey(ctx, tx, k.User, k.Usage, k.PublicKey); err != nil {
		return err
	}
	const q = `
		INSERT INTO cross_signing_keys (user_id, usage, public_key, json) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id, usage) DO UPDATE SET public_key = excluded.public_key, json = excluded.json`
	if _, err := tx.Exec(ctx, q, string(k.User), k.Usage, k.PublicKey, k.JSON); err != nil {
		return fmt.Errorf("set cross-signing key: %w", err)
	}
	return nil
}

// DeleteCrossSigningKey removes a key of an account with the signatures on it,
// unless it is the one to keep.
func DeleteCrossSigningKey(ctx context.Context, tx *storage.Tx, user matrix.UserID, usage, keep string) error {
	const signatures = `
		DELETE FROM key_signatures WHERE target_user = $1 AND target_key IN (
			SELECT public_key FROM cross_signing_keys WHERE user_id = $2 AND usage = $3 AND public_key <> $4)`
	if _, err := tx.Exec(ctx, signatures, string(user), string(user), usage, keep); err != nil {
		return fmt.Errorf("delete signatures: %w", err)
	}
	const q = `DELETE FROM cross_signing_keys WHERE user_id = $1 AND usage = $2 AND public_key <> $3`
	if _, err := tx.Exec(ctx, q, string(user), usage, keep); err != nil {
		return fmt.Errorf("delete cross-signing key: %w", err)
	}
	return nil
}

// Signature is a verified signature on a device or a master key.
type Signature struct {
	TargetUser matrix.UserID
	TargetKey  string // a device ID or a public key
	Signer     matrix.UserID
	SignerKey  matrix.KeyID
	Signature  string
}

// Signatures returns the signatures on keys of accounts that viewer may see:
// those that the accounts made themselves, and its own.
//
// https://spec.matrix.org/v1.19/client-server-api/#key-and-signature-security
func Signatures(ctx context.Context, r *storage.Reader, viewer matrix.UserID, users []matrix.UserID) (list []Signature, err error) {
	const q = `
		SELECT target_user, target_key, signer, signer_key, signature FROM key_signatures
		WHERE (signer = target_user OR signer = $1) AND target_user IN ($LIST)`
	err = storage.EachIn(ctx, r, q, []any{string(viewer)}, users, func(rows *sql.Rows) error {
		var s Signature
		err := rows.Scan(&s.TargetUser, &s.TargetKey, &s.Signer, &s.SignerKey, &s.Signature)
		list = append(list, s)
		return err
	})
	return list, err
}

// AddSignature stores a signature and reports whether it is new.
func AddSignature(ctx context.Context, tx *storage.Tx, s Signature) (added bool, err error) {
	const q = `
		INSERT INTO key_signatures (target_user, target_key, signer, signer_key, signature)
		VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (target_user, target_key, signer, signer_key) DO UPDATE SET signature = excluded.signature
		WHERE key_signatures.signature <> excluded.signature`
	n, err := tx.Exec(ctx, q, string(s.TargetUser), s.TargetKey, string(s.Signer), string(s.SignerKey), s.Signature)
	if err != nil {
		return false, fmt.Errorf("add signature: %w", err)
	}
	return n > 0, nil
}
