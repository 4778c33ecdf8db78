package federation_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

const (
	v1 = "/_matrix/federation/v1/"
	v2 = "/_matrix/federation/v2/"
)

// guest is what the server of a pen knows of a room of a host.
type guest struct {
	*pen
	rules *matrix.VersionRules
	room  matrix.RoomID
	user  matrix.UserID
	auth  []matrix.EventID // of what the user sends
	tip   *event.Event
}

// esc escapes segments of a path.
func esc(segments ...string) (path string) {
	for i, s := range segments {
		if i > 0 {
			path += "/"
		}
		path += url.PathEscape(s)
	}
	return path
}

// template asks for the template of a membership and builds the event.
func (p *pen) template(t *testing.T, h *host, call string, room matrix.RoomID, user matrix.UserID) *event.Event {
	t.Helper()
	path := v1 + esc(call, string(room), string(user)) + "?ver=10&ver=11&ver=12"
	answer := p.call(t, h, http.MethodGet, path, nil).wants(t, 200, "")
	rules, err := matrix.RoomVersion(answer.Get("room_version").String()).Rules()
	must(t, err)
	proto, err := event.ParseTemplate([]byte(answer.Get("event").Raw), rules)
	must(t, err)
	proto.Origin = ""
	e, err := proto.Build(rules, p.key)
	must(t, err)
	return e
}

// join brings a user of a pen's server into a room.
func (p *pen) join(t *testing.T, h *host, room matrix.RoomID, user matrix.UserID) *guest {
	t.Helper()
	join := p.template(t, h, "make_join", room, user)
	answer := p.call(t, h, http.MethodPut, v2+esc("send_join", string(room), string(join.ID())), json.RawMessage(join.JSON())).wants(t, 200, "")
	g := &guest{pen: p, rules: join.Rules(), room: room, user: user, tip: join, auth: []matrix.EventID{join.ID()}}
	answer.Get("state").ForEach(func(_, raw gjson.Result) bool {
		e, err := event.ParseUntrusted([]byte(raw.Raw), g.rules)
		must(t, err)
		if e.IsStateKey("m.room.power_levels", "") || e.IsStateKey("m.room.create", "") && !g.rules.RoomIDIsCreateHash {
			g.auth = append(g.auth, e.ID())
		}
		return true
	})
	return g
}

// proto is a message that follows what the guest knows.
func (g *guest) proto(text string) *event.Proto {
	return &event.Proto{RoomID: g.room, Sender: g.user, Type: "m.room.message", Content: json.RawMessage(`{"body":"` + text + `"}`),
		PrevEvents: []matrix.EventID{g.tip.ID()}, AuthEvents: g.auth, Depth: g.tip.Depth() + 1, OriginServerTS: 1_700_000_000_000}
}

// build makes the event of a proto.
func (g *guest) build(t *testing.T, p *event.Proto) *event.Event {
	t.Helper()
	e, err := p.Build(g.rules, g.key)
	must(t, err)
	return e
}

func pdus(events ...*event.Event) (list []json.RawMessage) {
	for _, e := range events {
		list = append(list, e.JSON())
	}
	return list
}
