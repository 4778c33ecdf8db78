package policies

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"beffroi/matrix"
	"beffroi/storage"
)

// The status of a finding.
const (
	FindingOpen     = "open"     // found, its treatment is due
	FindingLeft     = "left"     // left until a date, then removed
	FindingFrozen   = "frozen"   // reported and nothing else
	FindingRemoved  = "removed"  // the account is out of the room
	FindingResolved = "resolved" // allowed by now
	FindingFailed   = "failed"   // it could not be removed
)

// Finding is a membership that a document refuses.
type Finding struct {
	RoomNID      int64         `json:"-"`
	User         matrix.UserID `json:"user_id"`
	Room         matrix.RoomID `json:"room_id"`
	Membership   string        `json:"membership"`
	Version      int64         `json:"version"`
	Reason       string        `json:"reason"`
	Rule         string        `json:"rule"`
	Organisation string        `json:"organisation,omitempty"`
	FoundTS      int64         `json:"found_ts"`
	Treatment    string        `json:"treatment"`
	UntilTS      int64         `json:"until_ts,omitempty"`
	Status       string        `json:"status"`
	TreatedTS    int64         `json:"treated_ts,omitempty"`
	Detail       string        `json:"detail,omitempty"`
}

const findingColumns = `room_nid, user_id, room_id, membership, version, reason, rule, organisation, found_ts,
	treatment, until_ts, status, treated_ts, detail`

func scanFinding(rows *sql.Rows) (f Finding, err error) {
	err = rows.Scan(&f.RoomNID, &f.User, &f.Room, &f.Membership, &f.Version, &f.Reason, &f.Rule, &f.Organisation,
		&f.FoundTS, &f.Treatment, &f.UntilTS, &f.Status, &f.TreatedTS, &f.Detail)
	return f, err
}

// A finding that an earlier sweep made keeps when it was found, and is treated
// anew by the sweep that finds it again.
var upsertFinding = storage.NewInsert("policy_findings", []string{"room_nid", "user_id", "room_id", "membership",
	"version", "reason", "rule", "organisation", "found_ts", "treatment", "until_ts", "status", "treated_ts", "detail"},
	`ON CONFLICT (room_nid, user_id) DO UPDATE SET membership = excluded.membership, version = excluded.version,
		reason = excluded.reason, rule = excluded.rule, organisation = excluded.organisation,
		treatment = excluded.treatment, until_ts = excluded.until_ts, status = excluded.status, treated_ts = 0, detail = ''`)

// KeepFinding writes a finding.
func KeepFinding(tx *storage.Tx, f *Finding) {
	tx.Insert(upsertFinding, f.RoomNID, string(f.User), string(f.Room), f.Membership, f.Version, f.Reason, f.Rule,
		f.Organisation, f.FoundTS, f.Treatment, f.UntilTS, f.Status, f.TreatedTS, f.Detail)
}

// FindingFilter selects findings. Empty fields select everything.
type FindingFilter struct {
	Version      int64
	Status       string
	Organisation string
	AfterRoom    int64 // with AfterUser, the last of the page before
	AfterUser    matrix.UserID
	Limit        int
}

// Findings returns a page of findings in the order of rooms and users.
func Findings(ctx context.Context, r *storage.Reader, f FindingFilter) (out []Finding, err error) {
	text, args := `WHERE (room_nid, user_id) > ($1, $2)`, []any{f.AfterRoom, string(f.AfterUser)}
	add := func(column string, value any) {
		args = append(args, value)
		text += ` AND ` + column + ` = $` + strconv.Itoa(len(args))
	}
	if f.Version != 0 {
		add("version", f.Version)
	}
	if f.Status != "" {
		add("status", f.Status)
	}
	if f.Organisation != "" {
		add("organisation", f.Organisation)
	}
	args = append(args, f.Limit)
	q := `SELECT ` + findingColumns + ` FROM policy_findings ` + text + ` ORDER BY room_nid, user_id LIMIT $` +
		strconv.Itoa(len(args))
	return listFindings(ctx, r, q, args...)
}

// DueFindings returns findings of a version that are to be removed now.
func DueFindings(ctx context.Context, r *storage.Reader, version, now int64, limit int) ([]Finding, error) {
	const q = `SELECT ` + findingColumns + ` FROM policy_findings
		WHERE (status = 'open' OR status = 'left') AND until_ts <= $1 AND version = $2
		ORDER BY until_ts, room_nid, user_id LIMIT $3`
	return listFindings(ctx, r, q, now, version, limit)
}

func listFindings(ctx context.Context, r *storage.Reader, q string, args ...any) (out []Finding, err error) {
	err = r.Each(ctx, q, args, func(rows *sql.Rows) error {
		f, err := scanFinding(rows)
		out = append(out, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read findings: %w", err)
	}
	return out, nil
}

// TreatFinding notes what became of a finding, unless a newer document has
// found it again.
func TreatFinding(ctx context.Context, tx *storage.Tx, f *Finding) error {
	const q = `UPDATE policy_findings SET status = $1, treated_ts = $2, detail = $3
		WHERE room_nid = $4 AND user_id = $5 AND version = $6`
	if _, err := tx.Exec(ctx, q, f.Status, f.TreatedTS, f.Detail, f.RoomNID, string(f.User), f.Version); err != nil {
		return fmt.Errorf("treat finding: %w", err)
	}
	return nil
}

// DropFindings deletes the findings of documents before version that nobody
// has treated: the document that found them is not in force any more.
func DropFindings(ctx context.Context, tx *storage.Tx, version int64) (int64, error) {
	return tx.Exec(ctx, `DELETE FROM policy_findings WHERE version < $1 AND status <> 'removed'`, version)
}

// Sweep is how far the sweep of a version came.
type Sweep struct {
	Version    int64
	Treatment  string
	UntilTS    int64
	RoomNID    int64 // with User, the last membership looked at
	User       matrix.UserID
	Scanned    int64
	Found      int64
	StartedTS  int64
	FinishedTS int64 // 0 while it goes on
}

// SweepOf returns the sweep of a version; its Version is 0 where there is none.
func SweepOf(ctx context.Context, r *storage.Reader, version int64) (s Sweep, err error) {
	const q = `SELECT version, treatment, until_ts, room_nid, user_id, scanned, found, started_ts, finished_ts
		FROM policy_sweeps WHERE version = $1`
	err = r.QueryRow(ctx, q, version).Scan(&s.Version, &s.Treatment, &s.UntilTS, &s.RoomNID, &s.User, &s.Scanned,
		&s.Found, &s.StartedTS, &s.FinishedTS)
	if storage.NoRows(err) {
		return Sweep{}, nil
	}
	if err != nil {
		return s, fmt.Errorf("read sweep: %w", err)
	}
	return s, nil
}

// SetSweep writes a sweep.
func SetSweep(ctx context.Context, tx *storage.Tx, s *Sweep) error {
	const q = `
		INSERT INTO policy_sweeps (version, treatment, until_ts, room_nid, user_id, scanned, found, started_ts, finished_ts)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (version) DO UPDATE SET room_nid = excluded.room_nid, user_id = excluded.user_id,
			scanned = excluded.scanned, found = excluded.found, finished_ts = excluded.finished_ts`
	if _, err := tx.Exec(ctx, q, s.Version, s.Treatment, s.UntilTS, s.RoomNID, string(s.User), s.Scanned, s.Found,
		s.StartedTS, s.FinishedTS); err != nil {
		return fmt.Errorf("write sweep: %w", err)
	}
	return nil
}

// AdvanceSweep moves a sweep on from where it was read. It returns
// [storage.ErrConflict] if another node has moved it.
func AdvanceSweep(ctx context.Context, tx *storage.Tx, from, to *Sweep) error {
	const q = `
		UPDATE policy_sweeps SET room_nid = $1, user_id = $2, scanned = $3, found = $4, finished_ts = $5
		WHERE version = $6 AND room_nid = $7 AND user_id = $8 AND finished_ts = 0`
	n, err := tx.Exec(ctx, q, to.RoomNID, string(to.User), to.Scanned, to.Found, to.FinishedTS, from.Version,
		from.RoomNID, string(from.User))
	if err != nil {
		return fmt.Errorf("advance sweep: %w", err)
	}
	if n == 0 {
		return storage.ErrConflict
	}
	return nil
}
