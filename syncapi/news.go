package syncapi

import (
	"context"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/rooms"
	"beffroi/storage/users"
)

// maxNewKeys bounds how many changes of device lists are told one by one.
// Beyond it everybody looks.
const maxNewKeys = 10_000

// news is what happened between two positions of the log: for whom, not what.
type news struct {
	from, to storage.Position

	rooms    map[int64]storage.Position // with new events
	members  []rooms.Standing           // of local users, as they are now
	receipts []rooms.ReceiptMark
	data     []matrix.UserID // account data
	threads  []matrix.UserID // which threads they follow
	messages []keys.DeviceAt
	counts   []keys.DeviceAt
	lists    []keys.Change
	listed   map[matrix.UserID][]int64 // where the accounts of lists are
	allLists bool                      // there are too many to tell whom they concern
}

// readNews asks each family of tables once.
func readNews(ctx context.Context, r *storage.Reader, self matrix.ServerName, from, to storage.Position) (*news, error) {
	n := &news{from: from, to: to}
	for _, read := range []func() error{
		func() (err error) { n.rooms, err = rooms.ChangedRooms(ctx, r, from, to); return err },
		func() (err error) { n.members, err = rooms.StandingsChanged(ctx, r, self, from, to); return err },
		func() (err error) { n.receipts, err = rooms.ReceiptMarks(ctx, r, from, to); return err },
		func() (err error) { n.data, err = users.UsersWithAccountData(ctx, r, from, to); return err },
		func() (err error) { n.threads, err = rooms.UsersWithSubscriptions(ctx, r, from, to); return err },
		func() (err error) { n.messages, err = keys.MessagesFor(ctx, r, from, to); return err },
		func() (err error) { n.counts, err = keys.CountChanges(ctx, r, from, to); return err },
		func() error { return n.readLists(ctx, r) },
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *news) readLists(ctx context.Context, r *storage.Reader) (err error) {
	if n.lists, err = keys.Changes(ctx, r, n.from, n.to, maxNewKeys); err != nil {
		return err
	}
	if n.allLists = len(n.lists) == maxNewKeys; n.allLists {
		n.lists = nil
		return nil
	}
	changed := make([]matrix.UserID, 0, len(n.lists))
	for _, c := range n.lists {
		if c.OnlyFor == "" {
			changed = append(changed, c.User)
		}
	}
	n.listed, err = rooms.JoinedRoomsOf(ctx, r, changed)
	return err
}
