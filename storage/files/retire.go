package files

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/storage"
)

// DropExpired removes reservations that nobody used.
func DropExpired(ctx context.Context, tx *storage.Tx, now int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM media WHERE hash = '' AND expires > 0 AND expires <= $1`, now)
	return err
}

// Unused returns files that were last served before a time: those that accounts
// uploaded, or copies of others and pictures of pages. Protected ones are none
// of them.
func Unused(ctx context.Context, r *storage.Reader, uploaded bool, before int64, limit int) ([]matrix.MXC, error) {
	const own = `SELECT origin, media_id FROM media WHERE used < $1 AND uploader <> '' AND protected = 0 AND hash <> '' ORDER BY used LIMIT $2`
	const others = `SELECT origin, media_id FROM media WHERE used < $1 AND uploader = '' AND protected = 0 ORDER BY used LIMIT $2`
	query := others
	if uploaded {
		query = own
	}
	return names(ctx, r, query, before, limit)
}

func names(ctx context.Context, r *storage.Reader, query string, args ...any) (list []matrix.MXC, err error) {
	err = r.Each(ctx, query, args, func(rows *sql.Rows) error {
		var mxc matrix.MXC
		err := rows.Scan(&mxc.Server, &mxc.ID)
		list = append(list, mxc)
		return err
	})
	return list, err
}

// Drop removes files. Their bytes go with the last file that has them, see
// [Orphans].
func Drop(ctx context.Context, tx *storage.Tx, list []matrix.MXC) (dropped int64, err error) {
	for _, mxc := range list {
		n, err := tx.Exec(ctx, `DELETE FROM media WHERE origin = $1 AND media_id = $2`, string(mxc.Server.Normalise()), mxc.ID)
		if err != nil {
			return dropped, err
		}
		dropped += n
		if _, err := tx.Exec(ctx, `DELETE FROM media_rooms WHERE origin = $1 AND media_id = $2`, string(mxc.Server.Normalise()), mxc.ID); err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}

// DropOrphans removes blobs that no file has, and returns the names under
// which the store has them and their thumbnails.
func DropOrphans(ctx context.Context, tx *storage.Tx, limit int) (gone []string, err error) {
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	var hashes []string
	const q = `SELECT b.hash, b.name FROM media_blobs b WHERE NOT EXISTS (SELECT 1 FROM media m WHERE m.hash = b.hash) LIMIT $1`
	err = r.Each(ctx, q, []any{limit}, func(rows *sql.Rows) error {
		var hash, name string
		err := rows.Scan(&hash, &name)
		hashes, gone = append(hashes, hash), append(gone, name)
		return err
	})
	if err != nil || len(hashes) == 0 {
		return nil, err
	}
	err = storage.EachIn(ctx, r, `SELECT name FROM media_thumbnails WHERE hash IN ($LIST)`, nil, hashes, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		gone = append(gone, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, q := range []string{`DELETE FROM media_thumbnails WHERE hash IN ($LIST)`, `DELETE FROM media_blobs WHERE hash IN ($LIST)`} {
		if _, err := storage.ExecIn(ctx, tx, q, nil, hashes); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// Known returns which of some names of the store belong to something.
func Known(ctx context.Context, r *storage.Reader, list []string) (map[string]bool, error) {
	known := make(map[string]bool, len(list))
	for _, q := range []string{`SELECT name FROM media_blobs WHERE name IN ($LIST)`, `SELECT name FROM media_thumbnails WHERE name IN ($LIST)`} {
		if err := storage.EachIn(ctx, r, q, nil, list, func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			known[name] = true
			return err
		}); err != nil {
			return nil, err
		}
	}
	return known, nil
}
