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

// walkAll pages through a room to the end and returns what it shows.
func walkAll(t *testing.T, nd *node, req roomserver.MessagesRequest) (ids []matrix.EventID, pages int) {
	t.Helper()
	for {
		page, err := nd.Messages(t.Context(), req)
		must(t, err)
		ids = append(ids, idsOf(t, page.Chunk)...)
		if len(page.Chunk) > req.Limit {
			t.Fatalf("%d events where %d were asked for", len(page.Chunk), req.Limit)
		}
		if pages++; page.End == "" {
			return ids, pages
		}
		if pages > 200 {
			t.Fatal("pages never end")
		}
		at, err := roomserver.ParseToken(page.End)
		must(t, err)
		req.From = &at
	}
}

func TestPagesShowEveryEventOnce(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat")
		for i := range 20 {
			say(t, one, alice, room, fmt.Sprint(i))
		}
		all, _ := walkAll(t, one, roomserver.MessagesRequest{User: alice, Room: room, Backwards: true, Limit: 500})
		if len(all) < 26 {
			t.Fatalf("only %d events", len(all))
		}
		slices.Reverse(all)
		for limit := 1; limit <= 7; limit++ {
			back, _ := walkAll(t, one, roomserver.MessagesRequest{User: alice, Room: room, Backwards: true, Limit: limit})
			slices.Reverse(back)
			forth, _ := walkAll(t, one, roomserver.MessagesRequest{User: alice, Room: room, Limit: limit})
			if !slices.Equal(back, all) || !slices.Equal(forth, all) {
				t.Errorf("limit %d: %d back, %d forth, want %d", limit, len(back), len(forth), len(all))
			}
		}
		middle := stored(t, one, all[10]).Pos
		until, _ := walkAll(t, one, roomserver.MessagesRequest{User: alice, Room: room, Backwards: true, Limit: 3, To: &middle})
		if len(until) != len(all)-11 {
			t.Errorf("%d events down to the 11th of %d", len(until), len(all))
		}
	})
}

// Events that the user may not see must neither end the pages nor make many.
func TestInvisibleEventsCostNoPages(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	story := tale{"m1", "set joined"}
	for i := range 40 {
		story = append(story, fmt.Sprint("mx", i))
	}
	story = append(story, "invite", "join", "m2", "leave")
	for i := range 40 {
		story = append(story, fmt.Sprint("my", i))
	}
	story = append(story, "invite", "join", "m3")
	room, marks := tell(t, one, "shared", story)
	ids, pages := walkAll(t, one, roomserver.MessagesRequest{User: bob, Room: room, Backwards: true, Limit: 3})
	var shown []string
	for _, id := range ids {
		for mark, marked := range marks {
			if id == marked {
				shown = append(shown, mark)
			}
		}
	}
	if got := strings.Join(shown, " "); got != "m3 m2 m1" {
		t.Errorf("bob sees %s", got)
	}
	if pages > len(ids)/3+1 {
		t.Errorf("%d events took %d pages", len(ids), pages)
	}
}

func TestFilteredPages(t *testing.T) {
	t.Parallel()
	yes := true
	cases := map[string]struct {
		filter roomserver.Filter
		want   int
	}{
		"a type":          {roomserver.Filter{Types: []string{"m.room.message"}}, 5},
		"a pattern":       {roomserver.Filter{Types: []string{"m.*.mess*ge"}}, 5},
		"no type":         {roomserver.Filter{Types: []string{}}, 0},
		"not a type":      {roomserver.Filter{Types: []string{"m.room.m*"}, NotTypes: []string{"m.room.member"}}, 5},
		"a sender":        {roomserver.Filter{Senders: []matrix.UserID{bob}, Types: []string{"m.room.message"}}, 1},
		"another sender":  {roomserver.Filter{NotSenders: []matrix.UserID{bob}, Types: []string{"m.room.message"}}, 4},
		"with a url":      {roomserver.Filter{ContainsURL: &yes}, 0},
		"nothing matches": {roomserver.Filter{Types: []string{"*zz*"}}, 0},
	}
	one := newNetwork().start(t, "sqlite", "one.example")
	room, _ := tell(t, one, "shared", tale{"m1", "m2", "invite", "join", "m3", "m4"})
	say(t, one, bob, room, "mine")
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ids, _ := walkAll(t, one, roomserver.MessagesRequest{User: alice, Room: room, Backwards: true, Limit: 2, Filter: test.filter})
			if len(ids) != test.want {
				t.Errorf("%d events, want %d", len(ids), test.want)
			}
		})
	}
}

func TestLazyMembersOfPages(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	room, _ := tell(t, one, "shared", tale{"invite", "join"})
	say(t, one, bob, room, "as bob")
	must(t, one.UpdateProfile(t.Context(), bob, roomserver.Profile{DisplayName: "Robert"}))
	page, err := one.Messages(t.Context(), roomserver.MessagesRequest{User: alice, Room: room, Backwards: true,
		Filter: roomserver.Filter{Types: []string{"m.room.message"}, LazyLoadMembers: true}})
	if err != nil || len(page.State) != 1 {
		t.Fatalf("%d members (%v)", len(page.State), err)
	}
	if got := string(page.State[0]); !strings.Contains(got, string(bob)) || strings.Contains(got, "Robert") {
		t.Errorf("the sender of then is %s", got)
	}
}

func TestOlderPagesComeFromOtherServers(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		net := newNetwork()
		one := net.start(t, "sqlite", "one.example")
		two := net.startWith(t, db, "two.example", openGate(t, db, "two.example"))
		room := createRoom(t, one, alice, "", "public_chat")
		for i := range 30 {
			say(t, one, alice, room, fmt.Sprint(i))
		}
		must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
		want, _ := walkAll(t, one, roomserver.MessagesRequest{User: alice, Room: room, Backwards: true, Limit: 100})
		got, _ := walkAll(t, two, roomserver.MessagesRequest{User: carol, Room: room, Backwards: true, Limit: 7})
		if len(got) != len(want) {
			t.Errorf("carol sees %d events, alice %d", len(got), len(want))
		}
		forth, _ := walkAll(t, two, roomserver.MessagesRequest{User: carol, Room: room, Limit: 7})
		slices.Reverse(forth)
		if !slices.Equal(forth, got) {
			t.Errorf("forwards %d events, backwards %d", len(forth), len(got))
		}
	})
}

func TestContext(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	room, marks := tell(t, one, "shared", tale{"m1", "m2", "m3", "m4", "m5"})
	limit := 3
	got, err := one.Context(t.Context(), roomserver.ContextRequest{User: alice, Room: room, Event: marks["m3"], Limit: &limit})
	must(t, err)
	before, after := idsOf(t, got.Before), idsOf(t, got.After)
	if !slices.Equal(before, []matrix.EventID{marks["m2"]}) || !slices.Equal(after, []matrix.EventID{marks["m4"], marks["m5"]}) {
		t.Errorf("before %v, after %v", before, after)
	}
	start, err := roomserver.ParseToken(got.Start)
	must(t, err)
	page, err := one.Messages(t.Context(), roomserver.MessagesRequest{User: alice, Room: room, Backwards: true, From: &start, Limit: 1})
	if ids := idsOf(t, page.Chunk); err != nil || len(ids) != 1 || ids[0] != marks["m1"] {
		t.Errorf("before the context stands %v (%v)", ids, err)
	}
	lazy, err := one.Context(t.Context(), roomserver.ContextRequest{User: alice, Room: room, Event: marks["m3"],
		Filter: roomserver.Filter{LazyLoadMembers: true, NotTypes: []string{"m.room.power_levels"}}})
	if err != nil || len(lazy.State) == 0 || len(lazy.State) != len(got.State)-1 {
		t.Errorf("%d events of state, want %d less one (%v)", len(lazy.State), len(got.State), err)
	}
	if _, err := one.Context(t.Context(), roomserver.ContextRequest{User: alice, Room: room, Event: "$none"}); !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Errorf("context of nothing: %v", err)
	}
	other := createRoom(t, one, alice, "", "private_chat")
	if _, err := one.Context(t.Context(), roomserver.ContextRequest{User: alice, Room: other, Event: marks["m3"]}); !matrix.IsCode(err, "M_NOT_FOUND") {
		t.Errorf("context of an event of another room: %v", err)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]storage.Position{"s0": 0, "s12": 12, "s-3": -3, "s9_77_1": 9} {
		if got, err := roomserver.ParseToken(text); err != nil || got != want {
			t.Errorf("%q is %d (%v)", text, got, err)
		}
	}
	for _, text := range []string{"", "12", "s", "s+1", "s1.5", "sx", "t1", "s9223372036854775807", "s-9223372036854775808",
		"s" + strings.Repeat("0", 100) + "1", "_s1"} {
		if got, err := roomserver.ParseToken(text); !matrix.IsCode(err, "M_INVALID_PARAM") {
			t.Errorf("%q is %d (%v)", text, got, err)
		}
	}
}

func TestFiltersAreChecked(t *testing.T) {
	t.Parallel()
	long, _ := json.Marshal(map[string][]string{"types": make([]string, 1001)})
	for text, code := range map[string]string{
		`{"types":1}`: "M_BAD_JSON", `[]`: "M_BAD_JSON", `{`: "M_NOT_JSON", `{"limit":-1}`: "M_INVALID_PARAM",
		string(long): "M_INVALID_PARAM", `{"types":["` + strings.Repeat("x", 64<<10) + `"]}`: "M_TOO_LARGE",
	} {
		if _, err := roomserver.ParseFilter([]byte(text)); !matrix.IsCode(err, code) {
			t.Errorf("%.40s: %v, want %s", text, err, code)
		}
	}
	if f, err := roomserver.ParseFilter([]byte(`{"unknown":[],"limit":3,"lazy_load_members":true}`)); err != nil || f.Limit != 3 || !f.LazyLoadMembers {
		t.Errorf("%+v (%v)", f, err)
	}
}

func TestMembersOfThen(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room, marks := tell(t, one, "shared", tale{"m1", "invite", "m2", "join", "m3", "leave", "m4"})
		at := func(mark string) *storage.Position { pos := stored(t, one, marks[mark]).Pos; return &pos }
		cases := map[string]struct {
			req  roomserver.MembersRequest
			want int
		}{
			"now":              {roomserver.MembersRequest{}, 2},
			"joined now":       {roomserver.MembersRequest{Membership: "join"}, 1},
			"not joined now":   {roomserver.MembersRequest{NotMembership: "join"}, 1},
			"left or not left": {roomserver.MembersRequest{Membership: "leave", NotMembership: "leave"}, 2},
			"at first":         {roomserver.MembersRequest{At: at("m1")}, 1},
			"invited then":     {roomserver.MembersRequest{At: at("m2"), Membership: "invite"}, 1},
			"joined then":      {roomserver.MembersRequest{At: at("m3"), Membership: "join"}, 2},
		}
		for name, test := range cases {
			test.req.User, test.req.Room = alice, room
			if got, err := one.Members(t.Context(), test.req); err != nil || len(got) != test.want {
				t.Errorf("%s: %d members (%v), want %d", name, len(got), err, test.want)
			}
		}
		if _, err := one.Members(t.Context(), roomserver.MembersRequest{User: alice, Room: room, Membership: "x"}); !matrix.IsCode(err, "M_INVALID_PARAM") {
			t.Errorf("a membership that there is not: %v", err)
		}
	})
}

func TestWhatServersSee(t *testing.T) {
	t.Parallel()
	cases := map[string]map[string]string{ // what two.example sees while carol is in, and after she left
		"world_readable": {"in": "m1 m2 m3", "out": "m1 m2 m3"},
		"shared":         {"in": "m1 m2 m3", "out": "m1 m2 m3"},
		"invited":        {"in": "m2 m3", "out": "m2 m3"},
		"joined":         {"in": "m3", "out": "m3"},
	}
	for setting, want := range cases {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			net := newNetwork()
			one, two := net.start(t, "sqlite", "one.example"), net.start(t, "sqlite", "two.example")
			room, marks := tell(t, one, setting, tale{"m1"})
			must(t, one.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: carol, Room: room}))
			marks["m2"] = say(t, one, alice, room, "m2")
			must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
			marks["m3"] = say(t, one, alice, room, "m3")
			checkServerSees(t, one, room, marks, want["in"], setting == "world_readable")
			must(t, one.Kick(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: carol, Room: room}))
			marks["m4"] = say(t, one, alice, room, "m4")
			checkServerSees(t, one, room, marks, want["out"], setting == "world_readable")
		})
	}
}

func checkServerSees(t *testing.T, nd *node, room matrix.RoomID, marks map[string]matrix.EventID, want string, open bool) {
	t.Helper()
	must(t, nd.db.View(t.Context(), func(r *storage.Reader) error {
		row, err := rooms.ByID(t.Context(), r, room)
		if err != nil {
			return err
		}
		for mark, id := range marks {
			e := stored(t, nd, id)
			seen, err := nd.VisibleToServer(t.Context(), r, row, "two.example", []*rooms.Event{e})
			if err != nil || len(seen) != 1 || seen[0].ID() != id {
				t.Fatalf("%s: %v (%v)", mark, seen, err)
			}
			whole := string(seen[0].JSON()) == string(e.JSON())
			if whole != slices.Contains(strings.Fields(want), mark) || !whole && strings.Contains(string(seen[0].Content()), "body") {
				t.Errorf("%s: seen is %v, want %s", mark, whole, want)
			}
			if sees, err := nd.ServerSees(t.Context(), r, row, "two.example", e); err != nil || sees != whole {
				t.Errorf("%s alone: seen is %v (%v)", mark, sees, err)
			}
			if sees, err := nd.ServerSees(t.Context(), r, row, "three.example", e); err != nil || sees != open {
				t.Errorf("%s: a server that never was in sees it (%v)", mark, err)
			}
		}
		return nil
	}))
}
