package roomserver_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// outbox keeps the EDUs that a server sends.
type outbox struct {
	mu   sync.Mutex
	sent []edu // guarded by mu
}

type edu struct {
	to      []matrix.ServerName
	typ     string
	content []byte
}

func (o *outbox) SendEphemeral(to []matrix.ServerName, typ, _ string, content []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = append(o.sent, edu{to, typ, content})
}

func (o *outbox) take() (sent []edu) {
	o.mu.Lock()
	defer o.mu.Unlock()
	sent, o.sent = o.sent, nil
	return sent
}

// startTalking is startWith for a server whose EDUs are kept.
func (n *network) startTalking(t *testing.T, db *storage.DB, name matrix.ServerName, gate roomserver.Gate) (*node, *outbox) {
	t.Helper()
	key, err := signing.NewKey(name, "a1")
	must(t, err)
	out := new(outbox)
	nd := &node{db: db, key: key, net: n}
	nd.Server = roomserver.New(roomserver.Options{DB: db, Key: key, Gate: gate, Keys: nd, Remote: wire{nd}, EDUs: out})
	n.servers[name] = nd
	return nd, out
}

// unsigned is what the tests look at.
type unsigned struct {
	Age             *int64          `json:"age"`
	Membership      string          `json:"membership"`
	PrevContent     json.RawMessage `json:"prev_content"`
	ReplacesState   matrix.EventID  `json:"replaces_state"`
	TransactionID   string          `json:"transaction_id"`
	RedactedBecause *struct {
		ID      matrix.EventID `json:"event_id"`
		Redacts matrix.EventID `json:"redacts"`
	} `json:"redacted_because"`
}

func readUnsigned(t *testing.T, nd *node, user matrix.UserID, device matrix.DeviceID, room matrix.RoomID, id matrix.EventID) (u unsigned) {
	t.Helper()
	raw, err := nd.Event(t.Context(), user, device, room, id)
	must(t, err)
	var e struct {
		ID       matrix.EventID `json:"event_id"`
		Room     matrix.RoomID  `json:"room_id"`
		Unsigned *unsigned      `json:"unsigned"`
	}
	must(t, json.Unmarshal(raw, &e))
	if e.ID != id || e.Room != room || e.Unsigned == nil || e.Unsigned.Age == nil {
		t.Fatalf("rendered as %s", raw)
	}
	return *e.Unsigned
}

func TestUnsigned(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room, marks := tell(t, one, "shared", tale{"m1", "invite", "m2", "join", "m3"})
		first, second := topic(t, one, alice, room, "first"), topic(t, one, alice, room, "second")
		sent, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message",
			Content: json.RawMessage(`{"body":"x"}`), Device: "A", TxnID: "t\"1"})
		must(t, err)
		redaction, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.redaction", Redacts: marks["m3"]})
		must(t, err)

		for mark, want := range map[string]string{"m1": "leave", "m2": "invite", "m3": "join"} {
			if got := readUnsigned(t, one, bob, "", room, marks[mark]).Membership; got != want {
				t.Errorf("%s: bob's membership is %q, want %q", mark, got, want)
			}
		}
		if got := readUnsigned(t, one, bob, "", room, one.stateID(t, room, "m.room.member", string(bob))); got.Membership != "join" ||
			got.ReplacesState == "" || got.PrevContent == nil {
			t.Errorf("bob's join: %+v", got)
		}
		if got := readUnsigned(t, one, alice, "", room, second); got.ReplacesState != first || string(got.PrevContent) != `{"topic":"first"}` {
			t.Errorf("the second topic: %+v", got)
		}
		for device, want := range map[matrix.DeviceID]string{"A": "t\"1", "B": "", "": ""} {
			if got := readUnsigned(t, one, alice, device, room, sent).TransactionID; got != want {
				t.Errorf("device %q is told the transaction ID %q", device, got)
			}
		}
		if got := readUnsigned(t, one, bob, "A", room, sent).TransactionID; got != "" {
			t.Errorf("another user is told the transaction ID %q", got)
		}
		if got := readUnsigned(t, one, bob, "", room, marks["m3"]).RedactedBecause; got == nil || got.ID != redaction || got.Redacts != marks["m3"] {
			t.Errorf("redacted because of %+v", got)
		}
	})
}

func TestUnsignedTellsNothingHidden(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	room, _ := tell(t, one, "joined", tale{"invite"})
	topic(t, one, alice, room, "before")
	must(t, one.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: room}))
	after := topic(t, one, alice, room, "after")
	mine := say(t, one, bob, room, "mine")
	if got := readUnsigned(t, one, bob, "", room, after); got.PrevContent != nil || got.ReplacesState == "" {
		t.Errorf("a topic that replaced a hidden one: %+v", got)
	}
	must(t, one.Leave(t.Context(), roomserver.MembershipRequest{Sender: bob, Room: room}))
	_, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.redaction", Redacts: mine})
	must(t, err)
	if got := readUnsigned(t, one, bob, "", room, mine); got.RedactedBecause != nil {
		t.Errorf("bob sees a redaction from after he left: %+v", got)
	}
}

// A page costs the same number of statements whatever is on it.
func TestAPageCostsFewStatements(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	room, _ := tell(t, one, "shared", tale{"invite", "join"})
	var last matrix.EventID
	for i := range 60 {
		topic(t, one, alice, room, fmt.Sprint(i))
		last = say(t, one, bob, room, fmt.Sprint(i))
	}
	_, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.redaction", Redacts: last})
	must(t, err)
	before := one.db.Statements()
	page, err := one.Messages(t.Context(), roomserver.MessagesRequest{User: bob, Device: "D", Room: room, Backwards: true, Limit: 100})
	if err != nil || len(page.Chunk) != 100 {
		t.Fatalf("%d events (%v)", len(page.Chunk), err)
	}
	if n := one.db.Statements() - before; n > 12 {
		t.Errorf("100 events took %d statements", n)
	}
	events := []*rooms.Event{stored(t, one, last)}
	must(t, one.db.View(t.Context(), func(r *storage.Reader) error {
		before := one.db.Statements()
		seen, err := roomserver.VisibleToUser(t.Context(), r, bob, events)
		if n := one.db.Statements() - before; err != nil || len(seen) != 1 || n != 1 {
			t.Errorf("a new event for a member took %d statements (%v)", n, err)
		}
		return nil
	}))
}

func TestTypingOfMembersOnly(t *testing.T) {
	t.Parallel()
	net := newNetwork()
	db := testkit.OpenDB(t, "sqlite")
	one, out := net.startTalking(t, db, "one.example", openGate(t, db, "one.example"))
	two := net.start(t, "sqlite", "two.example")
	room := createRoom(t, one, alice, "", "public_chat")
	must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
	if err := one.SetTyping(t.Context(), bob, room, true, 0); !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("a stranger types: %v", err)
	}
	must(t, one.SetTyping(t.Context(), alice, room, true, 1<<62))
	sent := out.take()
	if len(sent) != 1 || sent[0].typ != "m.typing" || !slices.Equal(sent[0].to, []matrix.ServerName{"two.example"}) {
		t.Fatalf("sent %v", sent)
	}
	must(t, two.ReceiveTyping(t.Context(), "one.example", sent[0].content))
	if users, _ := two.Typing(room); !slices.Equal(users, []matrix.UserID{alice}) {
		t.Errorf("carol sees typing: %v", users)
	}
	for name, content := range map[string]string{
		"no object":    `[]`,
		"not its user": fmt.Sprintf(`{"room_id":%q,"user_id":%q,"typing":true}`, room, carol),
		"no member":    fmt.Sprintf(`{"room_id":%q,"user_id":"@eve:one.example","typing":true}`, room),
		"no room":      `{"room_id":"!none","user_id":"@alice:one.example","typing":true}`,
	} {
		if err := two.ReceiveTyping(t.Context(), "one.example", []byte(content)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	must(t, one.SetTyping(t.Context(), alice, room, false, 0))
	must(t, two.ReceiveTyping(t.Context(), "one.example", out.take()[0].content))
	if users, _ := two.Typing(room); len(users) != 0 {
		t.Errorf("carol still sees typing: %v", users)
	}
}

func TestRoomsShutServersOut(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	room := createRoom(t, one, alice, "", "public_chat")
	must(t, one.AllowedByACL(t.Context(), room, "two.example"))
	_, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.server_acl", StateKey: new(string),
		Content: json.RawMessage(`{"allow":["*"],"deny":["two.*"]}`)})
	must(t, err)
	for server, allowed := range map[matrix.ServerName]bool{"two.example": false, "TWO.example:1": false, "three.example": true, "one.example": true} {
		if err := one.AllowedByACL(t.Context(), room, server); (err == nil) != allowed || err != nil && !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("%s: %v", server, err)
		}
	}
	must(t, one.AllowedByACL(t.Context(), "!none", "two.example"))
}

func TestForget(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room, marks := tell(t, one, "shared", tale{"invite", "join", "m1"})
		if err := one.Forget(t.Context(), bob, room); !matrix.IsCode(err, "M_UNKNOWN") {
			t.Errorf("forgot a room without leaving it: %v", err)
		}
		if err := one.Forget(t.Context(), carol, room); !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Errorf("forgot a room without ever having been in it: %v", err)
		}
		must(t, one.Leave(t.Context(), roomserver.MembershipRequest{Sender: bob, Room: room}))
		must(t, one.Forget(t.Context(), bob, room))
		must(t, one.Forget(t.Context(), bob, room))
		if _, err := one.Messages(t.Context(), roomserver.MessagesRequest{User: bob, Room: room}); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("messages of a forgotten room: %v", err)
		}
		must(t, one.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}))
		must(t, one.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: room}))
		if _, err := one.Event(t.Context(), bob, "", room, marks["m1"]); err != nil {
			t.Errorf("after coming back: %v", err)
		}
		joined, err := one.JoinedRooms(t.Context(), bob)
		if err != nil || !slices.Equal(joined, []matrix.RoomID{room}) {
			t.Errorf("joined %v (%v)", joined, err)
		}
	})
}

func TestStrangersReadOnlyWhatThePolicyLetsThemEnter(t *testing.T) {
	t.Parallel()
	db := testkit.OpenDB(t, "sqlite")
	one := newNetwork().startWith(t, db, "one.example", strictGate(t, db))
	room, err := one.CreateRoom(t.Context(), roomserver.CreateRequest{CreateRequest: policy.CreateRequest{Creator: alice, Preset: "private_chat"}})
	must(t, err)
	setVisibility(t, one, room, "world_readable")
	said := say(t, one, alice, room, "for ministries")
	if _, err := one.Event(t.Context(), bob, "", room, said); err != nil {
		t.Errorf("a colleague reads: %v", err)
	}
	partner := matrix.UserID("@eve:partner.example")
	_, eventErr := one.Event(t.Context(), partner, "", room, said)
	_, pageErr := one.Messages(t.Context(), roomserver.MessagesRequest{User: partner, Room: room})
	_, stateErr := one.State(t.Context(), partner, room)
	for name, err := range map[string]error{"event": eventErr, "messages": pageErr, "state": stateErr} {
		if !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("a partner reads by %s: %v", name, err)
		}
	}
}

// strictGate is the policy of two organisations, of which one is a partner.
func strictGate(t *testing.T, db *storage.DB) roomserver.Gate {
	t.Helper()
	doc := policy.Initial("one.example")
	doc.Organisations = append(doc.Organisations, policy.Organisation{ID: "partner", Class: "external",
		Name: policy.Text{"fr": "Partenaire", "en": "Partner"}, Homeservers: []policy.Homeserver{{Name: "partner.example"}}})
	raw, err := doc.YAML()
	must(t, err)
	gate, err := policystore.Open(t.Context(), policystore.Options{DB: db, Self: "one.example", File: writeFile(t, raw)})
	must(t, err)
	return gate
}
