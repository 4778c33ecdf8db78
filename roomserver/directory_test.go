package roomserver_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/roomserver"
	"beffroi/storage"
)

func writeFile(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "policy.yaml")
	must(t, os.WriteFile(name, content, 0o600))
	return name
}

func TestAliases(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room, _ := tell(t, one, "shared", tale{"invite", "join"})
		const hall, yard = matrix.RoomAlias("#hall:one.example"), matrix.RoomAlias("#yard:one.example")
		must(t, one.CreateAlias(t.Context(), alice, hall, room))
		must(t, one.CreateAlias(t.Context(), bob, yard, room))
		got, err := one.ResolveAlias(t.Context(), hall)
		if err != nil || got.RoomID != room || !slices.Equal(got.Servers, []matrix.ServerName{"one.example"}) {
			t.Errorf("%s leads to %+v (%v)", hall, got, err)
		}
		refused := map[string]struct {
			err  error
			code string
		}{
			"taken":             {one.CreateAlias(t.Context(), alice, hall, room), "M_UNKNOWN"},
			"of another server": {one.CreateAlias(t.Context(), alice, "#a:two.example", room), "M_INVALID_PARAM"},
			"no name":           {one.CreateAlias(t.Context(), alice, "#:one.example", room), "M_INVALID_PARAM"},
			"not in the room":   {one.CreateAlias(t.Context(), carol, "#b:one.example", room), "M_FORBIDDEN"},
			"no room":           {one.CreateAlias(t.Context(), alice, "#c:one.example", "!none"), "M_FORBIDDEN"},
			"no power":          {one.DeleteAlias(t.Context(), bob, hall), "M_FORBIDDEN"},
			"delete nothing":    {one.DeleteAlias(t.Context(), alice, "#d:one.example"), "M_NOT_FOUND"},
		}
		for name, test := range refused {
			if !matrix.IsCode(test.err, test.code) {
				t.Errorf("%s: %v, want %s", name, test.err, test.code)
			}
		}
		if list, err := one.Aliases(t.Context(), bob, room); err != nil || !slices.Equal(list, []matrix.RoomAlias{hall, yard}) {
			t.Errorf("aliases: %v (%v)", list, err)
		}
		if _, err := one.Aliases(t.Context(), carol, room); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("aliases for a stranger: %v", err)
		}
		_, err = one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.canonical_alias", StateKey: new(string),
			Content: json.RawMessage(`{"alias":"#hall:one.example","alt_aliases":["#yard:one.example","#hall:one.example"]}`)})
		must(t, err)
		must(t, one.DeleteAlias(t.Context(), alice, hall))
		if _, err := one.ResolveAlias(t.Context(), hall); !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Errorf("a deleted alias: %v", err)
		}
		now, err := one.StateEvent(t.Context(), alice, room, "m.room.canonical_alias", "", false)
		if err != nil || string(now) != `{"alt_aliases":["#yard:one.example"]}` {
			t.Errorf("the canonical alias is %s (%v)", now, err)
		}
		must(t, one.DeleteAlias(t.Context(), alice, yard)) // bob's, by power
	})
}

func TestACanonicalAliasLeadsToItsRoom(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	room, other := createRoom(t, one, alice, "", "private_chat"), createRoom(t, one, alice, "", "private_chat")
	must(t, one.CreateAlias(t.Context(), alice, "#here:one.example", room))
	must(t, one.CreateAlias(t.Context(), alice, "#there:one.example", other))
	many, _ := json.Marshal(map[string][]string{"alt_aliases": slices.Repeat([]string{"#here:one.example"}, 101)})
	for content, code := range map[string]string{
		`{"alias":"#here:one.example"}`:  "",
		`{}`:                             "",
		`{"alias":"#there:one.example"}`: "M_BAD_ALIAS",
		`{"alias":"#here:one.example","alt_aliases":["#none:one.example"]}`: "M_BAD_ALIAS",
		`{"alt_aliases":["#far:nowhere.example"]}`:                          "M_BAD_ALIAS",
		`{"alias":"here"}`: "M_INVALID_PARAM",
		string(many):       "M_INVALID_PARAM",
	} {
		err := roomserver.CheckAliases(one.Server, t.Context(), roomserver.SendRequest{Sender: alice, Room: room,
			Type: "m.room.canonical_alias", StateKey: new(string), Content: json.RawMessage(content)})
		if (err != nil || code != "") && !matrix.IsCode(err, code) {
			t.Errorf("%.60s: %v, want %q", content, err, code)
		}
	}
}

func TestARoomHasBoundedAliases(t *testing.T) {
	t.Parallel()
	one := newNetwork().start(t, "sqlite", "one.example")
	room := createRoom(t, one, alice, "", "private_chat")
	for i := range 100 {
		must(t, one.CreateAlias(t.Context(), alice, matrix.RoomAlias(fmt.Sprintf("#a%d:one.example", i)), room))
	}
	if err := one.CreateAlias(t.Context(), alice, "#more:one.example", room); !matrix.IsCode(err, "M_INVALID_PARAM") {
		t.Errorf("the 101st alias: %v", err)
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		var ids []matrix.RoomID
		for i := range 5 {
			req := policy.CreateRequest{Creator: alice, Preset: "public_chat", Name: fmt.Sprint("Room ", i), Topic: "Été"}
			if i == 4 {
				req.CreationContent = json.RawMessage(`{"type":"m.space","m.federate":false}`)
			}
			id, err := one.CreateRoom(t.Context(), roomserver.CreateRequest{CreateRequest: req})
			must(t, err)
			if published, err := one.Published(t.Context(), id); err != nil || published {
				t.Errorf("published by itself (%v)", err)
			}
			must(t, one.SetPublished(t.Context(), alice, id, true))
			ids = append(ids, id)
		}
		must(t, one.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: ids[3]}))
		setVisibility(t, one, ids[3], "world_readable")

		first, err := one.PublicRooms(t.Context(), roomserver.DirectoryRequest{User: bob, Limit: 2})
		if err != nil || len(first.Chunk) != 2 || first.Total != 5 || first.PrevBatch != "" || first.Chunk[0].RoomID != ids[3] {
			t.Fatalf("first page: %+v (%v)", first, err)
		}
		want := roomserver.PublicRoom{RoomID: ids[3], Name: "Room 3", Topic: "Été", Joined: 2, WorldReadable: true, JoinRule: "public",
			GuestCanJoin: first.Chunk[0].GuestCanJoin}
		if first.Chunk[0] != want {
			t.Errorf("the largest room is %+v", first.Chunk[0])
		}
		seen := len(first.Chunk)
		for since := first.NextBatch; since != ""; {
			page, err := one.PublicRooms(t.Context(), roomserver.DirectoryRequest{User: bob, Limit: 2, Since: since})
			must(t, err)
			if page.PrevBatch == "" {
				t.Error("a later page has none before it")
			}
			seen, since = seen+len(page.Chunk), page.NextBatch
		}
		if seen != 5 {
			t.Errorf("the pages show %d rooms", seen)
		}
		space := "m.space"
		for name, test := range map[string]struct {
			req  roomserver.DirectoryRequest
			want int
		}{
			"a name":             {roomserver.DirectoryRequest{Term: "ROOM 2"}, 1},
			"a topic":            {roomserver.DirectoryRequest{Term: "éTÉ"}, 5},
			"nothing":            {roomserver.DirectoryRequest{Term: "zzz"}, 0},
			"spaces":             {roomserver.DirectoryRequest{RoomTypes: []*string{&space}}, 1},
			"no spaces":          {roomserver.DirectoryRequest{RoomTypes: []*string{nil}}, 4},
			"both":               {roomserver.DirectoryRequest{RoomTypes: []*string{nil, &space}}, 5},
			"for another server": {roomserver.DirectoryRequest{Server: "two.example"}, 4},
		} {
			if test.req.Server == "" {
				test.req.User = bob
			}
			if page, err := one.PublicRooms(t.Context(), test.req); err != nil || len(page.Chunk) != test.want || page.Total != test.want {
				t.Errorf("%s: %d rooms of %d (%v), want %d", name, len(page.Chunk), page.Total, err, test.want)
			}
		}
		if err := one.SetPublished(t.Context(), bob, ids[3], false); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("a member without power: %v", err)
		}
		must(t, one.SetPublished(t.Context(), alice, ids[3], false))
		if page, _ := one.PublicRooms(t.Context(), roomserver.DirectoryRequest{User: bob}); page.Total != 4 {
			t.Errorf("%d rooms after one was taken out", page.Total)
		}
		for _, bad := range []roomserver.DirectoryRequest{{Limit: -1}, {Since: "x"}, {Since: "p-1"}, {Since: "p99999999999"},
			{Term: strings.Repeat("x", 513)}, {RoomTypes: make([]*string, 1001)}} {
			bad.User = bob
			if _, err := one.PublicRooms(t.Context(), bad); !matrix.IsCode(err, "M_INVALID_PARAM") {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

func TestThePolicyHasTheDirectory(t *testing.T) {
	t.Parallel()
	db := testkit.OpenDB(t, "sqlite")
	one := newNetwork().startWith(t, db, "one.example", strictGate(t, db))
	room := createRoom(t, one, alice, "", "private_chat")
	if err := one.SetPublished(t.Context(), alice, room, true); !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("a private room was published: %v", err)
	}
	for _, req := range []roomserver.DirectoryRequest{{User: "@eve:partner.example"}, {Server: "partner.example"}, {Server: "unknown.example"}} {
		if _, err := one.PublicRooms(t.Context(), req); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("%+v sees the directory: %v", req, err)
		}
	}
}
