package clientapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

func TestCreateRoom(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	_, room := alice.creates(t, body{
		"preset": "public_chat", "visibility": "public", "room_alias_name": "pub", "name": "Pub", "topic": "Beer", "room_version": "11",
		"creation_content": body{"m.federate": false, "type": "org.example.pub"}, "invite": []string{bob.id}, "is_direct": true,
		"initial_state":                []any{body{"type": "org.example.a", "content": body{"x": 1}}, body{"type": "org.example.a", "state_key": "k", "content": body{}}},
		"power_level_content_override": body{"events_default": 10},
	})
	for path, want := range map[string]string{
		"m.room.name": `{"name":"Pub"}`, "m.room.join_rules": `{"join_rule":"public"}`, "org.example.a": `{"x":1}`, "org.example.a/": `{"x":1}`,
		"org.example.a/k": `{}`, "m.room.canonical_alias": `{"alias":"#pub:here.example"}`,
	} {
		if got := alice.get(t, room+"/state/"+path).ok(t); got.Raw != want {
			t.Errorf("%s is %s, want %s", path, got.Raw, want)
		}
	}
	create := alice.get(t, room+"/state/m.room.create?format=event").ok(t)
	if create.Get("content.room_version").String() != "11" || create.Get(`content.m\.federate`).Bool() || create.Get("sender").String() != alice.id {
		t.Error(create.Raw)
	}
	if got := alice.get(t, room+"/state/m.room.power_levels").ok(t); got.Get("events_default").Int() != 10 {
		t.Error(got.Raw)
	}
	if got := alice.get(t, room+"/state/m.room.member/"+bob.id).ok(t); got.Get("membership").String() != "invite" || !got.Get("is_direct").Bool() {
		t.Error(got.Raw)
	}
	for name, tc := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"empty":            {"", 200, ""},
		"taken alias":      {`{"room_alias_name":"pub"}`, 400, "M_ROOM_IN_USE"},
		"bad alias":        {`{"room_alias_name":"` + strings.Repeat("a", 300) + `"}`, 400, "M_INVALID_PARAM"},
		"odd version":      {`{"room_version":"99"}`, 400, "M_UNSUPPORTED_ROOM_VERSION"},
		"odd preset":       {`{"preset":"x"}`, 400, "M_INVALID_PARAM"},
		"odd visibility":   {`{"visibility":"x"}`, 400, "M_INVALID_PARAM"},
		"odd invite":       {`{"invite":["bob"]}`, 400, "M_INVALID_PARAM"},
		"no content":       {`{"initial_state":[{"type":"x"}]}`, 400, "M_BAD_JSON"},
		"wrong type":       {`{"name":7}`, 400, "M_BAD_JSON"},
		"no object":        {`[]`, 400, "M_BAD_JSON"},
		"no JSON":          {`{`, 400, "M_NOT_JSON"},
		"nulls":            {`{"creation_content":null,"power_level_content_override":null,"initial_state":null}`, 200, ""},
		"remote is away":   {`{"invite":["@eve:away.example"]}`, 200, ""},
		"too many":         {`{"invite":["` + strings.Repeat(`@a:b","`, 100) + `@a:b"]}`, 400, "M_INVALID_PARAM"},
		"e-mail":           {`{"invite_3pid":[{"medium":"email","address":"a@b.example","id_server":"x","id_access_token":"x"}]}`, 403, "M_THREEPID_DENIED"},
		"phone":            {`{"invite_3pid":[{"medium":"msisdn","address":"1","id_server":"x","id_access_token":"x"}]}`, 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"},
		"powerless":        {`{"room_version":"10","name":"x","power_level_content_override":{"users":{"` + alice.id + `":0}}}`, 400, "M_INVALID_ROOM_STATE"},
		"no room versions": {`{"room_version":""}`, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice.post(t, "/createRoom", tc.body).wants(t, tc.status, tc.code)
		})
	}
}

func TestMemberships(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob, carol := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol")
	bob.put(t, "/profile/"+bob.id+"/displayname", body{"displayname": "Bob"}).ok(t)
	id, room := alice.creates(t, body{"preset": "public_chat"})
	about := func(who *person) gjson.Result {
		return alice.get(t, room+"/state/m.room.member/"+who.id).ok(t).Result
	}
	if got := bob.post(t, room+"/join", body{"reason": "why not"}).ok(t); got.Get("room_id").String() != id {
		t.Error(got.Raw)
	}
	if got := about(bob); got.Get("displayname").String() != "Bob" || got.Get("reason").String() != "why not" {
		t.Error(got.Raw)
	}
	bob.post(t, room+"/kick", body{"user_id": alice.id}).wants(t, 403, "M_FORBIDDEN")
	alice.post(t, room+"/kick", body{"user_id": bob.id, "reason": "out"}).ok(t)
	if got := about(bob); got.Get("membership").String() != "leave" || got.Get("reason").String() != "out" {
		t.Error(got.Raw)
	}
	alice.post(t, room+"/ban", body{"user_id": bob.id}).ok(t)
	bob.post(t, "/join/"+url.PathEscape(id)+"?via=here.example", body{}).wants(t, 403, "M_FORBIDDEN")
	alice.post(t, room+"/invite", body{"user_id": bob.id}).wants(t, 403, "M_FORBIDDEN")
	alice.post(t, room+"/unban", body{"user_id": bob.id}).ok(t)
	alice.post(t, room+"/unban", body{"user_id": bob.id}).wants(t, 403, "M_FORBIDDEN")
	alice.post(t, room+"/invite", body{"user_id": bob.id, "reason": "sorry"}).ok(t)
	if got := about(bob); got.Get("displayname").String() != "Bob" || got.Get("membership").String() != "invite" || got.Get("reason").String() != "sorry" {
		t.Error(got.Raw)
	}
	bob.post(t, room+"/leave", nil).ok(t)
	bob.post(t, room+"/leave", nil).ok(t)
	carol.put(t, room+"/state/m.room.member/"+carol.id, body{"membership": "join", "displayname": "C"}).ok(t)
	own := carol.put(t, room+"/state/m.room.member/"+carol.id, body{"membership": "join", "displayname": "D"}).ok(t)
	if got := alice.get(t, room+"/state/m.room.member/"+carol.id+"?format=event").ok(t); got.Get("event_id").String() != own.Get("event_id").String() || got.Get("content.displayname").String() != "D" {
		t.Error(got.Raw)
	}
	carol.post(t, room+"/leave", nil).ok(t)
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"no user":          {alice.post(t, room+"/invite", body{}), 400, "M_MISSING_PARAM"},
		"odd user":         {alice.post(t, room+"/ban", body{"user_id": "bob"}), 400, "M_INVALID_PARAM"},
		"unknown room":     {alice.post(t, "/rooms/!nowhere:here.example/invite", body{"user_id": bob.id}), 404, "M_NOT_FOUND"},
		"join unknown":     {alice.post(t, "/rooms/!nowhere:here.example/join", body{}), 404, "M_NOT_FOUND"},
		"join unknown way": {alice.post(t, "/join/!nowhere:away.example?via=away.example", body{}), 502, "M_UNKNOWN"},
		"unknown alias":    {alice.post(t, "/join/%23nowhere:here.example", body{}), 404, "M_NOT_FOUND"},
		"odd via":          {alice.post(t, "/join/!nowhere:here.example?via=%2F", body{}), 400, "M_INVALID_PARAM"},
		"neither":          {alice.post(t, "/join/nowhere", body{}), 400, "M_INVALID_PARAM"},
		"state of another": {carol.put(t, room+"/state/m.room.member/"+bob.id, body{"membership": "join"}), 403, "M_FORBIDDEN"},
		"state, server":    {alice.put(t, room+"/state/m.room.member/@eve:away.example", body{"membership": "invite"}), 502, "M_UNKNOWN"},
		"state, no user":   {alice.put(t, room+"/state/m.room.member/eve", body{"membership": "invite"}), 400, "M_INVALID_PARAM"},
		"knock on public":  {carol.post(t, "/knock/"+url.PathEscape(id), body{}), 403, "M_FORBIDDEN"},
		"3pid":             {alice.post(t, room+"/invite", body{"medium": "email", "address": "a@b.example", "id_server": "x", "id_access_token": "y"}), 403, "M_THREEPID_DENIED"},
		"forget joined":    {alice.post(t, room+"/forget", nil), 400, "M_UNKNOWN"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
}

func TestKnock(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	id, room := alice.creates(t, body{"initial_state": []any{body{"type": "m.room.join_rules", "content": body{"join_rule": "knock"}}}})
	if got := bob.post(t, "/knock/"+url.PathEscape(id), body{"reason": "please"}).ok(t); got.Get("room_id").String() != id {
		t.Error(got.Raw)
	}
	if got := alice.get(t, room+"/members?membership=knock").ok(t); got.Get("chunk.0.content.reason").String() != "please" {
		t.Error(got.Raw)
	}
	alice.post(t, room+"/invite", body{"user_id": bob.id}).ok(t)
	bob.post(t, room+"/join", nil).ok(t)
}

func TestState(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	_, room := alice.creates(t, body{"preset": "public_chat"})
	bob.post(t, room+"/join", nil).ok(t)
	first := alice.put(t, room+"/state/m.room.topic", body{"topic": "a"}).ok(t).Get("event_id").String()
	if again := alice.put(t, room+"/state/m.room.topic/", body{"topic": "a"}).ok(t).Get("event_id").String(); again != first {
		t.Error("the same state twice is two events")
	}
	alice.put(t, room+"/state/org.example.x/a%2Fb%20c", body{"x": 1}).ok(t)
	if got := bob.get(t, room+"/state/org.example.x/a%2Fb%20c").ok(t); got.Raw != `{"x":1}` {
		t.Error(got.Raw)
	}
	if got := bob.get(t, room+"/state").ok(t); !got.IsArray() || got.Get(`#(type=="m.room.topic").content.topic`).String() != "a" {
		t.Error(got.Raw)
	}
	if got := bob.get(t, room+"/joined_members").ok(t); len(got.Get("joined").Map()) != 2 {
		t.Error(got.Raw)
	}
	if got := bob.get(t, room+"/members?not_membership=leave").ok(t); len(got.Get("chunk").Array()) != 2 {
		t.Error(got.Raw)
	}
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"no power":         {bob.put(t, room+"/state/m.room.topic", body{"topic": "b"}), 403, "M_FORBIDDEN"},
		"absent":           {bob.get(t, room+"/state/m.room.avatar"), 404, "M_NOT_FOUND"},
		"no body":          {alice.put(t, room+"/state/m.room.topic", ""), 400, "M_NOT_JSON"},
		"float":            {alice.put(t, room+"/state/m.room.topic", `{"a":1.5}`), 400, "M_BAD_JSON"},
		"big number":       {alice.put(t, room+"/state/m.room.topic", `{"a":9007199254740993}`), 400, "M_BAD_JSON"},
		"too large":        {alice.put(t, room+"/state/m.room.topic", body{"topic": strings.Repeat("a", 65_537)}), 413, "M_TOO_LARGE"},
		"long type":        {alice.put(t, room+"/state/"+strings.Repeat("a", 256), body{}), 413, "M_TOO_LARGE"},
		"second create":    {alice.put(t, room+"/state/m.room.create", body{}), 400, "M_BAD_STATE"},
		"foreign alias":    {alice.put(t, room+"/state/m.room.canonical_alias", body{"alias": "#nowhere:here.example"}), 400, "M_BAD_ALIAS"},
		"unknown room":     {alice.put(t, "/rooms/!nowhere:here.example/state/a", body{}), 404, "M_NOT_FOUND"},
		"read unknown":     {alice.get(t, "/rooms/!nowhere:here.example/state"), 403, "M_FORBIDDEN"},
		"odd membership":   {alice.get(t, room+"/members?membership=x"), 400, "M_INVALID_PARAM"},
		"odd at":           {alice.get(t, room+"/members?at=x"), 400, "M_INVALID_PARAM"},
		"odd format":       {alice.get(t, room+"/state/m.room.create?format=x"), 400, "M_INVALID_PARAM"},
		"event, not there": {alice.get(t, room+"/event/$nothing"), 404, "M_NOT_FOUND"},
		"event, no ID":     {alice.get(t, room+"/event/nothing"), 400, "M_INVALID_PARAM"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	_, room := alice.creates(t, body{})
	var events []string
	for _, text := range []string{"a", "b", "c", "d"} {
		events = append(events, alice.put(t, room+"/send/m.room.message/"+text, body{"body": text}).ok(t).Get("event_id").String())
	}
	newest := alice.get(t, room+"/messages?dir=b&limit=2").ok(t)
	if newest.Get("chunk.0.content.body").String() != "d" || newest.Get("chunk.1.content.body").String() != "c" {
		t.Error(newest.Raw)
	}
	older := alice.get(t, room+"/messages?dir=b&limit=2&from="+newest.Get("end").String()).ok(t)
	if older.Get("chunk.0.content.body").String() != "b" || older.Get("chunk.1.content.body").String() != "a" {
		t.Error(older.Raw)
	}
	forth := alice.get(t, room+"/messages?dir=f&limit=3&from="+older.Get("end").String()).ok(t)
	if forth.Get("chunk.0.content.body").String() != "a" || forth.Get("chunk.2.content.body").String() != "c" {
		t.Error(forth.Raw)
	}
	filter := url.QueryEscape(`{"types":["m.room.name"]}`)
	if got := alice.get(t, room+"/messages?dir=b&filter="+filter).ok(t); got.Get("chunk.#").Int() != 0 {
		t.Error(got.Raw)
	}
	around := alice.get(t, room+"/context/"+events[1]+"?limit=2").ok(t)
	if around.Get("event.content.body").String() != "b" || around.Get("events_before.0.content.body").String() != "a" || around.Get("events_after.0.content.body").String() != "c" {
		t.Error(around.Raw)
	}
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"stranger":      {bob.get(t, room+"/messages?dir=b"), 403, "M_FORBIDDEN"},
		"stranger, one": {bob.get(t, room+"/event/"+events[0]), 404, "M_NOT_FOUND"},
		"context":       {bob.get(t, room+"/context/"+events[0]), 403, "M_FORBIDDEN"},
		"no direction":  {alice.get(t, room+"/messages"), 400, "M_MISSING_PARAM"},
		"direction":     {alice.get(t, room+"/messages?dir=up"), 400, "M_INVALID_PARAM"},
		"token":         {alice.get(t, room+"/messages?dir=b&from=x"), 400, "M_INVALID_PARAM"},
		"filter":        {alice.get(t, room+"/messages?dir=b&filter=x"), 400, "M_NOT_JSON"},
		"limit":         {alice.get(t, room+"/messages?dir=b&limit=-1"), 400, "M_INVALID_PARAM"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
}

func TestSendRefusesWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	_, room := alice.creates(t, body{})
	other, _ := bob.creates(t, body{})
	send := room + "/send/m.room.message/"
	sent := alice.put(t, send+"ok", body{"body": "x"}).ok(t).Get("event_id").String()
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"no body":          {alice.put(t, send+"1", ""), 400, "M_NOT_JSON"},
		"array":            {alice.put(t, send+"2", "[]"), 400, "M_BAD_JSON"},
		"NaN":              {alice.put(t, send+"3", `{"a":NaN}`), 400, "M_NOT_JSON"},
		"float":            {alice.put(t, send+"4", `{"a":0.5}`), 400, "M_BAD_JSON"},
		"duplicate":        {alice.put(t, send+"5", `{"a":1,"a":2}`), 400, "M_BAD_JSON"},
		"65,537 bytes":     {alice.put(t, send+"6", body{"body": strings.Repeat("a", 65_537)}), 413, "M_TOO_LARGE"},
		"not a member":     {bob.put(t, send+"7", body{}), 403, "M_FORBIDDEN"},
		"long txn":         {alice.put(t, send+strings.Repeat("a", 256), body{}), 400, "M_INVALID_PARAM"},
		"create":           {alice.put(t, room+"/send/m.room.create/8", body{}), 400, "M_BAD_STATE"},
		"redacts nothing":  {alice.put(t, room+"/send/m.room.redaction/9", body{}), 400, "M_INVALID_PARAM"},
		"redact no ID":     {alice.put(t, room+"/redact/x/10", body{}), 400, "M_INVALID_PARAM"},
		"redact elsewhere": {bob.put(t, "/rooms/"+other+"/redact/"+sent+"/11", body{}), 200, ""}, // without an effect
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %.300s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
	if got := alice.get(t, room+"/event/"+sent).ok(t); got.Get("content.body").String() != "x" {
		t.Errorf("redacted from another room: %s", got.Raw)
	}
}

func TestReceiptsAndTyping(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	id, room := alice.creates(t, body{})
	event := alice.put(t, room+"/send/m.room.message/1", body{"body": "x"}).ok(t).Get("event_id").String()
	alice.post(t, room+"/read_markers", body{"m.fully_read": event, "m.read": event, "m.read.private": event}).ok(t)
	alice.post(t, room+"/receipt/m.read/"+event, body{"thread_id": "main"}).ok(t)
	alice.post(t, room+"/receipt/m.fully_read/"+event, nil).ok(t)
	if got := alice.get(t, "/user/"+alice.id+"/rooms/"+id+"/account_data/m.fully_read").ok(t); got.Get("event_id").String() != event {
		t.Error(got.Raw)
	}
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"odd type":         {alice.post(t, room+"/receipt/m.seen/"+event, nil), 400, "M_INVALID_PARAM"},
		"odd thread":       {alice.post(t, room+"/receipt/m.read/"+event, body{"thread_id": "x"}), 400, "M_INVALID_PARAM"},
		"fully in thread":  {alice.post(t, room+"/receipt/m.fully_read/"+event, body{"thread_id": "main"}), 400, "M_INVALID_PARAM"},
		"unknown":          {alice.post(t, room+"/receipt/m.read/$nothing", nil), 404, "M_NOT_FOUND"},
		"stranger":         {bob.post(t, room+"/receipt/m.read/"+event, nil), 403, "M_FORBIDDEN"},
		"stranger, marker": {bob.post(t, room+"/read_markers", body{"m.fully_read": event}), 404, "M_NOT_FOUND"},
		"no event":         {alice.post(t, room+"/read_markers", body{"m.read": "x"}), 400, "M_INVALID_PARAM"},
		"typing for bob":   {alice.put(t, room+"/typing/"+bob.id, body{"typing": true}), 403, "M_FORBIDDEN"},
		"typing stranger":  {bob.put(t, room+"/typing/"+bob.id, body{"typing": true}), 403, "M_FORBIDDEN"},
		"typing what":      {alice.put(t, room+"/typing/"+alice.id, body{}), 400, "M_MISSING_PARAM"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
}

func TestAliasesAndDirectory(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	id, room := alice.creates(t, body{"name": "Pub"})
	const alias = "/directory/room/%23pub:here.example"
	alice.put(t, alias, body{"room_id": id}).ok(t)
	if got := h.call(t, "", "GET", alias, nil).ok(t); got.Get("room_id").String() != id || got.Get("servers.0").String() != "here.example" {
		t.Error(got.Raw)
	}
	if got := alice.get(t, room+"/aliases").ok(t); got.Raw != `{"aliases":["#pub:here.example"]}` {
		t.Error(got.Raw)
	}
	if got := alice.get(t, "/publicRooms").ok(t); got.Raw != `{"chunk":[],"total_room_count_estimate":0}` {
		t.Error(got.Raw)
	}
	alice.put(t, "/directory/list/room/"+id, body{"visibility": "public"}).ok(t)
	if got := bob.get(t, "/directory/list/room/"+id).ok(t); got.Get("visibility").String() != "public" {
		t.Error(got.Raw)
	}
	for name, got := range map[string]reply{
		"GET": bob.get(t, "/publicRooms?limit=10"), "POST": bob.post(t, "/publicRooms", body{"filter": body{"generic_search_term": "PUB"}}),
		"own name": bob.get(t, "/publicRooms?server=here.example"), "anonymous": h.call(t, "", "GET", "/publicRooms", nil),
	} {
		if got.ok(t).Get("chunk.0.room_id").String() != id || got.Get("chunk.0.num_joined_members").Int() != 1 {
			t.Errorf("%s: %s", name, got.Raw)
		}
	}
	if got := bob.post(t, "/publicRooms", body{"filter": body{"generic_search_term": "x"}}).ok(t); got.Get("chunk.#").Int() != 0 {
		t.Error(got.Raw)
	}
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"taken":          {alice.put(t, alias, body{"room_id": id}), 409, "M_UNKNOWN"},
		"elsewhere":      {alice.put(t, "/directory/room/%23pub:away.example", body{"room_id": id}), 400, "M_INVALID_PARAM"},
		"no room":        {alice.put(t, "/directory/room/%23x:here.example", body{}), 400, "M_MISSING_PARAM"},
		"not a member":   {bob.put(t, "/directory/room/%23x:here.example", body{"room_id": id}), 403, "M_FORBIDDEN"},
		"not theirs":     {bob.delete(t, alias), 403, "M_FORBIDDEN"},
		"unknown":        {bob.get(t, "/directory/room/%23nothing:here.example"), 404, "M_NOT_FOUND"},
		"no alias":       {bob.get(t, "/directory/room/pub"), 400, "M_INVALID_PARAM"},
		"server away":    {bob.get(t, "/directory/room/%23pub:away.example"), 502, "M_UNKNOWN"},
		"list away":      {bob.get(t, "/publicRooms?server=away.example"), 502, "M_UNKNOWN"},
		"unlisted":       {bob.get(t, "/directory/list/room/!nowhere:here.example"), 404, "M_NOT_FOUND"},
		"publish":        {bob.put(t, "/directory/list/room/"+id, body{"visibility": "private"}), 403, "M_FORBIDDEN"},
		"odd visibility": {alice.put(t, "/directory/list/room/"+id, body{"visibility": "x"}), 400, "M_INVALID_PARAM"},
		"odd since":      {bob.get(t, "/publicRooms?since=x"), 400, "M_INVALID_PARAM"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
	alice.delete(t, alias).ok(t)
	bob.get(t, alias).wants(t, http.StatusNotFound, "M_NOT_FOUND")
}
