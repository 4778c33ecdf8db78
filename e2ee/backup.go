package e2ee

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/keys"
)

const (
	// maxBackups bounds the backups of an account that are not deleted. Clients
	// make one when somebody resets their keys.
	maxBackups = 100
	// maxBackupAuth bounds auth_data in bytes: a public key and signatures.
	maxBackupAuth = 64 << 10
	// maxBackupSession bounds an encrypted session in bytes; they have some 700.
	maxBackupSession = 8 << 10
	// maxBackupCount bounds the sessions of a backup.
	maxBackupCount = 200_000
)

// BackupVersion is a backup as clients see it.
type BackupVersion struct {
	Version   string          `json:"version"`
	Algorithm string          `json:"algorithm"`
	AuthData  json.RawMessage `json:"auth_data"`
	Count     int64           `json:"count"`
	ETag      string          `json:"etag"`
}

func versionOf(b keys.Backup) BackupVersion {
	return BackupVersion{strconv.FormatInt(b.Version, 10), b.Algorithm, json.RawMessage(b.AuthData), b.Count,
		strconv.FormatInt(b.ETag, 10)}
}

// BackupInfo is what a client says of a backup.
type BackupInfo struct {
	Version   string          `json:"version"`
	Algorithm string          `json:"algorithm"`
	AuthData  json.RawMessage `json:"auth_data"`
}

// check returns the auth_data in canonical form.
func (i BackupInfo) check() (string, error) {
	if !plain(i.Algorithm) {
		return "", matrix.BadJSON("algorithm is missing")
	}
	if len(i.AuthData) > maxBackupAuth {
		return "", matrix.TooLarge("auth_data has at most %d bytes", maxBackupAuth)
	}
	return jsonObject(i.AuthData, "auth_data")
}

func jsonObject(raw json.RawMessage, name string) (string, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return "", matrix.BadJSON("%s must be an object", name)
	}
	canonical, err := canonicaljson.Canonicalise(raw, canonicaljson.Lenient)
	return string(canonical), err
}

// CreateBackup begins a new backup, which is then the current one, and returns
// its version.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3room_keysversion
func (s *Server) CreateBackup(ctx context.Context, user matrix.UserID, info BackupInfo) (version string, err error) {
	auth, err := info.check()
	if err != nil {
		return "", err
	}
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		last, open, err := keys.BackupNumbers(ctx, &tx.Reader, user)
		if err != nil {
			return err
		}
		if open >= maxBackups {
			return matrix.TooLarge("an account has at most %d key backups: delete an old one", maxBackups)
		}
		version = strconv.FormatInt(last+1, 10)
		return keys.SetBackup(ctx, tx, keys.Backup{User: user, Version: last + 1, Algorithm: info.Algorithm, AuthData: auth})
	})
	return version, err
}

// Backup returns a backup, "" for the current one, or M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversionversion
func (s *Server) Backup(ctx context.Context, user matrix.UserID, version string) (out BackupVersion, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		b, err := openBackup(ctx, r, user, version)
		out = versionOf(b)
		return err
	})
	return out, err
}

// openBackup returns a backup that is not deleted.
func openBackup(ctx context.Context, r *storage.Reader, user matrix.UserID, version string) (keys.Backup, error) {
	if version == "" {
		return keys.CurrentBackup(ctx, r, user)
	}
	b, err := anyBackup(ctx, r, user, version)
	if err == nil && b.Deleted {
		return keys.Backup{}, matrix.NotFound("this backup was deleted")
	}
	return b, err
}

func anyBackup(ctx context.Context, r *storage.Reader, user matrix.UserID, version string) (keys.Backup, error) {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != version {
		return keys.Backup{}, matrix.NotFound("there is no such backup")
	}
	return keys.BackupOf(ctx, r, user, n)
}

// SetBackupAuth replaces the auth_data of a backup. Another algorithm than its
// own is M_INVALID_PARAM.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keysversionversion
func (s *Server) SetBackupAuth(ctx context.Context, user matrix.UserID, version string, info BackupInfo) error {
	auth, err := info.check()
	if err != nil {
		return err
	}
	if info.Version != "" && info.Version != version {
		return matrix.InvalidParam("the version of the body is not that of the path")
	}
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		b, err := openBackup(ctx, &tx.Reader, user, version)
		if err != nil {
			return err
		}
		if b.Algorithm != info.Algorithm {
			return matrix.InvalidParam("the algorithm of a backup cannot change")
		}
		b.AuthData = auth
		return keys.SetBackup(ctx, tx, b)
	})
	return err
}

// DeleteBackup removes a backup with its sessions. One that was deleted before
// is no error.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keysversionversion
func (s *Server) DeleteBackup(ctx context.Context, user matrix.UserID, version string) error {
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		b, err := anyBackup(ctx, &tx.Reader, user, version)
		if err != nil || b.Deleted {
			return err
		}
		if _, err := keys.DeleteBackupSessions(ctx, tx, user, b.Version, "", ""); err != nil {
			return err
		}
		b.Deleted, b.Count, b.AuthData = true, 0, "{}"
		return keys.SetBackup(ctx, tx, b)
	})
	return err
}

// wrongVersion tells a client that another backup is the current one.
func wrongVersion(current int64) error {
	return matrix.NewError(http.StatusForbidden, "M_WRONG_ROOM_KEYS_VERSION", "this is not the current backup").
		With("current_version", strconv.FormatInt(current, 10))
}
