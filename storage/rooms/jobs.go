package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// The kinds of jobs.
const (
	JobPurge  = "purge"
	JobDelete = "delete"
)

// Job is work on a room that takes longer than a commit.
type Job struct {
	ID         int64
	Kind       string
	Room       matrix.RoomID
	UpTo       storage.Position // purge: the last position that goes
	BeforeTS   int64            // purge: only what its sender dates before, 0: all
	Reached    storage.Position // purge: how far it came
	Removed    int64            // how many rows
	CreatedAt  int64            // milliseconds
	FinishedAt int64            // milliseconds, 0: not yet
	Error      string           // why it could not be done, or ""
}

const jobColumns = `job_id, kind, room_id, up_to, before_ts, reached, removed, created_at, finished_at, error`

func scanJob(scan func(...any) error) (j Job, err error) {
	err = scan(&j.ID, &j.Kind, &j.Room, &j.UpTo, &j.BeforeTS, &j.Reached, &j.Removed, &j.CreatedAt, &j.FinishedAt, &j.Error)
	return j, err
}

// AddJob queues a job and returns its number. Of j only what is asked for
// counts, and CreatedAt.
func AddJob(ctx context.Context, tx *storage.Tx, j Job) (id int64, err error) {
	const q = `INSERT INTO jobs (` + jobColumns + `) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, 0, '')`
	id = int64(tx.Next())
	if _, err := tx.Exec(ctx, q, id, j.Kind, string(j.Room), int64(j.UpTo), j.BeforeTS, int64(FirstPosition), j.CreatedAt); err != nil {
		return 0, fmt.Errorf("add job: %w", err)
	}
	return id, nil
}

// WaitingJobs returns the numbers of jobs that are not finished, the oldest
// first.
func WaitingJobs(ctx context.Context, r *storage.Reader, limit int) ([]int64, error) {
	const q = `SELECT job_id FROM jobs WHERE finished_at = 0 ORDER BY job_id LIMIT $1`
	return storage.Column[int64](ctx, r, q, limit)
}

// JobsSince returns the jobs with a number above after, the oldest first.
func JobsSince(ctx context.Context, r *storage.Reader, after int64, limit int) (found []Job, err error) {
	const q = `SELECT ` + jobColumns + ` FROM jobs WHERE job_id > $1 ORDER BY job_id LIMIT $2`
	err = r.Each(ctx, q, []any{after, limit}, func(rows *sql.Rows) error {
		j, err := scanJob(rows.Scan)
		found = append(found, j)
		return err
	})
	return found, err
}

// JobByID returns a job, or M_NOT_FOUND.
func JobByID(ctx context.Context, r *storage.Reader, id int64) (Job, error) {
	j, err := scanJob(r.QueryRow(ctx, `SELECT `+jobColumns+` FROM jobs WHERE job_id = $1`, id).Scan)
	if storage.NoRows(err) {
		return j, matrix.NotFound("no such job")
	}
	return j, err
}

// SaveJob writes how far a job came.
func SaveJob(ctx context.Context, tx *storage.Tx, j Job) error {
	const q = `UPDATE jobs SET reached = $1, removed = $2, finished_at = $3, error = $4 WHERE job_id = $5`
	if _, err := tx.Exec(ctx, q, int64(j.Reached), j.Removed, j.FinishedAt, j.Error, j.ID); err != nil {
		return fmt.Errorf("save job: %w", err)
	}
	return nil
}

// DropJobs forgets jobs that finished before a time in milliseconds.
func DropJobs(ctx context.Context, tx *storage.Tx, before int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM jobs WHERE finished_at > 0 AND finished_at < $1`, before)
	return err
}

// NoteTime keeps that the log had come to its head at a time in milliseconds.
func NoteTime(ctx context.Context, tx *storage.Tx, now int64) error {
	const q = `INSERT INTO log_times (ts, pos) SELECT CAST($1 AS BIGINT), pos FROM stream_head WHERE id = 1 ON CONFLICT DO NOTHING`
	_, err := tx.Exec(ctx, q, now)
	return err
}

// LastNoted returns the latest time that [NoteTime] kept, 0 for none.
func LastNoted(ctx context.Context, r *storage.Reader) (ts int64, err error) {
	err = r.QueryRow(ctx, `SELECT COALESCE(MAX(ts), 0) FROM log_times`).Scan(&ts)
	return ts, err
}

// HeadAt returns a position that the log had reached at a time, 0 where none
// was noted. Where the clock was set back, and the log had two heads at one
// time, it is the lower one.
func HeadAt(ctx context.Context, r *storage.Reader, ts int64) (pos storage.Position, err error) {
	const q = `SELECT COALESCE(MAX(t.pos), 0) FROM log_times t WHERE t.ts <= $1
		AND NOT EXISTS (SELECT 1 FROM log_times l WHERE l.ts > $2 AND l.pos < t.pos)`
	err = r.QueryRow(ctx, q, ts, ts).Scan(&pos)
	return pos, err
}
