package event_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
)

// proto is an event.Proto that a test can build in one line.
type proto struct{ event.Proto }

func baseProto() proto {
	return proto{event.Proto{
		RoomID: "!r:domain", Sender: "@a:domain", Type: "m.room.message", Content: json.RawMessage(`{"body": "é", "a": 1}`),
		PrevEvents: []matrix.EventID{"$p1:x", "$p2:x"}, AuthEvents: []matrix.EventID{"$a1:x"},
		PrevHashes: []string{"h1", ""}, Depth: 7, OriginServerTS: 1750000000000,
	}}
}

func (p proto) build(t testing.TB, version matrix.RoomVersion) *event.Event {
	t.Helper()
	e, err := p.Build(rulesOf(t, version), specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestBuild(t *testing.T) {
	t.Parallel()
	for _, version := range matrix.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			p := baseProto()
			p.StateKey = new("a \"quoted\" key")
			e := p.build(t, version)
			parsed, err := event.ParseUntrusted(e.JSON(), e.Rules())
			if err != nil {
				t.Fatal(err)
			}
			if parsed.HashMismatch() {
				t.Error("our own hash is wrong")
			}
			stored, err := event.ParseStored(e.JSON(), e.ID(), e.Rules())
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range []*event.Event{e, parsed, stored} {
				checkBase(t, got, e.ID())
			}
			format := e.Rules().EventFormat
			if (format == matrix.EventFormatID) != (e.ID().Server() == "domain") {
				t.Errorf("the ID is %s", e.ID())
			}
			if format == matrix.EventFormatID && !strings.Contains(string(e.JSON()), `"prev_events":[["$p1:x",{"sha256":"h1"}],["$p2:x",{}]]`) {
				t.Errorf("references: %s", e.JSON())
			}
			if format != matrix.EventFormatID && !strings.Contains(string(e.JSON()), `"prev_events":["$p1:x","$p2:x"]`) {
				t.Errorf("references: %s", e.JSON())
			}
			if errs := event.VerifySignatures(t.Context(), oneKey{specKey(t).Public()}, []*event.Event{e}); errs[0] != nil {
				t.Error(errs[0])
			}
		})
	}
}

func checkBase(t *testing.T, e *event.Event, id matrix.EventID) {
	t.Helper()
	key, isState := e.StateKey()
	got := []any{e.ID(), e.RoomID(), e.Sender(), e.Type(), key, isState, e.IsState(), string(e.Content()), e.Depth(), e.OriginServerTS(),
		e.PrevEvents(), e.AuthEvents(), e.Redacts(), e.Membership(), e.IsStateKey("m.room.message", key), e.IsStateKey("m.room.message", ""), e.StateTuple()}
	want := []any{id, matrix.RoomID("!r:domain"), matrix.UserID("@a:domain"), "m.room.message", `a "quoted" key`, true, true, `{"a":1,"body":"é"}`,
		int64(7), int64(1750000000000), []matrix.EventID{"$p1:x", "$p2:x"}, []matrix.EventID{"$a1:x"}, matrix.EventID(""), "", true, false,
		event.StateTuple{Type: "m.room.message", StateKey: `a "quoted" key`}}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("field %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func TestBuildCreateOfVersion12(t *testing.T) {
	t.Parallel()
	p := proto{event.Proto{
		Sender: "@a:domain", Type: "m.room.create", StateKey: new(""), Depth: 1, OriginServerTS: 1000000,
		Content: json.RawMessage(`{"room_version":"12","additional_creators":["@b:domain"]}`),
	}}
	e := p.build(t, "12")
	if e.RoomID() != createV12Room || e.ID() != createV12Event {
		t.Errorf("event %s in %s", e.ID(), e.RoomID())
	}
	stored, err := event.ParseStored(e.JSON(), e.ID(), e.Rules())
	if err != nil || stored.RoomID() != createV12Room {
		t.Errorf("stored: %v", err)
	}
	signed, err := e.AddSignature(otherKey(t, "other"))
	if err != nil || signed.RoomID() != createV12Room || signed.ID() != createV12Event {
		t.Errorf("signed again: %v", err)
	}
	client := string(e.AppendClient(nil, event.ClientForm{}))
	if !strings.Contains(client, `"room_id":"`+createV12Room+`"`) {
		t.Errorf("clients see no room_id: %s", client)
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	ids := func(n int) (ids []matrix.EventID) {
		for range n {
			ids = append(ids, "$e")
		}
		return ids
	}
	nested := strings.Repeat("[", canonicaljson.MaxDepth-1) + strings.Repeat("]", canonicaljson.MaxDepth-1)
	tests := map[string]struct {
		version matrix.RoomVersion
		change  func(*proto)
		code    string
	}{
		"content is an array":       {"12", func(p *proto) { p.Content = json.RawMessage(`[]`) }, "M_BAD_JSON"},
		"content is not JSON":       {"12", func(p *proto) { p.Content = json.RawMessage(`{`) }, "M_NOT_JSON"},
		"content closes the event":  {"12", func(p *proto) { p.Content = json.RawMessage(`{},"x":{}`) }, "M_NOT_JSON"},
		"float":                     {"6", func(p *proto) { p.Content = json.RawMessage(`{"a":1.5}`) }, "M_BAD_JSON"},
		"too deep with its event":   {"12", func(p *proto) { p.Content = json.RawMessage(`{"a":` + nested + `}`) }, "M_BAD_JSON"},
		"too large":                 {"12", func(p *proto) { p.Content = json.RawMessage(`{"a":"` + strings.Repeat("x", 65536) + `"}`) }, "M_TOO_LARGE"},
		"too large once signed":     {"12", func(p *proto) { p.Content = json.RawMessage(`{"a":"` + strings.Repeat("x", 65200) + `"}`) }, "M_TOO_LARGE"},
		"type too long":             {"12", func(p *proto) { p.Type = long }, "M_TOO_LARGE"},
		"state key too long":        {"12", func(p *proto) { p.StateKey = &long }, "M_TOO_LARGE"},
		"sender too long":           {"12", func(p *proto) { p.Sender = matrix.UserID("@" + long + ":x") }, "M_TOO_LARGE"},
		"room ID too long":          {"12", func(p *proto) { p.RoomID = matrix.RoomID("!" + long) }, "M_TOO_LARGE"},
		"no sender":                 {"12", func(p *proto) { p.Sender = "" }, "M_BAD_JSON"},
		"no room":                   {"12", func(p *proto) { p.RoomID = "" }, "M_BAD_JSON"},
		"room in create":            {"12", func(p *proto) { p.Type, p.StateKey = "m.room.create", new("") }, "M_BAD_JSON"},
		"too many prev_events":      {"12", func(p *proto) { p.PrevEvents = ids(21) }, "M_BAD_JSON"},
		"too many auth_events":      {"12", func(p *proto) { p.AuthEvents = ids(11) }, "M_BAD_JSON"},
		"empty reference":           {"12", func(p *proto) { p.AuthEvents = []matrix.EventID{""} }, "M_BAD_JSON"},
		"negative depth":            {"12", func(p *proto) { p.Depth = -1 }, "M_BAD_JSON"},
		"depth too great":           {"12", func(p *proto) { p.Depth = 1 << 53 }, "M_BAD_JSON"},
		"invalid UTF-8 in the type": {"12", func(p *proto) { p.Type = long[:254] + "\xff" }, "M_TOO_LARGE"}, // becomes three bytes
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := baseProto()
			test.change(&p)
			if e, err := p.Build(rulesOf(t, test.version), specKey(t)); !matrix.IsCode(err, test.code) {
				t.Errorf("got %v, %v, want %s", e, err, test.code)
			}
		})
	}
}

func TestBuildLimits(t *testing.T) {
	t.Parallel()
	p := baseProto()
	p.Content = json.RawMessage(`{"a":""}`)
	room := event.MaxBytes - len(p.build(t, "12").JSON())
	p.Content = json.RawMessage(`{"a":"` + strings.Repeat("x", room) + `"}`)
	e := p.build(t, "12")
	if len(e.JSON()) != event.MaxBytes {
		t.Fatalf("%d bytes", len(e.JSON()))
	}
	if _, err := event.ParseUntrusted(e.JSON(), e.Rules()); err != nil {
		t.Error(err)
	}
	if _, err := e.AddSignature(otherKey(t, "other")); !matrix.IsCode(err, "M_TOO_LARGE") {
		t.Errorf("a signature too many: %v", err)
	}
	p.Content = json.RawMessage(`{"a":"` + strings.Repeat("x", room+1) + `"}`)
	if _, err := p.Build(e.Rules(), specKey(t)); !matrix.IsCode(err, "M_TOO_LARGE") {
		t.Errorf("a byte too many: %v", err)
	}
	// As many references as there may be, and no content at all.
	p = baseProto()
	p.Content, p.PrevEvents, p.AuthEvents = nil, nil, nil
	for range event.MaxPrevEvents {
		p.PrevEvents = append(p.PrevEvents, "$e")
	}
	for range event.MaxAuthEvents {
		p.AuthEvents = append(p.AuthEvents, "$e")
	}
	if e := p.build(t, "12"); len(e.PrevEvents()) != 20 || len(e.AuthEvents()) != 10 || string(e.Content()) != "{}" {
		t.Errorf("got %s", e.JSON())
	}
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	for _, version := range matrix.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			p := baseProto()
			p.StateKey, p.Origin = new("@a:domain"), "resident"
			rules := rulesOf(t, version)
			raw, err := p.MarshalTemplate(rules)
			if err != nil {
				t.Fatal(err)
			}
			got, err := event.ParseTemplate(raw, rules)
			if err != nil {
				t.Fatal(err)
			}
			want := p.Proto
			want.Content = json.RawMessage(`{"a":1,"body":"é"}`)
			want.PrevHashes, want.AuthHashes = nil, nil
			if rules.EventFormat == matrix.EventFormatID {
				want.PrevHashes, want.AuthHashes = []string{"h1", ""}, []string{""}
			}
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("got %+v, want %+v", *got, want)
			}
		})
	}
}

func TestParseTemplate(t *testing.T) {
	t.Parallel()
	const good = `{"auth_events":[],"content":{},"prev_events":[],"room_id":"!r:x","sender":"@a:x","type":"X"}`
	rules := rulesOf(t, "12")
	if p, err := event.ParseTemplate([]byte(good), rules); err != nil || p.StateKey != nil || p.Depth != 0 || p.Origin != "" {
		t.Errorf("got %+v, %v", p, err)
	}
	long := strings.Repeat("x", 300)
	for name, test := range map[string]struct{ old, new, code string }{
		"not JSON":               {"}", "", "M_NOT_JSON"},
		"not an object":          {good, "[]", "M_BAD_JSON"},
		"no content":             {`"content":{},`, ``, "M_BAD_JSON"},
		"content is no object":   {`"content":{}`, `"content":1`, "M_BAD_JSON"},
		"no prev_events":         {`"prev_events":[],`, ``, "M_BAD_JSON"},
		"no auth_events":         {`"auth_events":[],`, ``, "M_BAD_JSON"},
		"no room":                {`"room_id":"!r:x",`, ``, "M_BAD_JSON"},
		"bad room":               {`"!r:x"`, `"r:x"`, "M_BAD_JSON"},
		"no sender":              {`"sender":"@a:x",`, ``, "M_BAD_JSON"},
		"bad sender":             {`"@a:x"`, `"a"`, "M_BAD_JSON"},
		"no type":                {`,"type":"X"`, ``, "M_BAD_JSON"},
		"state_key is no string": {`"type"`, `"state_key":1,"type"`, "M_BAD_JSON"},
		"type too long":          {`"X"`, `"` + long + `"`, "M_TOO_LARGE"},
		"depth is a string":      {`"prev`, `"depth":"1","prev`, "M_BAD_JSON"},
		"negative depth":         {`"prev`, `"depth":-1,"prev`, "M_BAD_JSON"},
		"negative time":          {`"prev`, `"origin_server_ts":-1,"prev`, "M_BAD_JSON"},
		"too large":              {`{}`, `{"a":"` + strings.Repeat("x", event.MaxBytes) + `"}`, "M_TOO_LARGE"},
		"far too large":          {`{}`, `{"a":"` + strings.Repeat("x", 4*event.MaxBytes) + `"}`, "M_TOO_LARGE"},
	} {
		raw := []byte(strings.Replace(good, test.old, test.new, -1))
		if name == "not JSON" {
			raw = []byte(good[:len(good)-1])
		}
		if p, err := event.ParseTemplate(raw, rules); !matrix.IsCode(err, test.code) {
			t.Errorf("%s: got %+v, %v, want %s", name, p, err, test.code)
		}
	}
	p := baseProto()
	p.Content = json.RawMessage(`[`)
	if _, err := p.MarshalTemplate(rules); !matrix.IsCode(err, "M_NOT_JSON") {
		t.Errorf("marshal: %v", err)
	}
	p.Content = json.RawMessage(`{"a":"` + strings.Repeat("x", event.MaxBytes) + `"}`)
	if _, err := p.MarshalTemplate(rules); !matrix.IsCode(err, "M_TOO_LARGE") {
		t.Errorf("marshal: %v", err)
	}
}
