package rooms

import (
	"context"
	"net/http"

	"beffroi/matrix"
	"beffroi/storage"
)

// Alias is a name of a room on this server.
type Alias struct {
	Alias   matrix.RoomAlias
	RoomID  matrix.RoomID
	Creator matrix.UserID
}

// ByAlias returns the room that an alias of this server names, or M_NOT_FOUND.
func ByAlias(ctx context.Context, r *storage.Reader, alias matrix.RoomAlias) (a Alias, err error) {
	const q = `SELECT alias, room_id, creator FROM aliases WHERE alias = $1`
	err = r.QueryRow(ctx, q, string(alias)).Scan(&a.Alias, &a.RoomID, &a.Creator)
	if storage.NoRows(err) {
		return a, matrix.NotFound("no room has the alias %s", alias)
	}
	return a, err
}

// AliasesOf returns the aliases of this server for a room.
func AliasesOf(ctx context.Context, r *storage.Reader, room matrix.RoomID) ([]matrix.RoomAlias, error) {
	const q = `SELECT alias FROM aliases WHERE room_id = $1 ORDER BY alias`
	return storage.Column[matrix.RoomAlias](ctx, r, q, string(room))
}

// AddAlias gives a room a name. A name that is taken is a 409 M_UNKNOWN.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias
func AddAlias(ctx context.Context, tx *storage.Tx, a Alias, now int64) error {
	const q = `INSERT INTO aliases (alias, room_id, creator, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
	n, err := tx.Exec(ctx, q, string(a.Alias), string(a.RoomID), string(a.Creator), now)
	if err == nil && n == 0 {
		return matrix.NewError(http.StatusConflict, "M_UNKNOWN", "the alias %s is taken", a.Alias)
	}
	return err
}

// RemoveAlias takes a name away.
func RemoveAlias(ctx context.Context, tx *storage.Tx, alias matrix.RoomAlias) error {
	_, err := tx.Exec(ctx, `DELETE FROM aliases WHERE alias = $1`, string(alias))
	return err
}

// MoveAliases makes the aliases of this server for a room lead to another.
func MoveAliases(ctx context.Context, tx *storage.Tx, from, to matrix.RoomID) error {
	_, err := tx.Exec(ctx, `UPDATE aliases SET room_id = $1 WHERE room_id = $2`, string(to), string(from))
	return err
}
