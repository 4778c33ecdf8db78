package roomserver_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// tale is what happens in a room, in order: a mark "m1" is a message of the
// creator, the other words are about bob.
type tale []string

// tell makes a room with a history visibility ("" leaves that of the preset)
// and tells a tale in it. It returns the messages by their marks.
func tell(t *testing.T, nd *node, visibility string, story tale) (matrix.RoomID, map[string]matrix.EventID) {
	t.Helper()
	room := createRoom(t, nd, alice, "", "private_chat")
	if visibility != "" {
		setVisibility(t, nd, room, visibility)
	}
	marks := make(map[string]matrix.EventID)
	for _, step := range story {
		about := roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}
		own := roomserver.MembershipRequest{Sender: bob, Target: bob, Room: room}
		switch {
		case strings.HasPrefix(step, "m"):
			marks[step] = say(t, nd, alice, room, step)
		case strings.HasPrefix(step, "set "):
			setVisibility(t, nd, room, step[len("set "):])
		case step == "invite":
			must(t, nd.Invite(t.Context(), about))
		case step == "join":
			must(t, nd.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: room}))
		case step == "rename":
			must(t, nd.UpdateProfile(t.Context(), bob, roomserver.Profile{DisplayName: "Bob"}))
		case step == "leave":
			must(t, nd.Leave(t.Context(), own))
		case step == "kick":
			must(t, nd.Kick(t.Context(), about))
		case step == "ban":
			must(t, nd.Ban(t.Context(), about))
		case step == "unban":
			must(t, nd.Unban(t.Context(), about))
		case step == "forget":
			must(t, nd.Forget(t.Context(), bob, room))
		default:
			t.Fatalf("unknown step %q", step)
		}
	}
	return room, marks
}

func setVisibility(t *testing.T, nd *node, room matrix.RoomID, visibility string) {
	t.Helper()
	_, err := nd.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.history_visibility",
		StateKey: new(string), Content: json.RawMessage(fmt.Sprintf(`{"history_visibility":%q}`, visibility))})
	must(t, err)
}

// TestVisibility is the matrix of membership, history visibility and endpoint.
func TestVisibility(t *testing.T) {
	t.Parallel()
	settings := []string{"world_readable", "shared", "invited", "joined", "unheard_of", ""}
	stages := map[string]struct {
		story tale
		// sees is what bob sees under each setting; the last two are as shared.
		sees map[string]string
		// page says whether bob may page through the room at all where it is not
		// world readable.
		page bool
	}{
		"stranger": {tale{"m1"}, map[string]string{"world_readable": "m1"}, false},
		"invited": {tale{"m1", "invite", "m2"},
			map[string]string{"world_readable": "m1 m2", "invited": "m2"}, false},
		"declined": {tale{"m1", "invite", "m2", "leave", "m3"},
			map[string]string{"world_readable": "m1 m2 m3", "invited": "m2"}, false},
		"joined": {tale{"m1", "invite", "m2", "join", "m3"},
			map[string]string{"world_readable": "m1 m2 m3", "shared": "m1 m2 m3", "invited": "m2 m3", "joined": "m3"}, true},
		"renamed": {tale{"m1", "invite", "m2", "join", "m3", "rename", "m4"},
			map[string]string{"world_readable": "m1 m2 m3 m4", "shared": "m1 m2 m3 m4", "invited": "m2 m3 m4", "joined": "m3 m4"}, true},
		"left": {tale{"m1", "invite", "m2", "join", "m3", "leave", "m4"},
			map[string]string{"world_readable": "m1 m2 m3", "shared": "m1 m2 m3", "invited": "m2 m3", "joined": "m3"}, true},
		"kicked": {tale{"m1", "invite", "m2", "join", "m3", "kick", "m4"},
			map[string]string{"world_readable": "m1 m2 m3", "shared": "m1 m2 m3", "invited": "m2 m3", "joined": "m3"}, true},
		"left and banned": {tale{"m1", "invite", "m2", "join", "m3", "leave", "m4", "ban", "m5"},
			map[string]string{"world_readable": "m1 m2 m3", "shared": "m1 m2 m3", "invited": "m2 m3", "joined": "m3"}, true},
		"banned from outside": {tale{"m1", "ban", "m2"}, map[string]string{"world_readable": "m1 m2"}, false},
		"invited again": {tale{"m1", "invite", "m2", "join", "m3", "kick", "m4", "invite", "m5"},
			map[string]string{"world_readable": "m1 m2 m3", "shared": "m1 m2 m3", "invited": "m2 m3", "joined": "m3"}, true},
		"joined again": {tale{"m1", "invite", "m2", "join", "m3", "kick", "m4", "invite", "m5", "join", "m6"},
			map[string]string{"world_readable": "m1 m2 m3 m4 m5 m6", "shared": "m1 m2 m3 m4 m5 m6", "invited": "m2 m3 m5 m6", "joined": "m3 m6"}, true},
		"forgot": {tale{"m1", "invite", "m2", "join", "m3", "leave", "m4", "forget", "m5"},
			map[string]string{"world_readable": "m1 m2 m3 m4 m5"}, false},
	}
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		for stage, test := range stages {
			for _, setting := range settings {
				t.Run(stage+"/"+setting, func(t *testing.T) {
					t.Parallel()
					as := setting
					if setting == "" || setting == "unheard_of" {
						as = "shared"
					}
					room, marks := tell(t, one, setting, test.story)
					reads := test.page || as == "world_readable"
					checkSees(t, one, room, marks, strings.Fields(test.sees[as]), reads)
				})
			}
		}
	})
}

// checkSees holds every endpoint that shows events to bob against what he sees.
func checkSees(t *testing.T, nd *node, room matrix.RoomID, marks map[string]matrix.EventID, sees []string, reads bool) {
	t.Helper()
	want := make(map[matrix.EventID]bool)
	for _, mark := range sees {
		want[marks[mark]] = true
	}
	for mark, id := range marks {
		_, err := nd.Event(t.Context(), bob, "", room, id)
		if got := err == nil; got != want[id] {
			t.Errorf("event %s: seen is %v (%v)", mark, got, err)
		}
		around, err := nd.Context(t.Context(), roomserver.ContextRequest{User: bob, Room: room, Event: id})
		if got := err == nil; got != (want[id] && reads) {
			t.Errorf("context of %s: seen is %v (%v)", mark, got, err)
		}
		checkShown(t, "context", append(around.Before, around.After...), marks, want)
	}
	for _, backwards := range []bool{true, false} {
		page, err := nd.Messages(t.Context(), roomserver.MessagesRequest{User: bob, Room: room, Backwards: backwards, Limit: 100})
		if got := err == nil; got != reads {
			t.Errorf("messages: allowed is %v (%v)", got, err)
		}
		if shown := checkShown(t, "messages", page.Chunk, marks, want); reads && shown != len(want) {
			t.Errorf("messages (backwards: %v) show %d of %v", backwards, shown, sees)
		}
	}
	_, err := nd.State(t.Context(), bob, room)
	if got := err == nil; got != reads {
		t.Errorf("state: allowed is %v (%v)", got, err)
	}
	_, err = nd.Members(t.Context(), roomserver.MembersRequest{User: bob, Room: room})
	if got := err == nil; got != reads {
		t.Errorf("members: allowed is %v (%v)", got, err)
	}
}

// checkShown refuses marked messages that must not be seen, and returns how
// many are shown.
func checkShown(t *testing.T, where string, list []json.RawMessage, marks map[string]matrix.EventID, want map[matrix.EventID]bool) (shown int) {
	t.Helper()
	for _, id := range idsOf(t, list) {
		for mark, marked := range marks {
			if id == marked && !want[id] {
				t.Errorf("%s shows %s", where, mark)
			}
		}
		if want[id] {
			shown++
		}
	}
	return shown
}

func idsOf(t *testing.T, list []json.RawMessage) (ids []matrix.EventID) {
	t.Helper()
	for _, raw := range list {
		var e struct {
			ID matrix.EventID `json:"event_id"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

func TestVisibilityFollowsTheSettingOfThen(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		story tale
		sees  string
	}{
		"hidden, then shared":       {tale{"set joined", "m1", "set shared", "m2", "invite", "join", "m3"}, "m2 m3"},
		"shared, then hidden":       {tale{"set shared", "m1", "set joined", "m2", "invite", "join", "m3"}, "m1 m3"},
		"readable, then hidden":     {tale{"set world_readable", "m1", "set joined", "m2"}, "m1"},
		"hidden, then readable":     {tale{"set joined", "m1", "set world_readable", "m2"}, "m2"},
		"hidden while away":         {tale{"set shared", "invite", "join", "m1", "leave", "set joined", "m2", "set shared", "m3", "invite", "join", "m4"}, "m1 m3 m4"},
		"left while it was hidden":  {tale{"set joined", "m1", "invite", "m2", "join", "m3", "set shared", "leave", "m4"}, "m3"},
		"open by invitation, later": {tale{"set joined", "invite", "m1", "set invited", "m2", "join", "m3"}, "m2 m3"},
	}
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		for name, test := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				room, marks := tell(t, one, "", test.story)
				for mark, id := range marks {
					_, err := one.Event(t.Context(), bob, "", room, id)
					if want := slices.Contains(strings.Fields(test.sees), mark); (err == nil) != want {
						t.Errorf("%s: seen is %v, want %v", mark, err == nil, want)
					}
				}
			})
		}
	})
}

func TestWhoSeesTheChangeItself(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	room := createRoom(t, one, alice, "", "private_chat")
	var changes []matrix.EventID
	for _, setting := range []string{"joined", "world_readable", "joined", "invited"} {
		setVisibility(t, one, room, setting)
		changes = append(changes, one.stateID(t, room, "m.room.history_visibility", ""))
	}
	// Between joined and world_readable, both ways; never between the others.
	for i, want := range []bool{false, true, true, false} {
		if _, err := one.Event(t.Context(), bob, "", room, changes[i]); (err == nil) != want {
			t.Errorf("change %d: seen is %v, want %v", i, err == nil, want)
		}
	}
	must(t, one.Ban(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room, Reason: "spam"}))
	own := one.stateID(t, room, "m.room.member", string(bob))
	if _, err := one.Event(t.Context(), bob, "", room, own); err != nil {
		t.Errorf("bob cannot see that he was banned: %v", err)
	}
	if _, err := one.Event(t.Context(), carol, "", room, own); !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Errorf("a stranger sees that bob was banned: %v", err)
	}
}

// stateID returns the event of a key of the state of a room now.
func (nd *node) stateID(t *testing.T, room matrix.RoomID, typ, key string) (id matrix.EventID) {
	t.Helper()
	must(t, nd.db.View(t.Context(), func(r *storage.Reader) error {
		row, err := rooms.ByID(t.Context(), r, room)
		if err != nil {
			return err
		}
		e, err := rooms.StateEvent(t.Context(), r, row.NID, typ, key)
		if e != nil {
			id = e.ID()
		}
		return err
	}))
	return id
}

func TestOnlyAcceptedEventsAreVisible(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	room := createRoom(t, one, alice, "", "private_chat")
	e := stored(t, one, say(t, one, alice, room, "x"))
	must(t, one.db.View(t.Context(), func(r *storage.Reader) error {
		for status, want := range map[rooms.Status]int{rooms.Accepted: 1, rooms.SoftFailed: 0, rooms.Rejected: 0, rooms.Outlier: 0} {
			as := *e
			as.Status = status
			seen, err := roomserver.VisibleToUser(t.Context(), r, alice, []*rooms.Event{&as})
			if err != nil || len(seen) != want {
				t.Errorf("%s: %d seen (%v), want %d", status, len(seen), err, want)
			}
		}
		return nil
	}))
}

func TestTheStateEndsWhereTheUserLeft(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room, _ := tell(t, one, "shared", tale{"invite", "join"})
		topic(t, one, alice, room, "then")
		must(t, one.Leave(t.Context(), roomserver.MembershipRequest{Sender: bob, Room: room}))
		topic(t, one, alice, room, "later")
		must(t, one.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: "@dan:one.example", Room: room}))
		must(t, one.Ban(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}))
		got, err := one.StateEvent(t.Context(), bob, room, "m.room.topic", "", false)
		if err != nil || !strings.Contains(string(got), "then") {
			t.Errorf("bob's topic is %s (%v)", got, err)
		}
		state, err := one.State(t.Context(), bob, room)
		must(t, err)
		for _, raw := range state {
			if strings.Contains(string(raw), "later") || strings.Contains(string(raw), "@dan") || strings.Contains(string(raw), `"ban"`) && strings.Contains(string(raw), "m.room.member") {
				t.Errorf("bob's state has %s", raw)
			}
		}
		members, err := one.Members(t.Context(), roomserver.MembersRequest{User: bob, Room: room})
		if err != nil || len(members) != 2 {
			t.Errorf("bob's members are %s (%v)", members, err)
		}
		if _, err := one.JoinedMembers(t.Context(), bob, room); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("joined_members of a room that was left: %v", err)
		}
		now, err := one.StateEvent(t.Context(), alice, room, "m.room.topic", "", true)
		if err != nil || !strings.Contains(string(now), "later") || !strings.Contains(string(now), `"event_id"`) {
			t.Errorf("alice's topic is %s (%v)", now, err)
		}
	})
}
