package policies

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Shadow is a candidate that runs, or ran, beside the active document.
type Shadow struct {
	ID        string
	Version   int64
	SHA256    string
	Actor     string
	StartedTS int64
	UntilTS   int64
	EndedTS   int64 // 0 while it runs
	Asked     int64
	Document  []byte // canonical JSON
}

// ShadowFinding is what a candidate would have decided otherwise.
type ShadowFinding struct {
	Action       string `json:"action"`
	Denies       bool   `json:"denies"` // false: it would have allowed what is denied
	Reason       string `json:"reason"`
	Rule         string `json:"rule"`
	Organisation string `json:"organisation,omitempty"`
	Count        int64  `json:"count"`
	Actor        string `json:"actor,omitempty"` // of the first example
	Subject      string `json:"subject,omitempty"`
	Server       string `json:"server,omitempty"`
	Room         string `json:"room,omitempty"`
}

// LastShadow returns the candidate that was started last; its ID is "" where
// there was none.
func LastShadow(ctx context.Context, r *storage.Reader) (s Shadow, err error) {
	const q = `SELECT shadow_id, version, sha256, actor, started_ts, until_ts, ended_ts, asked, document
		FROM policy_shadows ORDER BY started_ts DESC, shadow_id DESC LIMIT 1`
	err = r.QueryRow(ctx, q).Scan(&s.ID, &s.Version, &s.SHA256, &s.Actor, &s.StartedTS, &s.UntilTS, &s.EndedTS, &s.Asked, &s.Document)
	if storage.NoRows(err) {
		return Shadow{}, nil
	}
	if err != nil {
		return s, fmt.Errorf("read shadow: %w", err)
	}
	return s, nil
}

// RunningShadow returns the ID of the candidate that runs at now, or "".
func RunningShadow(ctx context.Context, r *storage.Reader, now int64) (id string, err error) {
	const q = `SELECT shadow_id FROM policy_shadows WHERE ended_ts = 0 AND until_ts > $1
		ORDER BY started_ts DESC, shadow_id DESC LIMIT 1`
	if err = r.QueryRow(ctx, q, now).Scan(&id); storage.NoRows(err) {
		return "", nil
	}
	return id, err
}

// StartShadow ends the candidate that runs and starts another.
func StartShadow(ctx context.Context, tx *storage.Tx, s *Shadow) error {
	if err := EndShadows(ctx, tx, s.StartedTS); err != nil {
		return err
	}
	const q = `INSERT INTO policy_shadows (shadow_id, version, sha256, actor, started_ts, until_ts, ended_ts, asked, document)
		VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7)`
	_, err := tx.Exec(ctx, q, s.ID, s.Version, s.SHA256, s.Actor, s.StartedTS, s.UntilTS, string(s.Document))
	return err
}

// EndShadows ends what runs.
func EndShadows(ctx context.Context, tx *storage.Tx, now int64) error {
	_, err := tx.Exec(ctx, `UPDATE policy_shadows SET ended_ts = $1 WHERE ended_ts = 0`, now)
	return err
}

var upsertShadowFinding = storage.NewInsert("policy_shadow_findings", []string{"shadow_id", "action", "denies", "reason",
	"rule", "organisation", "count", "actor", "subject", "server", "room"},
	`ON CONFLICT (shadow_id, action, denies, reason, rule, organisation) DO UPDATE
		SET count = policy_shadow_findings.count + excluded.count`)

// AddShadowFindings adds what a node found to a candidate.
func AddShadowFindings(ctx context.Context, tx *storage.Tx, id string, asked int64, found []ShadowFinding) error {
	if _, err := tx.Exec(ctx, `UPDATE policy_shadows SET asked = asked + $1 WHERE shadow_id = $2`, asked, id); err != nil {
		return err
	}
	for _, f := range found {
		denies := 0
		if f.Denies {
			denies = 1
		}
		tx.Insert(upsertShadowFinding, id, f.Action, denies, f.Reason, f.Rule, f.Organisation, f.Count, f.Actor, f.Subject, f.Server, f.Room)
	}
	return nil
}

// ShadowFindings returns what was found of a candidate, the most frequent first.
func ShadowFindings(ctx context.Context, r *storage.Reader, id string, limit int) (out []ShadowFinding, err error) {
	const q = `SELECT action, denies, reason, rule, organisation, count, actor, subject, server, room
		FROM policy_shadow_findings WHERE shadow_id = $1 ORDER BY count DESC, action, reason LIMIT $2`
	err = r.Each(ctx, q, []any{id, limit}, func(rows *sql.Rows) error {
		var f ShadowFinding
		var denies int
		err := rows.Scan(&f.Action, &denies, &f.Reason, &f.Rule, &f.Organisation, &f.Count, &f.Actor, &f.Subject, &f.Server, &f.Room)
		f.Denies = denies == 1
		out = append(out, f)
		return err
	})
	return out, err
}

// ActivationOf returns a document of the journal, or M_NOT_FOUND.
func ActivationOf(ctx context.Context, r *storage.Reader, version int64) (a Activation, err error) {
	const q = `SELECT version, sha256, document FROM policy_documents WHERE version = $1`
	err = r.QueryRow(ctx, q, version).Scan(&a.Version, &a.SHA256, &a.Document)
	if storage.NoRows(err) {
		return a, matrix.NotFound("no document of version %d was in force", version)
	}
	return a, err
}
