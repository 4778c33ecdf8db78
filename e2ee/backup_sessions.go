package e2ee

import (
	"context"
	"encoding/json"
	"strconv"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/keys"
)

// BackupSession is a session as a client encrypts it for itself.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomidsessionid
type BackupSession struct {
	FirstIndex *int64          `json:"first_message_index"`
	Forwarded  *int64          `json:"forwarded_count"`
	Verified   *bool           `json:"is_verified"`
	Data       json.RawMessage `json:"session_data"`
}

// RoomBackup is the sessions of a room.
type RoomBackup struct {
	Sessions map[string]BackupSession `json:"sessions"`
}

// BackupUpload is sessions of several rooms.
type BackupUpload map[matrix.RoomID]RoomBackup

// BackupState says what a backup holds after a change.
type BackupState struct {
	Count int64  `json:"count"`
	ETag  string `json:"etag"`
}

func stateOf(b keys.Backup) BackupState { return BackupState{b.Count, strconv.FormatInt(b.ETag, 10)} }

// BackUp adds sessions to the current backup. Of two copies of a session the
// better one stays. A version that is not the current one is
// M_WRONG_ROOM_KEYS_VERSION; one malformed session refuses all of them.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys
func (s *Server) BackUp(ctx context.Context, user matrix.UserID, version string, up BackupUpload) (state BackupState, err error) {
	sessions, err := up.check()
	if err != nil {
		return state, err
	}
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		b, err := keys.CurrentBackup(ctx, &tx.Reader, user)
		if err != nil {
			return err
		}
		if strconv.FormatInt(b.Version, 10) != version {
			return wrongVersion(b.Version)
		}
		state, err = merge(ctx, tx, b, sessions)
		return err
	})
	return state, err
}

// check returns the sessions of an upload, each in a form that can be stored.
func (up BackupUpload) check() ([]keys.BackupSession, error) {
	var list []keys.BackupSession
	for room, in := range up {
		if _, err := matrix.ParseRoomID(string(room)); err != nil {
			return nil, err
		}
		if in.Sessions == nil {
			return nil, matrix.BadJSON("sessions of %s is missing", room)
		}
		for id, session := range in.Sessions {
			checked, err := session.check(room, id)
			if err != nil {
				return nil, err
			}
			list = append(list, checked)
		}
	}
	return list, nil
}

func (b BackupSession) check(room matrix.RoomID, id string) (out keys.BackupSession, err error) {
	switch {
	case !plain(id) || !plain(string(room)):
		return out, matrix.InvalidParam("the name of a session is empty, too long or not plain text")
	case b.FirstIndex == nil || b.Forwarded == nil || b.Verified == nil:
		return out, matrix.BadJSON("first_message_index, forwarded_count and is_verified are needed")
	case *b.FirstIndex < 0 || *b.Forwarded < 0:
		return out, matrix.BadJSON("first_message_index and forwarded_count are not negative")
	case len(b.Data) > maxBackupSession:
		return out, matrix.TooLarge("session_data has at most %d bytes", maxBackupSession)
	}
	data, err := jsonObject(b.Data, "session_data")
	if err != nil {
		return out, err
	}
	whole, err := json.Marshal(BackupSession{b.FirstIndex, b.Forwarded, b.Verified, json.RawMessage(data)})
	return keys.BackupSession{Room: room, Session: id, FirstIndex: *b.FirstIndex, Forwarded: *b.Forwarded,
		Verified: *b.Verified, JSON: string(whole)}, err
}

// merge stores the sessions that a backup has not, or only a worse copy of.
func merge(ctx context.Context, tx *storage.Tx, b keys.Backup, sessions []keys.BackupSession) (BackupState, error) {
	slots := make([]string, len(sessions))
	for i, session := range sessions {
		slots[i] = session.Slot()
	}
	have, err := keys.BackupSessions(ctx, &tx.Reader, b.User, b.Version, slots)
	if err != nil {
		return BackupState{}, err
	}
	var stale []string
	better := sessions[:0:0]
	for _, session := range sessions {
		old, known := have[session.Slot()]
		if known && !betterCopy(session, old) {
			continue
		}
		if known {
			stale = append(stale, session.Slot())
		}
		better = append(better, session)
	}
	if len(better) == 0 {
		return stateOf(b), nil
	}
	b.Count += int64(len(better) - len(stale))
	if b.Count > maxBackupCount {
		return BackupState{}, matrix.TooLarge("a backup has at most %d sessions", maxBackupCount)
	}
	if err := keys.RemoveBackupSlots(ctx, tx, b.User, b.Version, stale); err != nil {
		return BackupState{}, err
	}
	for _, session := range better {
		keys.AddBackupSession(tx, b.User, b.Version, session)
	}
	b.ETag++
	return stateOf(b), keys.SetBackup(ctx, tx, b)
}

// betterCopy reports whether a copy of a session is worth more than the one
// that is stored: verified, then known from earlier on, then passed on by
// fewer.
//
// https://spec.matrix.org/v1.19/client-server-api/#recovering-keys
func betterCopy(a, b keys.BackupSession) bool {
	if a.Verified != b.Verified {
		return a.Verified
	}
	if a.FirstIndex != b.FirstIndex {
		return a.FirstIndex < b.FirstIndex
	}
	return a.Forwarded < b.Forwarded
}

// BackedUp returns sessions of a backup as the answer that clients get: of all
// rooms, of one, or one session, which is M_NOT_FOUND where there is none. ""
// is any.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeys
func (s *Server) BackedUp(ctx context.Context, user matrix.UserID, version string, room matrix.RoomID, session string) (out []byte, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		b, err := openBackup(ctx, r, user, version)
		if err != nil {
			return err
		}
		a := answer{form: formOf(room, session)}
		err = keys.EachBackupSession(ctx, r, user, b.Version, room, session, a.add)
		out = a.end()
		return err
	})
	if err == nil && out == nil {
		err = matrix.NotFound("the backup has no such session")
	}
	return out, err
}

// form is what of a backup an answer holds.
type form uint8

const (
	allRooms form = iota
	oneRoom
	oneSession
)

func formOf(room matrix.RoomID, session string) form {
	switch {
	case session != "":
		return oneSession
	case room != "":
		return oneRoom
	}
	return allRooms
}

// answer writes sessions, which come room by room, as JSON.
type answer struct {
	form form
	out  []byte
	room matrix.RoomID
	some bool // the room has a session
}

func (a *answer) add(s keys.BackupSession) {
	if a.form == oneSession {
		a.out = []byte(s.JSON)
		return
	}
	if a.form == allRooms && a.room != s.Room {
		if a.room != "" {
			a.out = append(a.out, `}},`...)
		}
		a.out = append(canonicaljson.AppendString(a.out, string(s.Room)), `:{"sessions":{`...)
		a.room, a.some = s.Room, false
	}
	if a.some {
		a.out = append(a.out, ',')
	}
	a.some = true
	a.out = append(append(canonicaljson.AppendString(a.out, s.Session), ':'), s.JSON...)
}

func (a *answer) end() []byte {
	switch a.form {
	case oneSession:
		return a.out
	case oneRoom:
		return append(append([]byte(`{"sessions":{`), a.out...), `}}`...)
	}
	if a.room != "" {
		a.out = append(a.out, `}}`...)
	}
	return append(append([]byte(`{"rooms":{`), a.out...), `}}`...)
}

// RemoveBackedUp removes sessions of a backup, named as in [Server.BackedUp].
// What is not there is no error.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeys
func (s *Server) RemoveBackedUp(ctx context.Context, user matrix.UserID, version string, room matrix.RoomID, session string) (state BackupState, err error) {
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		b, err := openBackup(ctx, &tx.Reader, user, version)
		if err != nil {
			return err
		}
		n, err := keys.DeleteBackupSessions(ctx, tx, user, b.Version, room, session)
		if err != nil {
			return err
		}
		if n > 0 {
			b.Count -= n
			b.ETag++
			err = keys.SetBackup(ctx, tx, b)
		}
		state = stateOf(b)
		return err
	})
	return state, err
}
