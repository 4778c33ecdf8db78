package peers_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/peers"
)

func TestTheNewestOfEachRoomIsKept(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		write(t, db, func(ctx context.Context, tx *storage.Tx) error {
			const q = `
				INSERT INTO events (event_nid, event_id, room_nid, pos, status, type, sender, depth, origin_server_ts, outgoing, reason, json)
				VALUES ($1, $2, $3, $4, 1, 'm', '@a:x', 1, 1, 1, '', '{}')`
			for nid := int64(1); nid <= 9; nid++ {
				if _, err := tx.Exec(ctx, q, nid, fmt.Sprintf("$%d", nid), nid%3, nid); err != nil {
					return err
				}
				peers.AddPDU(tx, []matrix.ServerName{a, b}, storage.Position(nid), nid)
			}
			return nil
		})
		var dropped int64
		write(t, db, func(ctx context.Context, tx *storage.Tx) (err error) {
			dropped, err = peers.KeepNewest(ctx, tx, a, 2)
			return err
		})
		for name, want := range map[matrix.ServerName][]int64{a: {1, 2, 7, 8, 9}, b: {1, 2, 3, 4, 5, 6, 7, 8, 9}} {
			var nids []int64
			read(t, db, func(ctx context.Context, r *storage.Reader) error {
				rows, err := peers.QueuedPDUs(ctx, r, name, 0, 0, 100)
				for _, row := range rows {
					nids = append(nids, row.EventNID)
				}
				return err
			})
			if !slices.Equal(nids, want) {
				t.Errorf("%s gets %v, want %v", name, nids, want)
			}
		}
		if dropped != 4 {
			t.Errorf("%d are dropped, want 4", dropped)
		}
		read(t, db, func(ctx context.Context, r *storage.Reader) error {
			n, err := peers.WaitingPDUs(ctx, r, b, 7)
			if n != 7 {
				t.Errorf("%d wait, want 7 of 9", n)
			}
			return err
		})
	})
}
