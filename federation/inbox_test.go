package federation_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"beffroi/federation"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/peers"
	"beffroi/storage/rooms"
)

// eachEngine runs fn with a host and a scripted server that has joined a room
// of it. The inbox does not work yet.
func eachEngine(t *testing.T, fn func(t *testing.T, a *host, g *guest)) {
	t.Helper()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		n := newNetwork(t)
		a := n.startOn(t, db, one, "")
		a.user(t, alice)
		p, _ := n.scribe(t, evil)
		fn(t, a, p.join(t, a, a.room(t, alice, "12", "public_chat", shared), eve))
		a.verify(t)
	})
}

// deadLetters returns what was given up.
func (h *host) deadLetters(t *testing.T) (letters []peers.DeadLetter) {
	t.Helper()
	must(t, h.db.View(t.Context(), func(r *storage.Reader) (err error) {
		letters, err = peers.DeadLetters(t.Context(), r, 100)
		return err
	}))
	return letters
}

// accepted wants an event to be stored as accepted, or not.
func (h *host) accepted(t *testing.T, what string, id matrix.EventID, want bool) {
	t.Helper()
	must(t, h.db.View(t.Context(), func(r *storage.Reader) error {
		status, known := h.status(t, r, id)
		if got := known && status == rooms.Accepted; got != want {
			t.Errorf("%s: accepted %v (stored %v, status %v), want %v", what, got, known, status, want)
		}
		return nil
	}))
}

func TestBadEventsHurtOnlyThemselves(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, a *host, g *guest) {
		a.work(t)
		other := g.pen.join(t, a, a.room(t, alice, "12", "public_chat", shared), eve)
		build := func(change func(*event.Proto)) *event.Event {
			p := g.proto("bad")
			change(p)
			return g.build(t, p)
		}
		g.net.scribe(t, two) // which has another key under that name
		stranger, err := signing.NewKey(two, "e1")
		must(t, err)
		forged, err := (&event.Proto{RoomID: g.room, Sender: bob, Type: "m.room.message", PrevEvents: []matrix.EventID{g.tip.ID()},
			AuthEvents: g.auth, Depth: 9}).Build(g.rules, stranger)
		must(t, err)
		wrongKey, err := g.proto("bad").Build(g.rules, signing.Key{Server: evil, ID: "ed25519:e1", Private: stranger.Private})
		must(t, err)
		changed := []byte(strings.Replace(string(g.build(t, g.proto("true")).JSON()), `"body":"true"`, `"body":"lies"`, 1))

		bad := map[string]*event.Event{
			"sender of another server":        build(func(p *event.Proto) { p.Sender = bob }),
			"forged in the name of another":   forged,
			"signed with another key":         wrongKey,
			"of an unknown room":              build(func(p *event.Proto) { p.RoomID = "!unknown" }),
			"auth events of another room":     build(func(p *event.Proto) { p.AuthEvents = other.auth }),
			"by who is not in the room":       build(func(p *event.Proto) { p.Sender = "@nobody:evil.example" }),
			"names the room without power":    build(func(p *event.Proto) { p.Type, p.StateKey = "m.room.name", new(string) }),
			"of another room than its past":   build(func(p *event.Proto) { p.RoomID = other.room }),
			"follows itself through no event": build(func(p *event.Proto) { p.PrevEvents = nil }),
		}
		good := g.build(t, g.proto("good"))
		list := []json.RawMessage{json.RawMessage(`null`), json.RawMessage(`7`), json.RawMessage(`[]`), json.RawMessage(`{}`),
			json.RawMessage(`{"room_id":7}`), json.RawMessage(`{"room_id":"` + string(g.room) + `"}`),
			json.RawMessage(`{"room_id":"` + string(g.room) + `","content":{"x":"` + strings.Repeat("x", 200_000) + `"}}`), changed}
		for _, e := range bad {
			list = append(list, e.JSON())
		}
		list = append(list, good.JSON())
		if got := g.send(t, a, "t1", list, nil).wants(t, 200, ""); got.Get("pdus").Map()[string(good.ID())].Raw != `{}` {
			t.Errorf("%s", got.Raw)
		}
		a.has(t, good.ID())
		a.idle(t)
		for name, e := range bad {
			a.accepted(t, name, e.ID(), false)
		}
		if letters := a.deadLetters(t); len(letters) != 0 {
			t.Errorf("given up: %s", letters[0].Reason)
		}
	})
}

func TestATransactionIsWorkedThroughOnce(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, a *host, g *guest) {
		e := g.build(t, g.proto("once"))
		for range 3 {
			g.send(t, a, "t1", pdus(e), nil).wants(t, 200, "")
		}
		a.work(t)
		a.has(t, e.ID())
		a.idle(t)
		// The same name with something else in it is the same transaction.
		later := g.build(t, g.proto("later"))
		g.send(t, a, "t1", pdus(later), nil).wants(t, 200, "")
		g.send(t, a, "t2", nil, nil).wants(t, 200, "")
		a.idle(t)
		if a.knows(t, later.ID()) {
			t.Error("a repeated transaction was read again")
		}
	})
}

func TestARestartLosesNothing(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, a *host, g *guest) {
		var last *event.Event
		for i := range 30 {
			last = g.build(t, g.proto(fmt.Sprint("before ", i)))
			g.tip = last
			g.send(t, a, fmt.Sprint("t", i), pdus(last), nil).wants(t, 200, "")
		}
		if a.knows(t, last.ID()) {
			t.Fatal("an inbox that does not run judged an event")
		}
		// What a new process finds in the database.
		a.inbox = federation.NewInbox(federation.InboxOptions{Name: one, DB: a.db, Gate: a.gate, Rooms: a.rooms, Devices: a.devices})
		stop := a.work(t)
		a.has(t, last.ID())
		a.idle(t)
		stop()
	})
}

func TestWhatCannotBeHadIsGivenUp(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, a *host, g *guest) {
		a.work(t)
		orphan := func(name string) *event.Event { // what it follows, its server does not give us: it answers 502
			p := g.proto(name)
			p.PrevEvents = []matrix.EventID{matrix.EventID("$" + strings.Repeat(name, 43))}
			return g.build(t, p)
		}
		first, second, good := orphan("a"), orphan("b"), g.build(t, g.proto("good"))
		g.send(t, a, "t1", pdus(first, second, good), nil).wants(t, 200, "")
		a.has(t, good.ID())
		a.idle(t)
		letters := a.deadLetters(t)
		if len(letters) != 2 {
			t.Fatalf("%d events were given up", len(letters))
		}
		for i, want := range []*event.Event{second, first} {
			got := letters[i]
			if string(got.Body) != string(want.JSON()) || got.Origin != evil || got.TxnID != "t1" || got.Room != g.room || got.Reason == "" || got.At == 0 {
				t.Errorf("%+v", got)
			}
		}
	})
}

func TestAMistakeOfOursIsNotRepeated(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, a *host, g *guest) {
		e := g.build(t, g.proto("poison"))
		g.send(t, a, "t1", pdus(e), nil).wants(t, 200, "")
		tried := false
		a.inbox = federation.NewInbox(federation.InboxOptions{Name: one, DB: a.db, Gate: a.gate, Rooms: nil, // panics
			Devices: a.devices, Backoff: func(int) time.Duration { tried = true; return 0 }})
		stop := a.work(t)
		a.idle(t)
		stop()
		if letters := a.deadLetters(t); len(letters) != 1 || !strings.Contains(letters[0].Reason, "panic") || tried {
			t.Errorf("%d were given up, another try: %v", len(letters), tried)
		}
	})
}

func TestARoomThatIsBeingJoinedIsWaitedFor(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.start(t, "sqlite", one, ""), n.start(t, "sqlite", two, "")
	room := a.room(t, alice, "12", "public_chat")
	known := make(chan struct{}, 1)
	b.inbox = federation.NewInbox(federation.InboxOptions{Name: two, DB: b.db, Gate: b.gate, Rooms: b.rooms, Devices: b.devices,
		Backoff: func(tries int) time.Duration { // the pause lasts as long as the join
			if tries == 1 {
				b.join(t, bob, room, one)
				known <- struct{}{}
			}
			return time.Millisecond
		}})
	message := a.say(t, alice, room, "too early")
	var pdu json.RawMessage
	must(t, a.db.View(t.Context(), func(r *storage.Reader) error {
		found, err := rooms.Events(t.Context(), r, []matrix.EventID{message})
		pdu = found[message].JSON()
		return err
	}))
	// It is kept by the inbox that is wired, and taken up by the one above.
	(&pen{net: n, key: a.key}).send(t, b, "t1", []json.RawMessage{pdu}, nil).wants(t, 200, "")
	b.work(t)
	<-known
	b.idle(t)
	if !b.knows(t, message) {
		t.Error("the event was dropped")
	}
}

func TestTooMuchIsTurnedAway(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.start(t, "sqlite", one, "")
	p, _ := n.scribe(t, evil)
	g := p.join(t, a, a.room(t, alice, "12", "public_chat"), eve)
	e := g.build(t, g.proto("again and again"))
	for i := range 50 {
		g.send(t, a, fmt.Sprint("t", i), pdus(e), nil).wants(t, 200, "")
	}
	if got := g.send(t, a, "t50", pdus(e), nil).wants(t, 429, "M_LIMIT_EXCEEDED"); got.Get("retry_after_ms").Int() <= 0 {
		t.Errorf("%s", got.Raw)
	}
	g.send(t, a, "t49", pdus(e), nil).wants(t, 200, "") // it has arrived
	a.work(t)
	a.idle(t)
	g.send(t, a, "t50", pdus(e), nil).wants(t, 200, "")
}

func TestServersAreShutOutOfRooms(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, a *host, g *guest) {
		a.work(t)
		acl := json.RawMessage(`{"allow":["*"],"deny":["EVIL.*"],"allow_ip_literals":true}`)
		a.state(t, alice, g.room, "m.room.server_acl", acl)
		e := g.build(t, g.proto("unheard"))
		typing := json.RawMessage(fmt.Sprintf(`{"edu_type":"m.typing","content":{"room_id":"%s","user_id":"%s","typing":true}}`, g.room, eve))
		answer := g.send(t, a, "t1", pdus(e), []json.RawMessage{typing}).wants(t, 200, "")
		if told := answer.Get("pdus").Map()[string(e.ID())]; told.Get("error").String() == "" {
			t.Errorf("the server is not told that it is shut out: %s", answer.Raw)
		}
		a.idle(t)
		if users, _ := a.rooms.Typing(g.room); a.knows(t, e.ID()) || len(users) > 0 {
			t.Errorf("it was heard; %v is typing", users)
		}
		room, id := string(g.room), string(g.tip.ID())
		for _, path := range []string{"make_join/" + esc(room, string(eve)) + "?ver=12", "make_leave/" + esc(room, string(eve)),
			"make_knock/" + esc(room, string(eve)) + "?ver=12", "state/" + esc(room) + "?event_id=" + esc(id),
			"state_ids/" + esc(room) + "?event_id=" + esc(id), "backfill/" + esc(room) + "?limit=1&v=" + esc(id), "event_auth/" + esc(room, id)} {
			g.call(t, a, http.MethodGet, v1+path, nil).wants(t, 403, "M_FORBIDDEN")
		}
		for _, path := range []string{v1 + "send_join/", v2 + "send_join/", v1 + "send_leave/", v2 + "send_leave/", v1 + "send_knock/"} {
			g.call(t, a, http.MethodPut, path+esc(room, id), json.RawMessage(g.tip.JSON())).wants(t, 403, "M_FORBIDDEN")
		}
		g.call(t, a, http.MethodPost, v1+"get_missing_events/"+esc(room), `{"latest_events":[]}`).wants(t, 403, "M_FORBIDDEN")
	})
}

func (h *host) messages(t *testing.T, user matrix.UserID, device matrix.DeviceID) (list []keys.Message) {
	t.Helper()
	must(t, h.db.View(t.Context(), func(r *storage.Reader) (err error) {
		list, err = h.devices.ToDevice(t.Context(), r, user, device, 0, 1<<62, 100)
		return err
	}))
	return list
}

func toDevice(sender matrix.UserID, id, text string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"edu_type":"m.direct_to_device","content":{"sender":"%s","type":"m.room.encrypted","message_id":"%s",
		"messages":{"%s":{"PHONE":{"text":"%s"}},"@nobody:one.example":{"*":{}},"%s":{"*":{}}}}}`, sender, id, alice, text, bob))
}

func TestMessagesToDevicesAreKeptBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, a *host, g *guest) { // the inbox does not work
		a.device(t, alice, "PHONE")
		g.send(t, a, "t1", nil, []json.RawMessage{
			json.RawMessage(`null`), json.RawMessage(`{"edu_type":"m.direct_to_device"}`), json.RawMessage(`{"edu_type":7,"content":{}}`),
			json.RawMessage(`{"edu_type":"m.direct_to_device","content":{"sender":"@eve:evil.example"}}`),
			toDevice(bob, "f1", "forged"), toDevice(eve, "m1", "first"), toDevice(eve, "m2", "second")}).wants(t, 200, "")
		g.send(t, a, "t1", nil, []json.RawMessage{toDevice(eve, "m3", "third")}).wants(t, 200, "") // known
		g.send(t, a, "t2", nil, []json.RawMessage{toDevice(eve, "m2", "second")}).wants(t, 200, "")
		list := a.messages(t, alice, "PHONE")
		if len(list) != 2 || list[0].Content != `{"text":"first"}` || list[1].Content != `{"text":"second"}` || list[0].Sender != eve {
			t.Errorf("%+v", list)
		}
		a.idle(t) // nothing is left to do
	})
}

func TestDeviceListsAreTakenAtOnce(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, a *host, g *guest) {
		update := func(user matrix.UserID) json.RawMessage {
			return json.RawMessage(fmt.Sprintf(`{"edu_type":"m.device_list_update","content":{"user_id":"%s","device_id":"D","stream_id":5,"prev_id":[4]}}`, user))
		}
		g.send(t, a, "t1", nil, []json.RawMessage{update(eve), update(bob)}).wants(t, 200, "")
		must(t, a.db.View(t.Context(), func(r *storage.Reader) error {
			lists, err := keys.RemoteLists(t.Context(), r, []matrix.UserID{eve, bob})
			if _, forged := lists[bob]; !lists[eve].Stale || forged {
				t.Errorf("%+v", lists)
			}
			return err
		}))
	})
}

func TestTypingAndReceipts(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, a *host, g *guest) {
		a.work(t)
		e := a.say(t, alice, g.room, "lis-moi")
		typing := func(user matrix.UserID) json.RawMessage {
			return json.RawMessage(fmt.Sprintf(`{"edu_type":"m.typing","content":{"room_id":"%s","user_id":"%s","typing":true}}`, g.room, user))
		}
		receipt := func(user matrix.UserID) json.RawMessage {
			return json.RawMessage(fmt.Sprintf(`{"edu_type":"m.receipt","content":{"%s":{"m.read":{"%s":{"data":{"ts":5},"event_ids":["%s"]}}}}}`, g.room, user, e))
		}
		g.send(t, a, "t1", nil, []json.RawMessage{typing(alice), typing("@nobody:evil.example"), typing(eve), receipt(alice), receipt(eve),
			json.RawMessage(`{"edu_type":"m.presence","content":{"push":[]}}`), json.RawMessage(`{"edu_type":"m.receipt","content":{"x":7}}`)}).wants(t, 200, "")
		a.idle(t)
		if users, _ := a.rooms.Typing(g.room); len(users) != 1 || users[0] != eve {
			t.Errorf("%v is typing", users)
		}
		must(t, a.db.View(t.Context(), func(r *storage.Reader) error {
			row, err := rooms.ByID(t.Context(), r, g.room)
			must(t, err)
			list, err := rooms.Receipts(t.Context(), r, []int64{row.NID}, 0, 1<<62)
			if len(list) != 1 || list[0].User != eve || list[0].EventID != e {
				t.Errorf("%+v", list)
			}
			return err
		}))
	})
}

// state sets a part of the state of a room.
func (h *host) state(t *testing.T, user matrix.UserID, room matrix.RoomID, typ string, content json.RawMessage) {
	t.Helper()
	_, err := h.rooms.Send(t.Context(), sendState(user, room, typ, content))
	must(t, err)
}
