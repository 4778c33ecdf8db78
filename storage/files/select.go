package files

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/storage"
)

// Selection says which files are meant: those for which all holds that is set.
type Selection struct {
	MXC    matrix.MXC // one file; with a server alone all of that server
	User   matrix.UserID
	Room   matrix.RoomID // for which they were uploaded, or where an event spoke of them
	Before int64         // milliseconds; 0 is any time
}

const selected = `WHERE (CAST($1 AS TEXT) = '' OR m.origin = $2) AND (CAST($3 AS TEXT) = '' OR m.media_id = $4)
	AND (CAST($5 AS TEXT) = '' OR m.uploader = $6)
	AND (CAST($7 AS TEXT) = '' OR m.room_id = $8
		OR EXISTS (SELECT 1 FROM media_rooms x WHERE x.room_id = $9 AND x.origin = m.origin AND x.media_id = m.media_id))
	AND (CAST($10 AS BIGINT) = 0 OR m.created < $11)`

func (s *Selection) args() []any {
	origin, room := string(s.MXC.Server.Normalise()), string(s.Room)
	return []any{origin, origin, s.MXC.ID, s.MXC.ID, string(s.User), string(s.User), room, room, room, s.Before, s.Before}
}

// Select returns files after one, in the order of their names.
func Select(ctx context.Context, r *storage.Reader, s Selection, after matrix.MXC, limit int) ([]File, error) {
	const q = `SELECT ` + fileColumns + fileTables + selected + `
		AND (m.origin > $12 OR m.origin = $13 AND m.media_id > $14) ORDER BY m.origin, m.media_id LIMIT $15`
	at := string(after.Server.Normalise())
	return scanFiles(ctx, r, q, append(s.args(), at, at, after.ID, limit)...)
}

// Quarantine hides files, and all others with the same bytes, or shows them
// again where by is "". Protected ones stay as they are.
func Quarantine(ctx context.Context, tx *storage.Tx, s Selection, by string) (int64, error) {
	const q = `UPDATE media SET quarantined = $12 WHERE protected = 0 AND hash <> '' AND hash IN (SELECT m.hash FROM media m ` + selected + `)`
	return exec(ctx, tx, q, s, by)
}

// exec runs a statement whose selection comes last in its text but first among
// its numbers.
func exec(ctx context.Context, tx *storage.Tx, query string, s Selection, more ...any) (int64, error) {
	return tx.Exec(ctx, query, append(s.args(), more...)...)
}

// Protect has files kept, whatever happens to others.
func Protect(ctx context.Context, tx *storage.Tx, s Selection, on bool) (int64, error) {
	const q = `UPDATE media SET protected = $12 WHERE (origin, media_id) IN (SELECT m.origin, m.media_id FROM media m ` + selected + `)`
	return exec(ctx, tx, q, s, flag(on))
}

// ForgetVerdicts has the bytes of files scanned again before they are served.
func ForgetVerdicts(ctx context.Context, tx *storage.Tx, s Selection) (int64, error) {
	const q = `UPDATE media_blobs SET verdict = '', threat = '', scanned = 0
		WHERE verdict <> '' AND hash IN (SELECT m.hash FROM media m ` + selected + `)`
	return exec(ctx, tx, q, s)
}

// Owned is what one account has uploaded.
type Owned struct {
	User matrix.UserID
	Usage
}

// Largest returns the accounts with the most bytes.
func Largest(ctx context.Context, r *storage.Reader, limit int) (list []Owned, err error) {
	const q = `SELECT uploader, COUNT(*), SUM(size) AS bytes FROM media WHERE uploader <> '' AND hash <> ''
		GROUP BY uploader ORDER BY bytes DESC, uploader LIMIT $1`
	err = r.Each(ctx, q, []any{limit}, func(rows *sql.Rows) error {
		var o Owned
		err := rows.Scan(&o.User, &o.Files, &o.Bytes)
		list = append(list, o)
		return err
	})
	return list, err
}

// Totals returns the files of this server, the copies of others, and the bytes
// that the store has for both: once for all that are alike.
func Totals(ctx context.Context, r *storage.Reader, self matrix.ServerName) (local, remote, stored Usage, err error) {
	const q = `SELECT COALESCE(SUM(CASE WHEN origin = $1 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN origin = $2 THEN size ELSE 0 END), 0),
		COUNT(*), COALESCE(SUM(size), 0) FROM media WHERE hash <> ''`
	name := string(self.Normalise())
	if err = r.QueryRow(ctx, q, name, name).Scan(&local.Files, &local.Bytes, &remote.Files, &remote.Bytes); err != nil {
		return local, remote, stored, err
	}
	remote.Files, remote.Bytes = remote.Files-local.Files, remote.Bytes-local.Bytes
	err = r.QueryRow(ctx, `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM media_blobs`).Scan(&stored.Files, &stored.Bytes)
	return local, remote, stored, err
}
