package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// storeRoom writes a room with a state to the database of a data folder. Each
// item of state is a type, a key and a content.
func storeRoom(t *testing.T, folder string, room matrix.RoomID, state [][3]string) {
	t.Helper()
	rules, err := matrix.RoomVersion("10").Rules()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.NewKey("localhost", "1")
	if err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(t.Context(), filepath.Join(folder, "beffroi.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		nid := rooms.Insert(tx, room, "10")
		for _, item := range state {
			proto := event.Proto{
				RoomID: room, Sender: "@a:localhost", Type: item[0], StateKey: &item[1], Content: json.RawMessage(item[2]),
				Depth: 1, OriginServerTS: 1,
			}
			e, err := proto.Build(rules, key)
			if err != nil {
				return err
			}
			pos := tx.Next()
			rooms.InsertEvent(tx, &rooms.Event{Event: e, NID: int64(pos), RoomNID: nid, Pos: pos, Status: rooms.Accepted})
			delta := rooms.Delta{StateTuple: event.StateTuple{Type: item[0], StateKey: item[1]}, Pos: pos, NewNID: int64(pos)}
			if err := rooms.ChangeState(ctx, tx, nid, pos, []rooms.Delta{delta}, true); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestPolicyExplainReadsTheRoom(t *testing.T) {
	t.Parallel()
	folder, _ := dataFolder(t)
	create := [3]string{"m.room.create", "", `{"creator":"@a:localhost","room_version":"10"}`}
	joined := [3]string{"m.room.member", "@a:localhost", `{"membership":"join"}`}
	for room, rule := range map[matrix.RoomID]string{"!restricted:localhost": "restricted", "!open:localhost": "unrestricted"} {
		storeRoom(t, folder, room, [][3]string{
			create, joined, {"im.vector.room.access_rules", "", `{"rule":"` + rule + `"}`},
		})
	}
	storeRoom(t, folder, "!pair:localhost", [][3]string{
		create, joined, {"im.vector.room.access_rules", "", `{"rule":"direct"}`},
		{"m.room.member", "@b:localhost", `{"membership":"invite"}`},
	})
	tests := map[string]struct {
		room, subject, want string
	}{
		"external, restricted":  {"!restricted:localhost", "@x:externe.example", "Denied (external_in_restricted_room"},
		"external, open":        {"!open:localhost", "@x:externe.example", "allowed"},
		"ministry, restricted":  {"!restricted:localhost", "@c:localhost", "allowed"},
		"third of two":          {"!pair:localhost", "@c:localhost", "Denied (direct_room_full"},
		"second of two, anew":   {"!pair:localhost", "@b:localhost", "allowed"},
		"no room of the server": {"!none:localhost", "@b:localhost", "no such room"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _ := runCommand(t, policyCommand(), "explain", "--data", folder, "--lang", "en", "--actor", "@a:localhost",
				"--action", "invite", "--subject", test.subject, "--room", test.room)
			if !strings.Contains(out, test.want) {
				t.Errorf("%q is not in\n%s", test.want, out)
			}
		})
	}
}
