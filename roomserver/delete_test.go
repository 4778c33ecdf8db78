package roomserver_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const dave matrix.UserID = "@dave:one.example"

// roomTables are where rooms leave rows.
var roomTables = []string{"events", "current_state", "state_delta", "state_checkpoints", "state_snapshots", "backward_edges",
	"receipts", "pending_redactions", "relations"}

// TestDeletedRoomIsHiddenAtOnce asks every read before one row was removed.
func TestDeletedRoomIsHiddenAtOnce(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		net := newNetwork()
		one := net.startWith(t, db, "one.example", openGate(t, db, "one.example"))
		two := net.start(t, "sqlite", "two.example")
		room, err := one.CreateRoom(t.Context(), roomserver.CreateRequest{AliasName: "town", CreateRequest: policy.CreateRequest{
			Creator: alice, Preset: "public_chat", Visibility: "public"}})
		must(t, err)
		for _, user := range []matrix.UserID{bob, dave} {
			must(t, one.Join(t.Context(), roomserver.JoinRequest{User: user, Room: room}))
		}
		must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
		id := say(t, one, alice, room, "secret")
		must(t, one.Leave(t.Context(), roomserver.MembershipRequest{Sender: dave, Target: dave, Room: room}))
		setVisibility(t, one, room, "world_readable")

		job, err := one.DeleteRoom(t.Context(), room)
		must(t, err)
		ctx := t.Context()
		for _, user := range []matrix.UserID{alice, bob, dave, "@stranger:one.example"} {
			for name, read := range map[string]func() error{
				"state": func() error { _, err := one.State(ctx, user, room); return err },
				"event": func() error { _, err := one.Event(ctx, user, "D", room, id); return err },
				"members": func() error {
					_, err := one.Members(ctx, roomserver.MembersRequest{User: user, Room: room})
					return err
				},
				"messages": func() error {
					_, err := one.Messages(ctx, roomserver.MessagesRequest{User: user, Room: room})
					return err
				},
				"context": func() error {
					_, err := one.Context(ctx, roomserver.ContextRequest{User: user, Room: room, Event: id})
					return err
				},
				"send": func() error {
					_, err := one.Send(ctx, roomserver.SendRequest{Sender: user, Room: room, Type: "m.x", Content: []byte(`{}`)})
					return err
				},
				"receipt": func() error {
					return one.SetReceipt(ctx, roomserver.ReceiptRequest{User: user, Room: room, Type: "m.read", Event: id})
				},
			} {
				if err := read(); !matrix.IsCode(err, "M_NOT_FOUND") && !matrix.IsCode(err, "M_FORBIDDEN") {
					t.Errorf("%s: %s: %v", name, user, err)
				}
			}
			if joined, err := one.JoinedRooms(ctx, user); err != nil || len(joined) > 0 {
				t.Errorf("%s is in %v, %v", user, joined, err)
			}
		}
		for name, ask := range map[string]func() error{
			"state": func() error { _, err := one.StateAt(ctx, "two.example", room, id); return err },
			"event": func() error { _, err := one.EventFor(ctx, "two.example", id); return err },
			"backfill": func() error {
				_, err := one.BackfillFor(ctx, "two.example", room, []matrix.EventID{id}, 10)
				return err
			},
			"pdu": func() error { return one.ReceivePDU(ctx, "two.example", room, stored(t, one, id).JSON()) },
			"make_join": func() error {
				_, _, err := one.MakeMembership(ctx, "two.example", room, "@eve:two.example", "join", nil)
				return err
			},
			"join": func() error {
				return one.Join(ctx, roomserver.JoinRequest{User: alice, Room: room, Via: []matrix.ServerName{"two.example"}})
			},
		} {
			if err := ask(); err == nil {
				t.Errorf("%s is answered", name)
			}
		}
		if n := count(t, db, `SELECT COUNT(*) FROM events WHERE event_id = $1`, string(id)); n != 1 {
			t.Error("the test was too late: the rows are gone")
		}
		if n := count(t, db, `SELECT COUNT(*) FROM aliases`); n != 0 {
			t.Error("the alias is there")
		}
		verify(t, one)
		finish(t, one, job)
		must(t, one.Join(ctx, roomserver.JoinRequest{User: alice, Room: room, Via: []matrix.ServerName{"two.example"}}))
		say(t, one, alice, room, "entered anew")
		verify(t, one)
	})
}

// finish does a job to remove the only room, and looks for what is left.
func finish(t *testing.T, nd *node, id int64) {
	t.Helper()
	if j := job(t, nd, id); j.Error != "" {
		t.Error(j.Error)
	}
	for _, table := range roomTables {
		if n := count(t, nd.db, `SELECT COUNT(*) FROM `+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	if n := count(t, nd.db, `SELECT COUNT(*) FROM memberships WHERE server <> $1`, string(nd.Name())); n != 0 {
		t.Errorf("%d strangers are left", n)
	}
	verify(t, nd)
}

// TestDeleteUnderLoad removes a room that many write to, in steps, by a server
// that is stopped in between.
func TestDeleteUnderLoad(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat")
		var group sync.WaitGroup
		halfway := make(chan struct{})
		for w := range 8 {
			group.Go(func() {
				for n := range 150 {
					req := roomserver.SendRequest{Sender: alice, Room: room, Type: "m.x", Device: "D",
						TxnID: fmt.Sprint(w, n), Content: []byte(`{}`)}
					if n%3 == 0 {
						req.Type, req.StateKey, req.Content = "m.room.topic", new(string), []byte(fmt.Sprintf(`{"topic":"%d %d"}`, w, n))
						req.TxnID = ""
					}
					if _, err := one.Send(context.Background(), req); err != nil {
						if _, told := errors.AsType[*matrix.Error](err); !told {
							t.Error(err)
						}
						return
					}
					if w == 0 && n == 100 {
						close(halfway)
					}
				}
			})
		}
		<-halfway
		id, err := one.DeleteRoom(t.Context(), room)
		must(t, err)
		group.Wait()
		ctx, stop := context.WithCancel(t.Context())
		db.OnCommit(func(storage.Position) { stop() }) // after the first step
		_ = one.Work(ctx)
		stop()
		j, err := one.Job(t.Context(), id)
		must(t, err)
		if j.FinishedAt != 0 || j.Removed == 0 {
			t.Errorf("it was not stopped halfway: %+v", j)
		}
		one.restart()
		finish(t, one, id)
	})
}

// TestJobsOfCommands: a job that a command queued in the database, beside the
// server, is done like any other; one for a room that is not there ends.
func TestJobsOfCommands(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat")
		var ids [4]int64
		_, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) (err error) {
			for i, j := range []rooms.Job{
				{Kind: rooms.JobDelete, Room: room}, {Kind: rooms.JobDelete, Room: "!no:one.example"},
				{Kind: rooms.JobPurge, Room: "!no:one.example"}, {Kind: "dance", Room: room},
			} {
				if ids[i], err = rooms.AddJob(ctx, tx, j); err != nil {
					return err
				}
			}
			return nil
		})
		must(t, err)
		finish(t, one, ids[0])
		for _, id := range ids[1:] {
			if j := job(t, one, id); j.Error == "" {
				t.Errorf("%s of %s is done", j.Kind, j.Room)
			}
		}
		if _, err := one.State(t.Context(), alice, room); err == nil {
			t.Error("the room is there")
		}
		if _, err := one.DeleteRoom(t.Context(), "!no:one.example"); !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Error(err)
		}
	})
}
