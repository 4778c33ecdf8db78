package rooms

import (
	"context"

	"beffroi/storage"
)

// Distance returns how many changes are undone or done again for the state of
// a room before a position.
func Distance(ctx context.Context, r *storage.Reader, roomNID int64, pos storage.Position) (int, error) {
	b, err := nearest(ctx, r, roomNID, pos)
	return b.changes, err
}
