package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// ThreadSubscription says whether a user follows a thread.
type ThreadSubscription struct {
	Room       matrix.RoomID
	Root       matrix.EventID
	Subscribed bool
	Automatic  bool             // a client did it because of an event
	Pos        storage.Position // of the last change
}

const subscriptionColumns = `room_id, root_id, subscribed, automatic, pos`

func scanSubscription(scan func(...any) error) (s ThreadSubscription, err error) {
	err = scan(&s.Room, &s.Root, &s.Subscribed, &s.Automatic, &s.Pos)
	return s, err
}

// ThreadSubscriptionOf returns whether a user follows a thread; ok is false
// where they never did.
func ThreadSubscriptionOf(ctx context.Context, r *storage.Reader, user matrix.UserID, room matrix.RoomID,
	root matrix.EventID) (s ThreadSubscription, ok bool, err error) {
	const q = `SELECT ` + subscriptionColumns + ` FROM thread_subscriptions WHERE user_id = $1 AND room_id = $2 AND root_id = $3`
	s, err = scanSubscription(r.QueryRow(ctx, q, string(user), string(room), string(root)).Scan)
	if storage.NoRows(err) {
		return ThreadSubscription{}, false, nil
	}
	return s, err == nil, err
}

// SetThreadSubscription stores whether a user follows a thread. It takes a
// position.
func SetThreadSubscription(ctx context.Context, tx *storage.Tx, user matrix.UserID, s ThreadSubscription) error {
	const q = `INSERT INTO thread_subscriptions (user_id, room_id, root_id, subscribed, automatic, pos)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id, room_id, root_id) DO UPDATE
		SET subscribed = excluded.subscribed, automatic = excluded.automatic, pos = excluded.pos`
	_, err := tx.Exec(ctx, q, string(user), string(s.Room), string(s.Root), flag(s.Subscribed), flag(s.Automatic), int64(tx.Next()))
	if err != nil {
		return fmt.Errorf("set thread subscription: %w", err)
	}
	return nil
}

// ThreadSubscriptions returns what a user follows, or no longer does, that
// changed with after < pos < before, the latest first.
func ThreadSubscriptions(ctx context.Context, r *storage.Reader, user matrix.UserID, after, before storage.Position,
	limit int) (found []ThreadSubscription, err error) {
	const q = `SELECT ` + subscriptionColumns + ` FROM thread_subscriptions
		WHERE user_id = $1 AND pos > $2 AND pos < $3 ORDER BY pos DESC LIMIT $4`
	err = r.Each(ctx, q, []any{string(user), int64(after), int64(before), limit}, func(rows *sql.Rows) error {
		s, err := scanSubscription(rows.Scan)
		found = append(found, s)
		return err
	})
	return found, err
}

// UsersWithSubscriptions returns the users whose thread subscriptions changed
// after a position and not after upto, for waking those who wait.
func UsersWithSubscriptions(ctx context.Context, r *storage.Reader, after, upto storage.Position) ([]matrix.UserID, error) {
	const q = `SELECT DISTINCT user_id FROM thread_subscriptions WHERE pos > $1 AND pos <= $2`
	return storage.Column[matrix.UserID](ctx, r, q, int64(after), int64(upto))
}
