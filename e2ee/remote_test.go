package e2ee_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/e2ee"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
)

const carol matrix.UserID = "@carol:there.example"

// twoServers returns two that share a room with alice and carol in it.
func twoServers(t *testing.T, db *storage.DB) (n *network, here, there *server) {
	t.Helper()
	n = newNetwork()
	here, there = n.add("here.example", db), n.add("there.example", testkit.OpenDB(t, "sqlite"))
	for _, s := range []*server{here, there} {
		s.member(t, 1, alice, "join")
		s.member(t, 1, carol, "join")
	}
	return n, here, there
}

// devices returns the IDs of the devices that are seen of an account.
func (s *server) devices(t *testing.T, viewer, user matrix.UserID) (list []matrix.DeviceID) {
	t.Helper()
	got, err := s.Query(t.Context(), viewer, query(user))
	wants(t, err, "")
	for id := range got.DeviceKeys[user] {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

func (n *network) times(what string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[what]
}

func TestDeviceListsAcrossServers(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		n, here, there := twoServers(t, db)
		there.publish(t, there.device(t, carol, "ONE"), 1)
		if got := here.devices(t, alice, carol); !slices.Equal(got, []matrix.DeviceID{"ONE"}) {
			t.Fatalf("devices %v", got)
		}
		wants(t, here.Resync(ctx), "")
		asked := n.times("query")
		if got := here.devices(t, alice, carol); !slices.Equal(got, []matrix.DeviceID{"ONE"}) || n.times("query") != asked {
			t.Fatalf("devices %v, asked %d times more", got, n.times("query")-asked)
		}
		// A new device comes by itself, and nobody asks again.
		before := here.head(t)
		there.publish(t, there.device(t, carol, "TWO"), 1)
		wants(t, there.Follow(ctx), "")
		there.deliver(t, here)
		if got := here.devices(t, alice, carol); !slices.Equal(got, []matrix.DeviceID{"ONE", "TWO"}) || n.times("query") != asked {
			t.Fatalf("devices %v, asked %d times more", got, n.times("query")-asked)
		}
		if got := here.changed(t, alice, before); !slices.Contains(got, carol) {
			t.Errorf("changed %v", got)
		}
		// A lost update is noticed, and the list fetched.
		there.publish(t, there.device(t, carol, "LOST"), 0)
		wants(t, there.Follow(ctx), "")
		there.sent = there.head(t)
		there.publish(t, there.device(t, carol, "THREE"), 0)
		wants(t, there.Follow(ctx), "")
		there.deliver(t, here)
		want := []matrix.DeviceID{"LOST", "ONE", "THREE", "TWO"}
		if got := here.devices(t, alice, carol); !slices.Equal(got, want) || n.times("query") != asked+1 {
			t.Fatalf("devices %v, asked %d times more", got, n.times("query")-asked)
		}
		wants(t, here.Resync(ctx), "")
		if got := here.devices(t, alice, carol); !slices.Equal(got, want) || n.times("query") != asked+1 {
			t.Fatalf("devices %v, asked %d times more", got, n.times("query")-asked)
		}
		// A device that is gone goes.
		write(t, there.db, deleteDevice(carol, "ONE"))
		wants(t, there.Follow(ctx), "")
		there.deliver(t, here)
		if got := here.devices(t, alice, carol); slices.Contains(got, "ONE") {
			t.Errorf("devices %v", got)
		}
		// Whoever shares no room any more is forgotten.
		asked = n.times("query")
		here.member(t, 1, carol, "leave")
		wants(t, here.Follow(ctx), "")
		here.devices(t, alice, carol)
		if n.times("query") != asked+1 {
			t.Error("a list was kept of which nobody tells us")
		}
		here.devices(t, alice, carol)
		wants(t, here.Resync(ctx), "")
		here.devices(t, alice, carol)
		if n.times("query") != asked+3 {
			t.Error("a list was kept again")
		}
	})
}

func TestJoiningTellsTheRoom(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	here, there := n.add("here.example", testkit.OpenDB(t, "sqlite")), n.add("there.example", testkit.OpenDB(t, "sqlite"))
	there.publish(t, there.device(t, carol, "ONE"), 0)
	wants(t, there.Follow(t.Context()), "")
	there.member(t, 1, carol, "join")
	there.member(t, 1, alice, "join")
	here.member(t, 1, carol, "join")
	here.member(t, 1, alice, "join")
	wants(t, there.Follow(t.Context()), "")
	if got := there.deliver(t, here); len(got) == 0 {
		t.Fatal("nobody was told")
	}
	wants(t, here.Resync(t.Context()), "")
	if got := here.devices(t, alice, carol); !slices.Equal(got, []matrix.DeviceID{"ONE"}) || n.times("query") != 0 {
		t.Errorf("devices %v, asked %d times", got, n.times("query"))
	}
}

func TestCrossSigningAcrossServers(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		_, here, there := twoServers(t, db)
		one := there.device(t, carol, "ONE")
		there.publish(t, one, 0)
		here.publish(t, here.device(t, alice, "PHONE"), 0)
		here.devices(t, alice, carol)
		wants(t, here.Resync(ctx), "")
		c, a := newIdentity(t, carol), newIdentity(t, alice)
		wants(t, there.UploadCrossSigning(ctx, carol, c.upload(t), false), "")
		wants(t, here.UploadCrossSigning(ctx, alice, a.upload(t), false), "")
		_, err := there.UploadSignatures(ctx, carol, e2ee.SignatureUpload{
			carol: {"ONE": sign(t, one.fields(), carol, public(c.selfSigning), c.selfSigning)}})
		wants(t, err, "")
		wants(t, there.Follow(ctx), "")
		there.deliver(t, here)
		failures, err := here.UploadSignatures(ctx, alice, e2ee.SignatureUpload{
			carol: {public(c.master): sign(t, c.fields(keys.Master, c.master), alice, public(a.userSigning), a.userSigning)}})
		wants(t, err, "")
		if len(failures) > 0 {
			t.Errorf("failures %+v", failures)
		}
		got, err := here.Query(ctx, alice, query(carol))
		wants(t, err, "")
		if !strings.Contains(string(got.DeviceKeys[carol]["ONE"]), public(c.selfSigning)) ||
			!strings.Contains(string(got.SelfSigningKeys[carol]), public(c.selfSigning)) ||
			!strings.Contains(string(got.MasterKeys[carol]), public(a.userSigning)) || len(got.UserSigningKeys) > 0 {
			t.Errorf("keys %s %s %s", got.DeviceKeys[carol], got.MasterKeys[carol], got.SelfSigningKeys[carol])
		}
		answer, err := here.AnswerQuery(ctx, query(alice, carol))
		wants(t, err, "")
		if len(answer.DeviceKeys) != 1 || answer.DeviceKeys[carol] != nil || strings.Contains(fmt.Sprint(answer), "name of PHONE") {
			t.Errorf("told to another server: %+v", answer)
		}
	})
}

func TestClaimAcrossServers(t *testing.T) {
	t.Parallel()
	n, here, there := twoServers(t, testkit.OpenDB(t, "sqlite"))
	there.publish(t, there.device(t, carol, "ONE"), 1)
	c := claimOf(carol, "ONE", "NONE")
	c.OneTimeKeys["@x:away.example"] = map[matrix.DeviceID]string{"X": "signed_curve25519"}
	got, err := here.Claim(t.Context(), c)
	wants(t, err, "")
	if ids := claimed(got, carol, "ONE"); len(ids) != 1 || len(got.OneTimeKeys) != 1 {
		t.Errorf("claimed %+v", got)
	}
	if len(got.Failures) != 1 || got.Failures["away.example"].Code == "" {
		t.Errorf("failures %+v", got.Failures)
	}
	n.mu.Lock()
	n.down["there.example"] = true
	n.mu.Unlock()
	queried, err := here.Query(t.Context(), alice, query(carol))
	wants(t, err, "")
	if len(queried.Failures) != 1 {
		t.Errorf("failures %+v", queried.Failures)
	}
}

func TestAServerThatIsAwayIsAskedAgainLater(t *testing.T) {
	t.Parallel()
	n, here, there := twoServers(t, testkit.OpenDB(t, "sqlite"))
	there.publish(t, there.device(t, carol, "ONE"), 0)
	here.devices(t, alice, carol) // begins to track her
	n.mu.Lock()
	n.down["there.example"] = true
	n.mu.Unlock()
	for range 5 {
		wants(t, here.Resync(t.Context()), "")
	}
	if got := n.times("devices"); got != 1 {
		t.Errorf("asked %d times, want once", got)
	}
	n.mu.Lock()
	n.down["there.example"] = false
	n.mu.Unlock()
	here.forward(time.Hour)
	wants(t, here.Resync(t.Context()), "")
	asked := n.times("query")
	if got := here.devices(t, alice, carol); len(got) != 1 || n.times("query") != asked {
		t.Errorf("devices %v", got)
	}
}

func TestHostileUpdates(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		_, here, there := twoServers(t, db)
		one := there.device(t, carol, "ONE")
		there.publish(t, one, 0)
		here.devices(t, alice, carol)
		wants(t, here.Resync(t.Context()), "")
		update := func(fields map[string]any) json.RawMessage {
			all := map[string]any{"user_id": carol, "device_id": "EVIL", "stream_id": 1000, "prev_id": []int{1}}
			for k, v := range fields {
				all[k] = v
			}
			raw, err := json.Marshal(all)
			wants(t, err, "")
			return raw
		}
		for name, tc := range map[string]struct {
			content json.RawMessage
			code    string
		}{
			"of another server":   {update(map[string]any{"user_id": "@x:else.example"}), "M_FORBIDDEN"},
			"of ours":             {update(map[string]any{"user_id": alice}), "M_FORBIDDEN"},
			"no user":             {update(map[string]any{"user_id": ""}), "M_INVALID_PARAM"},
			"no device":           {update(map[string]any{"device_id": ""}), "M_INVALID_PARAM"},
			"long device":         {update(map[string]any{"device_id": strings.Repeat("d", 256)}), "M_INVALID_PARAM"},
			"stream of a string":  {update(map[string]any{"stream_id": "1"}), "M_BAD_JSON"},
			"stream beyond 2^53":  {json.RawMessage(`{"user_id":"@carol:there.example","device_id":"D","stream_id":9007199254740993}`), "M_BAD_JSON"},
			"many previous":       {update(map[string]any{"prev_id": make([]int, 101)}), "M_INVALID_PARAM"},
			"deep":                {json.RawMessage(`{"keys":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`), "M_BAD_JSON"},
			"array":               {json.RawMessage(`[]`), "M_BAD_JSON"},
			"in no room with us":  {update(map[string]any{"user_id": "@dave:there.example"}), ""},
			"keys of another":     {update(map[string]any{"keys": one.identity(t)}), ""},
			"keys that are wrong": {update(map[string]any{"keys": 7}), ""},
		} {
			if err := here.ReceiveDeviceList(t.Context(), "there.example", tc.content); tc.code == "" && err != nil || tc.code != "" && !matrix.IsCode(err, tc.code) {
				t.Errorf("%s: %v, want %q", name, err, tc.code)
			}
		}
		read(t, db, func(r *storage.Reader) error {
			list, err := keys.RemoteDevices(t.Context(), r, []matrix.UserID{carol, "@dave:there.example"})
			for _, d := range list {
				if d.ID == "EVIL" && d.JSON != "" {
					t.Errorf("stored %+v", d)
				}
			}
			return err
		})
		wants(t, here.Resync(t.Context()), "")
		if got := here.devices(t, alice, carol); !slices.Equal(got, []matrix.DeviceID{"ONE"}) {
			t.Errorf("devices %v", got)
		}
		for name, content := range map[string]string{
			"of another": `{"user_id":"@x:else.example"}`, "empty": `{}`, "array": `[]`,
			"no master": `{"user_id":"@carol:there.example","self_signing_key":{}}`,
		} {
			if err := here.ReceiveSigningKeys(t.Context(), "there.example", json.RawMessage(content)); err == nil {
				t.Errorf("signing keys %s: accepted", name)
			}
		}
	})
}
