package roomserver_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// TestSnapshotsAreSharedAndCollected lets two servers write apart from each
// other. What comes of the other branch shares its snapshots, and they go with
// the events that need them, no earlier.
func TestSnapshotsAreSharedAndCollected(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			net := newNetwork()
			one, two := net.start(t, engine, "one.example"), net.start(t, engine, "two.example")
			now := time.Now()
			one.now = func() time.Time { return now }
			room := createRoom(t, one, alice, "", "public_chat")
			must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
			own := say(t, one, alice, room, "a branch of our own")
			topic(t, one, alice, room, "ours")
			var theirs []matrix.EventID
			for i := range 20 {
				theirs = append(theirs, say(t, two, carol, room, fmt.Sprint(i)))
			}
			for _, id := range theirs {
				forward(t, two, one, room, id)
			}
			before := make(map[matrix.EventID]rooms.State)
			for _, id := range append(theirs, own) {
				before[id] = stateBefore(t, one, id)
			}
			if n := count(t, one.db, `SELECT COUNT(*) FROM state_snapshots`); n == 0 || n > 2 {
				t.Errorf("%d snapshots for 20 messages of one branch", n)
			}
			unchanged := func() {
				t.Helper()
				for id, want := range before {
					if got := stateBefore(t, one, id); fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("the state before %s is another", id)
					}
				}
				verify(t, one)
			}
			unchanged()
			now = now.Add(2 * time.Hour)
			must(t, one.Work(t.Context()))
			unchanged()

			job1, err := one.PurgeHistory(t.Context(), roomserver.PurgeRequest{Room: room, Event: theirs[18]})
			must(t, err)
			job(t, one, job1)
			for _, id := range append(theirs[:19:19], own) {
				delete(before, id)
			}
			now = now.Add(2 * time.Hour)
			must(t, one.Work(t.Context()))
			unchanged()
			if n := count(t, one.db, `SELECT COUNT(*) FROM state_snapshots`); n != 1 {
				t.Errorf("%d snapshots for one message", n)
			}
			say(t, one, alice, room, "merged")
			job2, err := one.PurgeHistory(t.Context(), roomserver.PurgeRequest{Room: room, Event: theirs[19]})
			must(t, err)
			job(t, one, job2)
			now = now.Add(2 * time.Hour)
			must(t, one.Work(t.Context()))
			if n := count(t, one.db, `SELECT COUNT(*) FROM state_snapshots`); n != 0 {
				t.Errorf("%d snapshots for none", n)
			}
			verify(t, one)
		})
	}
}

// TestVerifyNotices breaks what the new checks look at.
func TestVerifyNotices(t *testing.T) {
	t.Parallel()
	for what, query := range map[string]string{
		"a lost event of the past":   `DELETE FROM events WHERE type = 'm.room.topic' AND event_nid IN (SELECT old_nid FROM state_delta)`,
		"a count of purged events":   `UPDATE rooms SET purged = 1`,
		"a count of changes":         `UPDATE rooms SET deltas = deltas + 1`,
		"a checkpoint that lies":     `UPDATE state_checkpoints SET entries = '-'`,
		"a change that was lost":     `DELETE FROM state_delta WHERE type = 'm.room.topic' AND pos = (SELECT MIN(d.pos) + 150 FROM state_delta d WHERE d.type = 'm.room.topic')`,
		"a snapshot that is gone":    `UPDATE events SET snapshot_nid = 77 WHERE type = 'm.room.topic'`,
		"a snapshot of other events": `INSERT INTO state_snapshots (snapshot_nid, room_nid, base_pos, entries, hash) SELECT 5, room_nid, 0, '-AWEAY7/', 'x' FROM rooms`,
		"tips that are gone":         `UPDATE rooms SET tips = '["$gone"]'`,
		"an event of the future":     `UPDATE events SET pos = 10000000 WHERE type = 'm.room.create'`,
		"two events at one place":    `UPDATE events SET pos = (SELECT head_pos FROM rooms) WHERE type = 'm.room.create'`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			db := testkit.OpenDB(t, "sqlite")
			one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
			room := createRoom(t, one, alice, "", "private_chat")
			for i := range 300 {
				topic(t, one, alice, room, fmt.Sprint(i))
			}
			must(t, one.Work(t.Context()))
			verify(t, one)
			_, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
				_, err := tx.Exec(ctx, query)
				return err
			})
			must(t, err)
			findings, err := storage.Verify(t.Context(), db)
			if err != nil || len(findings) == 0 {
				t.Errorf("%d findings, %v", len(findings), err)
			}
		})
	}
}
