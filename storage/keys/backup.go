package keys

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"beffroi/matrix"
	"beffroi/storage"
)

// Backup is a backup of the room keys of an account.
type Backup struct {
	User      matrix.UserID
	Version   int64
	Algorithm string
	AuthData  string // a JSON object
	ETag      int64
	Count     int64
	Deleted   bool
}

const backupColumns = `user_id, version, algorithm, auth_data, etag, count, deleted`

func scanBackup(scan func(...any) error) (b Backup, err error) {
	var deleted int
	err = scan(&b.User, &b.Version, &b.Algorithm, &b.AuthData, &b.ETag, &b.Count, &deleted)
	b.Deleted = deleted == 1
	if storage.NoRows(err) {
		err = matrix.NotFound("there is no such backup")
	}
	return b, err
}

// BackupOf returns a backup, deleted or not, or M_NOT_FOUND.
func BackupOf(ctx context.Context, r *storage.Reader, user matrix.UserID, version int64) (Backup, error) {
	const q = `SELECT ` + backupColumns + ` FROM key_backups WHERE user_id = $1 AND version = $2`
	return scanBackup(r.QueryRow(ctx, q, string(user), version).Scan)
}

// CurrentBackup returns the newest backup that is not deleted, or M_NOT_FOUND.
func CurrentBackup(ctx context.Context, r *storage.Reader, user matrix.UserID) (Backup, error) {
	const q = `SELECT ` + backupColumns + ` FROM key_backups WHERE user_id = $1 AND deleted = 0 ORDER BY version DESC LIMIT 1`
	return scanBackup(r.QueryRow(ctx, q, string(user)).Scan)
}

// BackupNumbers returns the greatest number that a backup of an account ever
// had, and how many are not deleted.
func BackupNumbers(ctx context.Context, r *storage.Reader, user matrix.UserID) (last, open int64, err error) {
	const q = `SELECT COALESCE(MAX(version), 0), COALESCE(SUM(1 - deleted), 0) FROM key_backups WHERE user_id = $1`
	err = r.QueryRow(ctx, q, string(user)).Scan(&last, &open)
	return last, open, err
}

// SetBackup stores a backup in place of the one with its number.
func SetBackup(ctx context.Context, tx *storage.Tx, b Backup) error {
	const q = `
		INSERT INTO key_backups (` + backupColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (user_id, version) DO UPDATE SET algorithm = excluded.algorithm, auth_data = excluded.auth_data,
			etag = excluded.etag, count = excluded.count, deleted = excluded.deleted`
	deleted := 0
	if b.Deleted {
		deleted = 1
	}
	if _, err := tx.Exec(ctx, q, string(b.User), b.Version, b.Algorithm, b.AuthData, b.ETag, b.Count, deleted); err != nil {
		return fmt.Errorf("set key backup: %w", err)
	}
	return nil
}

// DeleteBackups removes every backup of an account.
func DeleteBackups(ctx context.Context, tx *storage.Tx, user matrix.UserID) error {
	if _, err := tx.Exec(ctx, `DELETE FROM key_backup_sessions WHERE user_id = $1`, string(user)); err != nil {
		return fmt.Errorf("delete key backups: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM key_backups WHERE user_id = $1`, string(user)); err != nil {
		return fmt.Errorf("delete key backups: %w", err)
	}
	return nil
}

// BackupSession is a session in a backup.
type BackupSession struct {
	Room       matrix.RoomID
	Session    string
	FirstIndex int64
	Forwarded  int64
	Verified   bool
	JSON       string
}

// Slot names the session within its backup.
func (s BackupSession) Slot() string { return backupSlot(s.Room, s.Session) }

func backupSlot(room matrix.RoomID, session string) string { return string(room) + "\n" + session }

const sessionColumns = `slot, room_id, first_index, forwarded, verified, json`

func scanSession(rows *sql.Rows) (s BackupSession, err error) {
	var slot string
	var verified int
	err = rows.Scan(&slot, &s.Room, &s.FirstIndex, &s.Forwarded, &verified, &s.JSON)
	_, s.Session, _ = strings.Cut(slot, "\n")
	s.Verified = verified == 1
	return s, err
}

// EachBackupSession calls fn with the sessions of a backup in their order: all,
// those of a room, or one. "" is any.
func EachBackupSession(ctx context.Context, r *storage.Reader, user matrix.UserID, version int64, room matrix.RoomID,
	session string, fn func(BackupSession)) error {
	q := `SELECT ` + sessionColumns + ` FROM key_backup_sessions WHERE user_id = $1 AND version = $2`
	args := []any{string(user), version}
	switch {
	case session != "":
		q += ` AND slot = $3`
		args = append(args, backupSlot(room, session))
	case room != "":
		q += ` AND room_id = $3`
		args = append(args, string(room))
	}
	return r.Each(ctx, q+` ORDER BY room_id, slot`, args, func(rows *sql.Rows) error {
		s, err := scanSession(rows)
		if err == nil {
			fn(s)
		}
		return err
	})
}

// BackupSessions returns those of the slots that a backup has, without their
// JSON.
func BackupSessions(ctx context.Context, r *storage.Reader, user matrix.UserID, version int64, slots []string) (map[string]BackupSession, error) {
	found := make(map[string]BackupSession, len(slots))
	const q = `
		SELECT slot, room_id, first_index, forwarded, verified, '' FROM key_backup_sessions
		WHERE user_id = $1 AND version = $2 AND slot IN ($LIST)`
	err := storage.EachIn(ctx, r, q, []any{string(user), version}, slots, func(rows *sql.Rows) error {
		s, err := scanSession(rows)
		found[s.Slot()] = s
		return err
	})
	return found, err
}

var insertBackupSession = storage.NewInsert("key_backup_sessions", []string{"user_id", "version", "slot", "room_id",
	"first_index", "forwarded", "verified", "json"}, "")

// AddBackupSession stores a session that the backup has not.
func AddBackupSession(tx *storage.Tx, user matrix.UserID, version int64, s BackupSession) {
	verified := 0
	if s.Verified {
		verified = 1
	}
	tx.Insert(insertBackupSession, string(user), version, s.Slot(), string(s.Room), s.FirstIndex, s.Forwarded, verified, s.JSON)
}

// RemoveBackupSlots removes sessions by their slots.
func RemoveBackupSlots(ctx context.Context, tx *storage.Tx, user matrix.UserID, version int64, slots []string) error {
	const q = `DELETE FROM key_backup_sessions WHERE user_id = $1 AND version = $2 AND slot IN ($LIST)`
	_, err := storage.ExecIn(ctx, tx, q, []any{string(user), version}, slots)
	return err
}

// DeleteBackupSessions removes sessions as [EachBackupSession] names them, and
// returns how many there were.
func DeleteBackupSessions(ctx context.Context, tx *storage.Tx, user matrix.UserID, version int64, room matrix.RoomID,
	session string) (int64, error) {
	q := `DELETE FROM key_backup_sessions WHERE user_id = $1 AND version = $2`
	args := []any{string(user), version}
	switch {
	case session != "":
		q += ` AND slot = $3`
		args = append(args, backupSlot(room, session))
	case room != "":
		q += ` AND room_id = $3`
		args = append(args, string(room))
	}
	return tx.Exec(ctx, q, args...)
}
