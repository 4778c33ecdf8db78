package sendqueue_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"beffroi/federation/sendqueue"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

func TestRoomLogHasWhatOurUsersSaid(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		rules, err := matrix.RoomVersion("11").Rules()
		if err != nil {
			t.Fatal(err)
		}
		say := func(sender matrix.UserID, typ string, stateKey *string) *event.Event {
			key, err := signing.NewKey(sender.Server(), "1")
			if err != nil {
				t.Fatal(err)
			}
			p := event.Proto{
				RoomID: "!r:self.example", Sender: sender, Type: typ, StateKey: stateKey,
				Content: json.RawMessage(`{"membership":"leave"}`), PrevEvents: []matrix.EventID{"$x"}, AuthEvents: []matrix.EventID{"$y"}, Depth: 2,
			}
			e, err := p.Build(rules, key)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		kicked := "@c:gone.example"
		events := []*event.Event{
			say("@a:self.example", "m.room.message", nil),
			say("@b:peer.example", "m.room.message", nil),
			say("@a:self.example", "m.room.member", &kicked),
		}
		var nids []int64
		head, err := db.Append(t.Context(), func(_ context.Context, tx *storage.Tx) error {
			nids = nil
			room := rooms.Insert(tx, "!r:self.example", "11")
			for _, user := range []matrix.UserID{"@a:self.example", "@b:peer.example", "@d:other.example"} {
				rooms.AddMember(tx, rooms.Member{RoomNID: room, User: user, Membership: "join", EventNID: 1, Pos: tx.Next()})
			}
			for _, e := range events {
				pos := tx.Next()
				rooms.InsertEvent(tx, &rooms.Event{Event: e, NID: int64(pos), RoomNID: room, Pos: pos, Status: rooms.Accepted,
					Outgoing: e.Sender().Server() == "self.example"})
				nids = append(nids, int64(pos))
			}
			tx.Next() // something that is no event
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		log := sendqueue.RoomLog(db, "self.example")
		got, err := log.OutgoingEvents(t.Context(), 0, 100)
		if err != nil || len(got.Events) != 2 || got.UpTo != head || got.More {
			t.Fatalf("%+v, %v; the head is %d", got, err, head)
		}
		wants := [][]matrix.ServerName{{"other.example", "peer.example"}, {"gone.example", "other.example", "peer.example"}}
		for i, want := range wants {
			if !slices.Equal(got.Events[i].Destinations, want) || got.Events[i].EventNID != nids[2*i] {
				t.Errorf("event %d is %+v, want it for %v", i, got.Events[i], want)
			}
		}
		first, err := log.OutgoingEvents(t.Context(), 0, 1)
		if err != nil || !first.More || first.UpTo >= head {
			t.Errorf("a first page is %+v, %v", first, err)
		}
		pdus, err := log.PDUs(t.Context(), append(nids, 1<<40))
		if err != nil || len(pdus) != 3 || string(pdus[nids[0]]) != string(events[0].JSON()) {
			t.Errorf("PDUs are %v, %v", pdus, err)
		}
	})
}
