package event_test

import (
	"encoding/json"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

func TestAppendClient(t *testing.T) {
	t.Parallel()
	message := func(p *proto) {}
	state := func(p *proto) { p.Type, p.StateKey = "m.room.topic", new(`a"b`) }
	redaction := func(content string) func(*proto) {
		return func(p *proto) {
			p.Type, p.Redacts, p.Content = "m.room.redaction", "$x:y", json.RawMessage(content)
		}
	}
	tests := map[string]struct {
		version matrix.RoomVersion
		change  func(*proto)
		form    event.ClientForm
		want    string // ID stands for the event ID
	}{
		"message": {"12", message, event.ClientForm{},
			`{"content":{"a":1,"body":"é"},"event_id":"ID","origin_server_ts":1750000000000,"room_id":"!r:domain","sender":"@a:domain","type":"m.room.message"}`},
		"message, v1": {"1", message, event.ClientForm{},
			`{"content":{"a":1,"body":"é"},"event_id":"ID","origin_server_ts":1750000000000,"room_id":"!r:domain","sender":"@a:domain","type":"m.room.message"}`},
		"message in sync": {"12", message, event.ClientForm{OmitRoomID: true, Unsigned: json.RawMessage(`{"age":1}`)},
			`{"content":{"a":1,"body":"é"},"event_id":"ID","origin_server_ts":1750000000000,"sender":"@a:domain","type":"m.room.message","unsigned":{"age":1}}`},
		"state": {"12", state, event.ClientForm{OmitRoomID: true},
			`{"content":{"a":1,"body":"é"},"event_id":"ID","origin_server_ts":1750000000000,"sender":"@a:domain","state_key":"a\"b","type":"m.room.topic"}`},
		"stripped state": {"12", state, event.ClientForm{StrippedState: true, Unsigned: json.RawMessage(`{}`)},
			`{"content":{"a":1,"body":"é"},"sender":"@a:domain","state_key":"a\"b","type":"m.room.topic"}`},
		"redaction, v10": {"10", redaction(`{"reason":"r"}`), event.ClientForm{OmitRoomID: true},
			`{"content":{"redacts":"$x:y","reason":"r"},"event_id":"ID","origin_server_ts":1750000000000,"redacts":"$x:y","sender":"@a:domain","type":"m.room.redaction"}`},
		"redaction without reason, v1": {"1", redaction(`{}`), event.ClientForm{OmitRoomID: true},
			`{"content":{"redacts":"$x:y"},"event_id":"ID","origin_server_ts":1750000000000,"redacts":"$x:y","sender":"@a:domain","type":"m.room.redaction"}`},
		"redaction with both, v10": {"10", redaction(`{"redacts":"$z"}`), event.ClientForm{OmitRoomID: true},
			`{"content":{"redacts":"$z"},"event_id":"ID","origin_server_ts":1750000000000,"redacts":"$x:y","sender":"@a:domain","type":"m.room.redaction"}`},
		"redaction, v11": {"11", redaction(`{"reason":"r"}`), event.ClientForm{OmitRoomID: true},
			`{"content":{"reason":"r","redacts":"$x:y"},"event_id":"ID","origin_server_ts":1750000000000,"redacts":"$x:y","sender":"@a:domain","type":"m.room.redaction"}`},
		"redaction of nothing, v11": {"11", func(p *proto) { p.Type, p.Content = "m.room.redaction", json.RawMessage(`{"redacts":1}`) }, event.ClientForm{OmitRoomID: true},
			`{"content":{"redacts":1},"event_id":"ID","origin_server_ts":1750000000000,"sender":"@a:domain","type":"m.room.redaction"}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := baseProto()
			test.change(&p)
			e := p.build(t, test.version)
			got := string(e.AppendClient([]byte("x"), test.form))
			if want := "x" + strings.Replace(test.want, "ID", string(e.ID()), 1); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if !json.Valid([]byte(got[1:])) {
				t.Error("not JSON")
			}
		})
	}
}
