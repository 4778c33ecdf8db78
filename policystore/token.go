package policystore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/policies"
)

// Role is what the holder of an admin token may do. None of them can read a
// message or act as a user.
type Role string

// The roles.
const (
	RoleEditor   Role = "policy-editor"   // proposes documents
	RoleApprover Role = "policy-approver" // approves and activates them
	RoleAuditor  Role = "auditor"         // reads documents, audit trail and findings
	RoleOperator Role = "operator"        // looks after the server: sweeps, findings, shadows
)

// Roles are all roles.
func Roles() []Role { return []Role{RoleEditor, RoleApprover, RoleAuditor, RoleOperator} }

const (
	// tokenPrefix tells a token of this API from one of a user, for people and
	// for scanners of leaked secrets.
	tokenPrefix = "bfa_"
	maxToken    = 100
	maxName     = 64
)

// Token is a token of the admin API, without its secret.
type Token struct {
	ID      string
	Name    string // who holds it: two tokens of one name are one person
	Role    Role
	Created time.Time
	Expires time.Time // zero is never
	Revoked time.Time // zero is not
}

// CreateToken makes a token and returns its secret, which is kept nowhere. A
// lifetime of zero does not end.
func CreateToken(ctx context.Context, db *storage.DB, name string, role Role, lifetime time.Duration, now time.Time) (secret string, t Token, err error) {
	switch {
	case !slices.Contains(Roles(), role):
		return "", t, matrix.InvalidParam("the role is %q; it is one of %q", role, Roles())
	case name == "" || len(name) > maxName || cleanText(name, maxName) != name || name == ActorSystem || strings.ContainsAny(name, " @"):
		return "", t, matrix.InvalidParam("a name is 1 to %d bytes without spaces and @, and not %q", maxName, ActorSystem)
	case lifetime < 0:
		return "", t, matrix.InvalidParam("a token cannot have ended already")
	}
	secret = tokenPrefix + rand.Text()
	row := policies.Token{ID: newID(now), SHA256: secretHash(secret), Name: name, Role: string(role), CreatedTS: now.UnixMilli()}
	if lifetime > 0 {
		row.ExpiresTS = now.Add(lifetime).UnixMilli()
	}
	_, err = db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := policies.AddToken(ctx, tx, &row); err != nil {
			return err
		}
		return noteToken(ctx, tx, now, "create_token", "token "+row.ID+" of "+name+", "+row.Role)
	})
	return secret, tokenOf(&row), err
}

func noteToken(ctx context.Context, tx *storage.Tx, now time.Time, action, detail string) error {
	return policies.Append(ctx, tx, []*policies.Entry{{ID: newID(now), TS: now.UnixMilli(), Kind: KindCall,
		Actor: ActorSystem, Action: action, Source: "command", Detail: detail, Count: 1}})
}

func secretHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func tokenOf(row *policies.Token) Token {
	t := Token{ID: row.ID, Name: row.Name, Role: Role(row.Role), Created: time.UnixMilli(row.CreatedTS)}
	if row.ExpiresTS != 0 {
		t.Expires = time.UnixMilli(row.ExpiresTS)
	}
	if row.RevokedTS != 0 {
		t.Revoked = time.UnixMilli(row.RevokedTS)
	}
	return t
}

// Authenticate returns the token with a secret that is in use, or 401
// M_UNKNOWN_TOKEN.
func (s *Store) Authenticate(ctx context.Context, secret string) (Token, error) {
	unknown := matrix.NewError(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "the admin API does not know this token")
	if len(secret) > maxToken || !strings.HasPrefix(secret, tokenPrefix) {
		return Token{}, unknown
	}
	var row policies.Token
	var ok bool
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		row, ok, err = policies.FindToken(ctx, r, secretHash(secret))
		return err
	}); err != nil {
		return Token{}, err
	}
	if !ok || row.RevokedTS != 0 || row.ExpiresTS != 0 && row.ExpiresTS <= s.now().UnixMilli() {
		return Token{}, unknown
	}
	return tokenOf(&row), nil
}

// Tokens returns every token that was made, the oldest first.
func Tokens(ctx context.Context, db *storage.DB) ([]Token, error) {
	var rows []policies.Token
	if err := db.View(ctx, func(r *storage.Reader) (err error) {
		rows, err = policies.Tokens(ctx, r)
		return err
	}); err != nil {
		return nil, err
	}
	out := make([]Token, len(rows))
	for i := range rows {
		out[i] = tokenOf(&rows[i])
	}
	return out, nil
}

// RevokeToken ends a token at once, on every node.
func RevokeToken(ctx context.Context, db *storage.DB, id string, now time.Time) error {
	_, err := db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := policies.RevokeToken(ctx, tx, id, now.UnixMilli()); err != nil {
			return err
		}
		return noteToken(ctx, tx, now, "revoke_token", "token "+id)
	})
	return err
}
