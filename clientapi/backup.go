package clientapi

import (
	"context"
	"net/http"

	"beffroi/e2ee"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3room_keysversion
func (s *Server) createBackup(ctx context.Context, who *caller, _ *http.Request, info e2ee.BackupInfo) (map[string]string, error) {
	version, err := s.Keys.CreateBackup(ctx, who.User, info)
	return map[string]string{"version": version}, err
}

// backup answers for the version of the path, or for the current one.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversion
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversionversion
func (s *Server) backup(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (e2ee.BackupVersion, error) {
	return s.Keys.Backup(ctx, who.User, r.PathValue("version"))
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keysversionversion
func (s *Server) setBackup(ctx context.Context, who *caller, r *http.Request, info e2ee.BackupInfo) (httpx.None, error) {
	return httpx.None{}, s.Keys.SetBackupAuth(ctx, who.User, r.PathValue("version"), info)
}

// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keysversionversion
func (s *Server) deleteBackup(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.None, error) {
	return httpx.None{}, s.Keys.DeleteBackup(ctx, who.User, r.PathValue("version"))
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys
func (s *Server) backUp(ctx context.Context, who *caller, r *http.Request, in struct {
	Rooms e2ee.BackupUpload `json:"rooms"`
}) (e2ee.BackupState, error) {
	if in.Rooms == nil {
		return e2ee.BackupState{}, matrix.BadJSON("rooms is missing")
	}
	return s.backUpAll(ctx, who, r, in.Rooms)
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomid
func (s *Server) backUpRoom(ctx context.Context, who *caller, r *http.Request, in e2ee.RoomBackup) (e2ee.BackupState, error) {
	return s.backUpAll(ctx, who, r, e2ee.BackupUpload{matrix.RoomID(r.PathValue("roomID")): in})
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomidsessionid
func (s *Server) backUpSession(ctx context.Context, who *caller, r *http.Request, in e2ee.BackupSession) (e2ee.BackupState, error) {
	return s.backUpRoom(ctx, who, r, e2ee.RoomBackup{Sessions: map[string]e2ee.BackupSession{r.PathValue("sessionID"): in}})
}

func (s *Server) backUpAll(ctx context.Context, who *caller, r *http.Request, up e2ee.BackupUpload) (e2ee.BackupState, error) {
	version, err := httpx.QueryRequired(r, "version")
	if err != nil {
		return e2ee.BackupState{}, err
	}
	return s.Keys.BackUp(ctx, who.User, version, up)
}

// backedUp answers with all sessions, or those of the room, or the session of
// the path.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeys
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomid
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomidsessionid
func (s *Server) backedUp(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	version, err := httpx.QueryRequired(r, "version")
	if err != nil {
		return nil, err
	}
	out, err := s.Keys.BackedUp(ctx, who.User, version, matrix.RoomID(r.PathValue("roomID")), r.PathValue("sessionID"))
	return httpx.Raw(out), err
}

// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeys
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeysroomid
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeysroomidsessionid
func (s *Server) removeBackedUp(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (e2ee.BackupState, error) {
	version, err := httpx.QueryRequired(r, "version")
	if err != nil {
		return e2ee.BackupState{}, err
	}
	return s.Keys.RemoveBackedUp(ctx, who.User, version, matrix.RoomID(r.PathValue("roomID")), r.PathValue("sessionID"))
}
