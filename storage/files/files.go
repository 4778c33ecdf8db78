// Package files has the tables of media: which files there are, whose they
// are, and under which name the store has their bytes.
package files

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// The verdicts of the scanner. "" is none yet.
const (
	Clean    = "clean"
	Infected = "infected"
)

// File is one file by its mxc:// URI.
type File struct {
	MXC         matrix.MXC // the server in lower case
	Uploader    matrix.UserID
	Room        matrix.RoomID
	Hash        string // "" while it is not uploaded
	Size        int64
	ContentType string
	Name        string
	Created     int64 // milliseconds, like all times here
	Expires     int64
	Used        int64
	Quarantined string
	Protected   bool

	Blob Blob // of the hash
}

// Blob is the bytes of files that are alike.
type Blob struct {
	Hash    string
	Name    string // in the store; "" where there is no such blob
	Size    int64
	Stored  int64
	Verdict string
	Threat  string
	Scanned int64
}

const fileColumns = `m.origin, m.media_id, m.uploader, m.room_id, m.hash, m.size, m.content_type, m.filename,
	m.created, m.expires, m.used, m.quarantined, m.protected,
	COALESCE(b.name, ''), COALESCE(b.verdict, ''), COALESCE(b.threat, ''), COALESCE(b.scanned, 0), COALESCE(b.stored, 0)`

const fileTables = ` FROM media m LEFT JOIN media_blobs b ON b.hash = m.hash `

func scanFile(scan func(...any) error) (f File, err error) {
	err = scan(&f.MXC.Server, &f.MXC.ID, &f.Uploader, &f.Room, &f.Hash, &f.Size, &f.ContentType, &f.Name,
		&f.Created, &f.Expires, &f.Used, &f.Quarantined, &f.Protected,
		&f.Blob.Name, &f.Blob.Verdict, &f.Blob.Threat, &f.Blob.Scanned, &f.Blob.Stored)
	f.Blob.Hash, f.Blob.Size = f.Hash, f.Size
	return f, err
}

func scanFiles(ctx context.Context, r *storage.Reader, query string, args ...any) (list []File, err error) {
	err = r.Each(ctx, query, args, func(rows *sql.Rows) error {
		f, err := scanFile(rows.Scan)
		list = append(list, f)
		return err
	})
	return list, err
}

// ByMXC returns a file, or M_NOT_FOUND. One that waits to be uploaded is
// returned without a hash.
func ByMXC(ctx context.Context, r *storage.Reader, mxc matrix.MXC) (File, error) {
	const q = `SELECT ` + fileColumns + fileTables + `WHERE m.origin = $1 AND m.media_id = $2`
	f, err := scanFile(r.QueryRow(ctx, q, string(mxc.Server.Normalise()), mxc.ID).Scan)
	if storage.NoRows(err) {
		return f, matrix.NotFound("There is no such file")
	}
	return f, err
}

// sameHidden is by whom the same bytes are hidden: what is uploaded again is
// hidden as well.
const sameHidden = `COALESCE((SELECT MAX(q.quarantined) FROM media q WHERE q.hash <> '' AND q.hash = $12), '')`

// Add adds a file, or does nothing where it is known already.
func Add(ctx context.Context, tx *storage.Tx, f File) error {
	const q = `INSERT INTO media (origin, media_id, uploader, room_id, hash, size, content_type, filename, created,
			expires, used, quarantined, protected)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS BIGINT), CAST($7 AS TEXT),
			CAST($8 AS TEXT), CAST($9 AS BIGINT), CAST($10 AS BIGINT), CAST($11 AS BIGINT), ` + sameHidden + `, 0 WHERE 1 = 1 ON CONFLICT DO NOTHING`
	_, err := tx.Exec(ctx, q, string(f.MXC.Server.Normalise()), f.MXC.ID, string(f.Uploader), string(f.Room), f.Hash, f.Size,
		f.ContentType, f.Name, f.Created, f.Expires, f.Used, f.Hash)
	if err != nil {
		return fmt.Errorf("add file: %w", err)
	}
	return nil
}

// Fill gives a file that waits its bytes. It reports whether it still waited.
func Fill(ctx context.Context, tx *storage.Tx, f File) (bool, error) {
	const q = `UPDATE media SET hash = $1, size = $2, content_type = $3, filename = $4, created = $5, used = $6, expires = 0,
		quarantined = COALESCE((SELECT MAX(q.quarantined) FROM media q WHERE q.hash <> '' AND q.hash = $7), '')
		WHERE origin = $8 AND media_id = $9 AND hash = '' AND expires > $10`
	n, err := tx.Exec(ctx, q, f.Hash, f.Size, f.ContentType, f.Name, f.Created, f.Used, f.Hash, string(f.MXC.Server.Normalise()), f.MXC.ID, f.Created)
	return n > 0, err
}

// ByHash returns the bytes of a hash. A blob without a name is none.
func ByHash(ctx context.Context, r *storage.Reader, hash string) (b Blob, err error) {
	const q = `SELECT hash, name, size, stored, verdict, threat, scanned FROM media_blobs WHERE hash = $1`
	err = r.QueryRow(ctx, q, hash).Scan(&b.Hash, &b.Name, &b.Size, &b.Stored, &b.Verdict, &b.Threat, &b.Scanned)
	if storage.NoRows(err) {
		return Blob{}, nil
	}
	return b, err
}

// AddBlob adds bytes that are in the store.
func AddBlob(ctx context.Context, tx *storage.Tx, b Blob) error {
	const q = `INSERT INTO media_blobs (hash, name, size, stored, verdict, threat, scanned) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	if _, err := tx.Exec(ctx, q, b.Hash, b.Name, b.Size, b.Stored, b.Verdict, b.Threat, b.Scanned); err != nil {
		return fmt.Errorf("add blob: %w", err)
	}
	return nil
}

// SetVerdict keeps what the scanner found in bytes. An infection is never
// overwritten by an older finding that there is none.
func SetVerdict(ctx context.Context, tx *storage.Tx, hash, verdict, threat string, at int64) error {
	_, err := tx.Exec(ctx, `UPDATE media_blobs SET verdict = $1, threat = $2, scanned = $3 WHERE hash = $4 AND scanned <= $5`,
		verdict, threat, at, hash, at)
	return err
}

// Usage is what an account, a room or all have in files.
type Usage struct {
	Files, Bytes int64
}

// UsageOf returns what a user has uploaded and what still counts.
func UsageOf(ctx context.Context, r *storage.Reader, user matrix.UserID) (u Usage, err error) {
	const q = `SELECT COUNT(*), COALESCE(SUM(size), 0) FROM media WHERE uploader = $1`
	err = r.QueryRow(ctx, q, string(user)).Scan(&u.Files, &u.Bytes)
	return u, err
}

// Pending returns how many files a user has reserved that can still be uploaded.
func Pending(ctx context.Context, r *storage.Reader, user matrix.UserID, now int64) (n int, err error) {
	const q = `SELECT COUNT(*) FROM media WHERE uploader = $1 AND hash = '' AND expires > $2`
	err = r.QueryRow(ctx, q, string(user), now).Scan(&n)
	return n, err
}

// Saw keeps when files were last served.
func Saw(ctx context.Context, tx *storage.Tx, mxc matrix.MXC, at int64) error {
	_, err := tx.Exec(ctx, `UPDATE media SET used = $1 WHERE origin = $2 AND media_id = $3 AND used < $4`,
		at, string(mxc.Server.Normalise()), mxc.ID, at)
	return err
}
