package roomserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	alice matrix.UserID = "@alice:one.example"
	bob   matrix.UserID = "@bob:one.example"
	carol matrix.UserID = "@carol:two.example"
)

// eachVersion runs fn for the room versions that differ most, on each engine.
func eachVersion(t *testing.T, fn func(t *testing.T, engine string, version matrix.RoomVersion)) {
	t.Helper()
	for _, engine := range testkit.Engines() {
		for _, version := range []matrix.RoomVersion{"10", "11", "12"} {
			t.Run(engine+"/"+string(version), func(t *testing.T) {
				t.Parallel()
				fn(t, engine, version)
			})
		}
	}
}

func TestLocalRoomLife(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		one := newNetwork().start(t, engine, "one.example")
		room := createRoom(t, one, alice, version, "private_chat")
		if err := one.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: room}); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("join without an invitation: %v", err)
		}
		must(t, one.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}))
		must(t, one.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: room}))
		say(t, one, bob, room, "hello")
		_, err := one.Send(t.Context(), roomserver.SendRequest{Sender: bob, Room: room, Type: "m.room.name",
			StateKey: new(string), Content: json.RawMessage(`{"name":"x"}`)})
		if !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("a member without power named the room: %v", err)
		}
		must(t, one.Kick(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}))
		if _, err := one.Send(t.Context(), roomserver.SendRequest{Sender: bob, Room: room, Type: "m.room.message",
			Content: json.RawMessage(`{}`)}); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("a kicked member spoke: %v", err)
		}
		must(t, one.Ban(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}))
		if err := one.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}); err == nil {
			t.Error("a banned user was invited")
		}
		must(t, one.Unban(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}))
		verify(t, one)
	})
}

func TestARepeatedTransactionSendsOnce(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat")
		req := roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message", Content: json.RawMessage(`{"body":"x"}`),
			Device: "D", TxnID: "t1"}
		first, err := one.Send(t.Context(), req)
		must(t, err)
		again, err := one.Send(t.Context(), req)
		if err != nil || again != first {
			t.Errorf("repeated: %s, %v; want %s", again, err, first)
		}
	})
}

func TestManyWritersInOneRoomNeverFork(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat")
		const writers, each = 16, 20
		var group sync.WaitGroup
		for w := range writers {
			group.Go(func() {
				for n := range each {
					req := roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message",
						Content: json.RawMessage(fmt.Sprintf(`{"body":"%d %d"}`, w, n))}
					if n%5 == 0 {
						req.Type, req.StateKey = "m.room.topic", new(string)
					}
					if _, err := one.Send(context.Background(), req); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		checkLine(t, one, room, writers*each)
		verify(t, one)
	})
}

func TestTwoServersShareARoom(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		net := newNetwork()
		one, two := net.start(t, engine, "one.example"), net.start(t, engine, "two.example")
		room := createRoom(t, one, alice, version, "private_chat", carol)
		must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room}))
		mine := say(t, two, carol, room, "from two")
		forward(t, two, one, room, mine)
		yours := say(t, one, alice, room, "from one")
		forward(t, one, two, room, yours)
		same(t, one, two, room)
		must(t, two.Leave(t.Context(), roomserver.MembershipRequest{Sender: carol, Room: room}))
	})
}

func TestForksAreResolvedAlike(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		net := newNetwork()
		one, two := net.start(t, engine, "one.example"), net.start(t, engine, "two.example")
		room := createRoom(t, one, alice, version, "public_chat")
		must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
		// Both sides speak and change the room without hearing of each other.
		a := []matrix.EventID{say(t, one, alice, room, "a1"), topic(t, one, alice, room, "one"), say(t, one, alice, room, "a2")}
		b := []matrix.EventID{say(t, two, carol, room, "b1"), say(t, two, carol, room, "b2")}
		must(t, one.Ban(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: "@mallory:two.example", Room: room}))
		for _, id := range b {
			forward(t, two, one, room, id)
		}
		for _, id := range a {
			forward(t, one, two, room, id)
		}
		forward(t, one, two, room, state(t, one, room)["m.room.member|@mallory:two.example"])
		same(t, one, two, room)
		merge := say(t, one, alice, room, "merged")
		forward(t, one, two, room, merge)
		same(t, one, two, room)
		if got := tips(t, one, room); len(got) != 1 {
			t.Errorf("tips after a merge: %v", got)
		}
		verify(t, one)
		verify(t, two)
	})
}

func TestAGapIsFilled(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		for name, missed := range map[string]int{"by missing events": 5, "by the state": 30} {
			t.Run(name, func(t *testing.T) {
				net := newNetwork()
				one, two := net.start(t, engine, "one.example"), net.start(t, engine, "two.example")
				room := createRoom(t, one, alice, version, "public_chat")
				must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
				for n := range missed {
					topic(t, one, alice, room, fmt.Sprint(n))
				}
				last := say(t, one, alice, room, "after the gap")
				forward(t, one, two, room, last)
				same(t, one, two, room)
				verify(t, two)
			})
		}
	})
}

func TestARedactionRemovesTheContent(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		one := newNetwork().start(t, engine, "one.example")
		room := createRoom(t, one, alice, version, "private_chat")
		secret := say(t, one, alice, room, "secret")
		redaction, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.redaction",
			Redacts: secret, Content: json.RawMessage(`{}`)})
		must(t, err)
		e := stored(t, one, secret)
		if string(e.Content()) != "{}" || e.RedactedBy != redaction {
			t.Errorf("content %s, redacted by %q", e.Content(), e.RedactedBy)
		}
	})
}

func TestAUserRedactsOthersByPowerAlone(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		one := newNetwork().start(t, engine, "one.example")
		room := createRoom(t, one, alice, version, "public_chat")
		must(t, one.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: room}))
		redact := func(who matrix.UserID, target matrix.EventID) error {
			_, err := one.Send(t.Context(), roomserver.SendRequest{Sender: who, Room: room, Type: "m.room.redaction",
				Redacts: target, Content: json.RawMessage(`{}`)})
			return err
		}
		hers, his := say(t, one, alice, room, "hers"), say(t, one, bob, room, "his")
		if err := redact(bob, hers); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("a member without power redacts another: %v", err)
		}
		if err := redact(bob, "$unknown"); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("a member without power redacts what may come: %v", err)
		}
		if e := stored(t, one, hers); e.RedactedBy != "" {
			t.Errorf("redacted by %s", e.RedactedBy)
		}
		must(t, redact(bob, say(t, one, bob, room, "his own")))
		must(t, redact(alice, his))
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openGate(t *testing.T, db *storage.DB, name matrix.ServerName) roomserver.Gate {
	t.Helper()
	gate, err := policystore.Open(t.Context(), policystore.Options{DB: db, Self: name, Development: true})
	must(t, err)
	return gate
}

func topic(t *testing.T, nd *node, user matrix.UserID, room matrix.RoomID, text string) matrix.EventID {
	t.Helper()
	content, _ := json.Marshal(map[string]string{"topic": text})
	id, err := nd.Send(t.Context(), roomserver.SendRequest{Sender: user, Room: room, Type: "m.room.topic", StateKey: new(string), Content: content})
	must(t, err)
	return id
}

// forward gives an event of one server to another, as a transaction would.
func forward(t *testing.T, from, to *node, room matrix.RoomID, id matrix.EventID) {
	t.Helper()
	must(t, to.ReceivePDU(t.Context(), from.Name(), room, stored(t, from, id).JSON()))
}

func stored(t *testing.T, nd *node, id matrix.EventID) *rooms.Event {
	t.Helper()
	var e *rooms.Event
	must(t, nd.db.View(t.Context(), func(r *storage.Reader) error {
		found, err := rooms.Events(t.Context(), r, []matrix.EventID{id})
		e = found[id]
		return err
	}))
	if e == nil {
		t.Fatalf("%s has no event %s", nd.Name(), id)
	}
	return e
}

func tips(t *testing.T, nd *node, room matrix.RoomID) (ids []matrix.EventID) {
	t.Helper()
	must(t, nd.db.View(t.Context(), func(r *storage.Reader) error {
		row, err := rooms.ByID(t.Context(), r, room)
		ids = row.Tips
		return err
	}))
	return ids
}

// same compares the state of a room on two servers.
func same(t *testing.T, a, b *node, room matrix.RoomID) {
	t.Helper()
	sa, sb := state(t, a, room), state(t, b, room)
	for tuple, id := range sa {
		if sb[tuple] != id {
			t.Errorf("%s %q: %s has %s (%s), %s has %s", "state", tuple, a.Name(), id, stored(t, a, id).Content(), b.Name(), sb[tuple])
		}
	}
	if len(sa) != len(sb) {
		t.Errorf("state has %d events on %s and %d on %s", len(sa), a.Name(), len(sb), b.Name())
	}
}

func state(t *testing.T, nd *node, room matrix.RoomID) map[string]matrix.EventID {
	t.Helper()
	out := make(map[string]matrix.EventID)
	must(t, nd.db.View(t.Context(), func(r *storage.Reader) error {
		row, err := rooms.ByID(t.Context(), r, room)
		if err != nil {
			return err
		}
		refs, err := rooms.CurrentState(t.Context(), r, row.NID)
		for tuple, ref := range refs {
			out[tuple.Type+"|"+tuple.StateKey] = ref.ID
		}
		return err
	}))
	return out
}

// verify fails where the database holds what must not be.
func verify(t *testing.T, nd *node) {
	t.Helper()
	findings, err := storage.Verify(t.Context(), nd.db)
	must(t, err)
	for _, f := range findings {
		t.Errorf("%s: %s", nd.Name(), f)
	}
}

func TestRoomsOfOneMomentAreTwo(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		now := time.Now()
		key, err := signing.NewKey("one.example", "a1")
		must(t, err)
		one := roomserver.New(roomserver.Options{DB: db, Key: key, Gate: openGate(t, db, "one.example"), Now: func() time.Time { return now }})
		seen := make(map[matrix.RoomID]bool)
		for range 3 {
			id, err := one.CreateRoom(t.Context(), roomserver.CreateRequest{CreateRequest: policy.CreateRequest{Creator: alice, Version: "12"}})
			must(t, err)
			seen[id] = true
		}
		if len(seen) != 3 {
			t.Errorf("%d rooms of three", len(seen))
		}
	})
}
