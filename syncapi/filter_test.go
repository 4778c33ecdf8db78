package syncapi_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"beffroi/roomserver"
)

func TestFiltersChooseWhatIsTold(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room, other := s.create(alice, "private_chat", bob), s.create(alice, "private_chat", bob)
		s.join(bob, room)
		s.join(bob, other)
		s.say(alice, room, "1")
		s.say(bob, room, "2")
		for i := range 30 {
			content := json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))
			s.send(roomserver.SendRequest{Sender: alice, Room: room, Type: "org.noise", Content: content})
		}
		s.send(roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message", Content: json.RawMessage(`{"body":"file","url":"mxc://a/b"}`)})
		s.data(bob, "", "org.a", `{}`)
		s.data(bob, "", "org.b", `{}`)
		for filter, want := range map[string][]string{
			`{"room":{"timeline":{"types":["m.room.message"]}}}`:                                              {"1", "2", "file"},
			`{"room":{"timeline":{"types":["m.*message"],"limit":2}}}`:                                        {"2", "file"},
			`{"room":{"timeline":{"types":["*"],"not_types":["org.*","m.room.*"]}}}`:                          {},
			`{"room":{"timeline":{"senders":["@bob:here"]}}}`:                                                 {"join @bob:here", "2"},
			`{"room":{"timeline":{"not_senders":["@alice:here"],"types":["m.room.message"]}}}`:                {"2"},
			`{"room":{"timeline":{"types":["m.room.message"],"contains_url":true}}}`:                          {"file"},
			`{"room":{"timeline":{"types":["m.room.message"],"contains_url":false}}}`:                         {"1", "2"},
			`{"room":{"timeline":{"not_rooms":["` + string(room) + `"]}}}`:                                    {},
			`{"room":{"timeline":{"rooms":["` + string(room) + `"],"types":["m.room.message"]}}}`:             {"1", "2", "file"},
			`{"room":{"timeline":{"types":["m.room.message"],"limit":1,"unread_thread_notifications":true}}}`: {"file"},
		} {
			r := s.client(bob).with(filtered(filter)).sync().Rooms.Join[room]
			if r == nil {
				t.Errorf("%s: no room", filter)
				continue
			}
			if len(want) == 0 && len(r.Timeline.Events) == 0 {
				continue
			}
			wantBodies(t, filter, &r.Timeline.events, want...)
		}
		got := s.client(bob).with(filtered(`{"account_data":{"types":["org.*"],"not_types":["org.b"]},"room":{"rooms":["` +
			string(other) + `"],"state":{"types":["m.room.create"]},"timeline":{"limit":1}}}`)).sync()
		if len(got.AccountData.Events) != 1 || got.AccountData.Events[0].Type != "org.a" {
			t.Errorf("account data %+v", got.AccountData)
		}
		if len(got.Rooms.Join) != 1 || got.Rooms.Join[other] == nil {
			t.Fatalf("rooms %+v", got.Rooms)
		}
		wantBodies(t, "state", got.Rooms.Join[other].State, "m.room.create")
		if got := s.client(bob).with(filtered(`{"room":{"not_rooms":["` + string(other) + `"]}}`)).sync(); got.Rooms.Join[other] != nil {
			t.Error("a room that was left out")
		}
	})
}

func TestFiltersChooseTheForm(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat")
		s.say(alice, room, "hello")
		raw := func(filter string) string {
			t.Helper()
			out, err := s.sync.Sync(t.Context(), s.client(alice).with(filtered(filter)).req)
			if err != nil {
				t.Fatal(err)
			}
			var parsed struct {
				Rooms struct {
					Join map[string]struct {
						Timeline struct{ Events []json.RawMessage }
					}
				}
			}
			if err := json.Unmarshal(out, &parsed); err != nil {
				t.Fatal(err)
			}
			return string(parsed.Rooms.Join[string(room)].Timeline.Events[0])
		}
		const types = `,"room":{"timeline":{"types":["m.room.message"]}}}`
		if got, want := raw(`{"event_fields":["content.body","type","content.no"]`+types), `{"content":{"body":"hello"},"type":"m.room.message"}`; got != want {
			t.Errorf("fields: %s, want %s", got, want)
		}
		if got, want := raw(`{"event_fields":["content","content.body"]`+types), `{"content":{"body":"hello","msgtype":"m.text"}}`; got != want {
			t.Errorf("fields: %s, want %s", got, want)
		}
		var pdu map[string]json.RawMessage
		if err := json.Unmarshal([]byte(raw(`{"event_format":"federation"`+types)), &pdu); err != nil || pdu["hashes"] == nil || pdu["prev_events"] == nil {
			t.Errorf("federation form: %v, %v", pdu, err)
		}
	})
}
