package clientapi_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

// txn numbers transactions.
var txn atomic.Int64

// relates returns a message that relates to an event.
func relates(relType, target, text string) body {
	return body{"msgtype": "m.text", "body": text, "m.new_content": body{"body": text},
		"m.relates_to": body{"rel_type": relType, "event_id": target}}
}

// family is a room where some events relate to others.
type family struct {
	alice, bob       *person
	room, path       string // path of the version 1 API
	root, first, end string // a thread of three
	edit, reaction   string // an edit of the root, a reaction to the end
	reference        string
}

// says sends an event and returns its ID.
func (p *person) says(t *testing.T, path, typ string, content any) string {
	t.Helper()
	id := p.put(t, fmt.Sprintf("%s/send/%s/%d", path, typ, txn.Add(1)), content).ok(t).Get("event_id").String()
	if id == "" {
		t.Fatal("no event_id")
	}
	return id
}

func newFamily(t *testing.T, h *host) family {
	t.Helper()
	f := family{alice: h.registers(t, "alice"), bob: h.registers(t, "bob")}
	f.room, f.path = f.alice.creates(t, body{"preset": "public_chat"})
	f.bob.post(t, f.path+"/join", nil).ok(t)
	f.root = f.alice.says(t, f.path, "m.room.message", body{"msgtype": "m.text", "body": "root"})
	f.first = f.alice.says(t, f.path, "m.room.message", relates("m.thread", f.root, "one"))
	f.alice.says(t, f.path, "m.room.message", relates("m.thread", f.root, "two"))
	f.end = f.bob.says(t, f.path, "m.room.message", relates("m.thread", f.root, "three"))
	f.alice.says(t, f.path, "m.room.message", relates("m.replace", f.root, "wrong"))
	f.edit = f.alice.says(t, f.path, "m.room.message", relates("m.replace", f.root, "edited"))
	f.bob.says(t, f.path, "m.room.message", relates("m.replace", f.root, "not bob's"))
	f.alice.says(t, f.path, "org.other.type", relates("m.replace", f.root, "another type"))
	f.reaction = f.alice.says(t, f.path, "m.reaction", body{"m.relates_to": body{"rel_type": "m.annotation", "event_id": f.end, "key": "x"}})
	f.reference = f.bob.says(t, f.path, "org.example.poll", body{"m.relates_to": body{"rel_type": "m.reference", "event_id": f.root}})
	return f
}

func (f family) bundle(t *testing.T, p *person, id string) reply {
	t.Helper()
	got := p.get(t, f.path+"/event/"+id).ok(t)
	got.Result = got.Get(`unsigned.m\.relations`)
	return got
}

func (f family) relations(t *testing.T, query string) (ids []string, answer reply) {
	t.Helper()
	answer = f.bob.get(t, "/_matrix/client/v1"+f.path+"/relations/"+query).ok(t)
	for _, e := range answer.Get("chunk").Array() {
		ids = append(ids, e.Get("event_id").String())
	}
	return ids, answer
}

func TestAggregations(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		f := newFamily(t, startOn(t, db))
		got := f.bundle(t, f.bob, f.root)
		if got.Get(`m\.thread.count`).Int() != 3 || got.Get(`m\.thread.latest_event.event_id`).String() != f.end ||
			!got.Get(`m\.thread.current_user_participated`).Bool() {
			t.Errorf("thread: %s", got.Raw)
		}
		if got.Get(`m\.replace.event_id`).String() != f.edit || got.Get(`m\.replace.content.body`).String() != "edited" {
			t.Errorf("edit: %s", got.Raw)
		}
		if chunk := got.Get(`m\.reference.chunk`); chunk.Raw != `[{"event_id":"`+f.reference+`"}]` {
			t.Errorf("references: %s", got.Raw)
		}
		edited := f.bob.says(t, f.path, "m.room.message", relates("m.replace", f.end, "three again"))
		if got := f.bundle(t, f.bob, f.root).Get(`m\.thread.latest_event.unsigned.m\.relations.m\.replace.event_id`); got.String() != edited {
			t.Errorf("the newest event of the thread is without its edit %s: %s", edited, got.Raw)
		}
		for _, id := range []string{f.end, f.edit, f.reference} {
			f.alice.put(t, fmt.Sprintf("%s/redact/%s/r%s", f.path, id, id[1:]), body{}).ok(t)
		}
		got = f.bundle(t, f.bob, f.root)
		if got.Get(`m\.thread.count`).Int() != 2 || got.Get(`m\.thread.latest_event.event_id`).String() == f.end ||
			got.Get(`m\.thread.current_user_participated`).Bool() || got.Get(`m\.reference`).Exists() ||
			got.Get(`m\.replace.content.body`).String() != "wrong" {
			t.Errorf("after the redactions: %s", got.Raw)
		}
		page := f.bob.get(t, f.path+"/messages?dir=b&limit=100").ok(t)
		if n := strings.Count(page.Raw, `"m.thread":{"count":2`); n != 1 {
			t.Errorf("messages tells the thread %d times", n)
		}
	})
}

func TestRelations(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		f := newFamily(t, startOn(t, db))
		all, _ := f.relations(t, f.root)
		thread, _ := f.relations(t, f.root+"/m.thread")
		if len(all) != 8 || len(thread) != 3 || thread[0] != f.end {
			t.Errorf("%d relations, thread %v", len(all), thread)
		}
		if got, _ := f.relations(t, f.root+"/m.replace/org.other.type"); len(got) != 1 {
			t.Errorf("by type: %v", got)
		}
		forth, _ := f.relations(t, f.root+"/m.thread?dir=f")
		slices.Reverse(forth)
		if !slices.Equal(forth, thread) {
			t.Errorf("forth %v, back %v", forth, thread)
		}
		var paged []string
		for from, n := "", 0; n == 0 || from != ""; n++ {
			got, answer := f.relations(t, f.root+"?limit=3&from="+from)
			paged, from = append(paged, got...), answer.Get("next_batch").String()
		}
		if !slices.Equal(paged, all) {
			t.Errorf("pages %v, want %v", paged, all)
		}
		deep, answer := f.relations(t, f.root+"?recurse=true&limit=50")
		if len(deep) != 9 || !slices.Contains(deep, f.reaction) || answer.Get("recursion_depth").Int() != 3 {
			t.Errorf("recurse: %s", answer.Raw)
		}
		if got, _ := f.relations(t, f.root+"/m.annotation?recurse=true"); !slices.Equal(got, []string{f.reaction}) {
			t.Errorf("recurse by relation: %v", got)
		}
		f.alice.put(t, f.path+"/redact/"+f.first+"/r1", body{}).ok(t)
		if got, _ := f.relations(t, f.root+"/m.thread"); len(got) != 2 || slices.Contains(got, f.first) {
			t.Errorf("after a redaction: %v", got)
		}
	})
}

func TestThreads(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		f := newFamily(t, startOn(t, db))
		other := f.alice.says(t, f.path, "m.room.message", body{"msgtype": "m.text", "body": "other"})
		f.alice.says(t, f.path, "m.room.message", relates("m.thread", other, "alone"))
		threads := func(query string) (ids []string, next string) {
			got := f.bob.get(t, "/_matrix/client/v1"+f.path+"/threads"+query).ok(t)
			for _, e := range got.Get("chunk").Array() {
				ids = append(ids, e.Get("event_id").String())
			}
			return ids, got.Get("next_batch").String()
		}
		if got, next := threads(""); !slices.Equal(got, []string{other, f.root}) || next != "" {
			t.Errorf("all: %v %s", got, next)
		}
		if got, _ := threads("?include=participated"); !slices.Equal(got, []string{f.root}) {
			t.Errorf("bob's: %v", got)
		}
		first, next := threads("?limit=1")
		second, end := threads("?limit=1&from=" + next)
		if !slices.Equal(append(first, second...), []string{other, f.root}) || end != "" {
			t.Errorf("pages: %v %v %s", first, second, end)
		}
	})
}

func TestBadRelations(t *testing.T) {
	t.Parallel()
	h := start(t)
	f := newFamily(t, h)
	carol := h.registers(t, "carol")
	private, path := f.alice.creates(t, body{"preset": "private_chat"})
	secret := f.alice.says(t, path, "m.room.message", relates("m.thread", f.root, "of another room"))
	v1 := "/_matrix/client/v1/rooms/"
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"stranger":           {carol.get(t, v1+private+"/relations/"+secret), 404, "M_NOT_FOUND"},
		"stranger's threads": {carol.get(t, v1+private+"/threads"), 403, "M_FORBIDDEN"},
		"unknown event":      {f.bob.get(t, v1+f.room+"/relations/$none"), 404, "M_NOT_FOUND"},
		"other room's event": {f.bob.get(t, v1+f.room+"/relations/"+secret), 404, "M_NOT_FOUND"},
		"bad token":          {f.bob.get(t, v1+f.room+"/relations/"+f.root+"?from=x"), 400, "M_INVALID_PARAM"},
		"bad direction":      {f.bob.get(t, v1+f.room+"/relations/"+f.root+"?dir=x"), 400, "M_INVALID_PARAM"},
		"bad include":        {f.bob.get(t, v1+f.room+"/threads?include=x"), 400, "M_INVALID_PARAM"},
		"thread in a thread": {f.bob.put(t, f.path+"/send/m.room.message/t", relates("m.thread", f.first, "deep")), 400, "M_UNKNOWN"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
	for _, relation := range []any{7, body{}, body{"rel_type": 1, "event_id": f.root}, body{"rel_type": "m.thread", "event_id": "\x00"},
		body{"rel_type": strings.Repeat("r", 300), "event_id": f.root}, body{"rel_type": "m.th\x00read", "event_id": f.root}} {
		f.bob.says(t, f.path, "m.room.message", body{"body": "x", "m.relates_to": relation})
	}
	if got := f.bundle(t, f.bob, f.root); got.Get(`m\.thread.count`).Int() != 3 {
		t.Errorf("something else counts: %s", got.Raw)
	}
}

// TestRelatedFilters reads history by what relates to it.
func TestRelatedFilters(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		f := newFamily(t, startOn(t, db))
		for filter, want := range map[string][]string{
			`{"related_by_rel_types":["m.thread"]}`:                                                {f.root},
			`{"related_by_rel_types":["m.annotation"]}`:                                            {f.end},
			`{"related_by_senders":["` + f.alice.id + `"]}`:                                        {f.end, f.root},
			`{"related_by_rel_types":["m.reference"],"related_by_senders":["` + f.bob.id + `"]}`:   {f.root},
			`{"related_by_rel_types":["m.reference"],"related_by_senders":["` + f.alice.id + `"]}`: nil,
			`{"related_by_rel_types":["m.thread"],"not_senders":["` + f.alice.id + `"]}`:           nil,
		} {
			var got []string
			for _, e := range f.bob.get(t, f.path+"/messages?dir=b&limit=50&filter="+url.QueryEscape(filter)).ok(t).Get("chunk").Array() {
				got = append(got, e.Get("event_id").String())
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", filter, got, want)
			}
		}
		f.bob.get(t, f.path+"/messages?dir=b&filter="+url.QueryEscape(`{"related_by_rel_types":7}`)).wants(t, 400, "M_BAD_JSON")
	})
}

// TestRedactionWithRelations takes back what relates to an event, as far as the
// user may.
func TestRedactionWithRelations(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		f := newFamily(t, startOn(t, db))
		gone := func(id string) bool {
			return f.alice.get(t, f.path+"/event/"+id).ok(t).Get("unsigned.redacted_because").Exists()
		}
		f.bob.put(t, f.path+"/redact/"+f.end+"/1", body{"with_rel_types": []string{"m.annotation"}}).ok(t)
		if !gone(f.end) || gone(f.reaction) {
			t.Error("bob's power is not that of a member")
		}
		f.bob.put(t, f.path+"/redact/"+f.root+"/2", body{"with_rel_types": []string{"*"}}).wants(t, 403, "M_FORBIDDEN")
		f.alice.put(t, f.path+"/redact/"+f.root+"/3", body{"with_rel_types": []string{"m.reference"}, "reason": "all"}).ok(t)
		if !gone(f.root) || !gone(f.reference) || gone(f.first) || gone(f.edit) {
			t.Error("not the references alone")
		}
		f.alice.put(t, f.path+"/redact/"+f.root+"/4", body{"org.matrix.msc3912.with_relations": []string{"*"}}).ok(t)
		if !gone(f.first) || !gone(f.edit) {
			t.Error("not everything")
		}
		f.alice.put(t, f.path+"/redact/"+f.root+"/5", body{"with_rel_types": "x"}).wants(t, 400, "M_BAD_JSON")
	})
}
