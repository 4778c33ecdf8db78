package clientapi_test

import (
	"net/http"
	"slices"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

func (p *person) finds(t *testing.T, events body) reply {
	t.Helper()
	path := "/search"
	if from, ok := events["from"].(string); ok {
		path += "?next_batch=" + from
		delete(events, "from")
	}
	got := p.post(t, path, body{"search_categories": body{"room_events": events}}).ok(t)
	got.Result = got.Get("search_categories.room_events")
	return got
}

// found are the IDs of the results.
func found(r reply) (ids []string) {
	for _, id := range r.Get("results.#.result.event_id").Array() {
		ids = append(ids, id.String())
	}
	return ids
}

func TestSearchMessages(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob, eve := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "eve")
		alice.put(t, "/profile/"+alice.id+"/displayname", body{"displayname": "Alice"}).ok(t)
		id, path := alice.creates(t, body{"preset": "private_chat", "invite": []string{bob.id}, "topic": "The yearly Déjeuner"})
		bob.post(t, path+"/join", body{}).ok(t)
		say := func(p *person, text string) string { return p.tells(t, path, body{"msgtype": "m.text", "body": text}) }
		first := say(alice, "le déjeuner est prêt")
		second := say(bob, "Quel DEJEUNER? Encore un dejeuner!")
		say(alice, "rien à voir")
		third := say(alice, "déjeuner' OR \"1\" NEAR(x) *")

		recent := bob.finds(t, body{"search_term": "dejeuner", "order_by": "recent", "keys": []string{"content.body"}})
		if got := found(recent); !slices.Equal(got, []string{third, second, first}) || recent.Get("count").Int() != 3 ||
			recent.Get("highlights.0").String() != "dejeuner" || recent.Get("next_batch").Exists() {
			t.Fatalf("recent: %s", recent.Raw)
		}
		if got := bob.finds(t, body{"search_term": "déjeuner"}); len(found(got)) != 4 { // with the topic, by rank
			t.Errorf("by rank: %s", got.Raw)
		}
		if got := bob.finds(t, body{"search_term": "yearly", "keys": []string{"content.topic"}}); len(found(got)) != 1 {
			t.Errorf("topic: %s", got.Raw)
		}
		if got := found(bob.finds(t, body{"search_term": "prêt déjeuner"})); !slices.Equal(got, []string{first}) {
			t.Errorf("two words: %v", got)
		}
		for _, term := range []string{"", "' OR 1=1 --", "\"", "body:*", "NOT", "r1"} {
			bob.finds(t, body{"search_term": term})
		}
		if got := eve.finds(t, body{"search_term": "déjeuner"}); got.Get("results").Raw != "[]" || got.Get("count").Int() != 0 {
			t.Errorf("stranger: %s", got.Raw)
		}
		if got := bob.finds(t, body{"search_term": "dejeuner", "filter": body{"senders": []string{bob.id}}}); !slices.Equal(found(got), []string{second}) {
			t.Errorf("of bob: %s", got.Raw)
		}
		if got := bob.finds(t, body{"search_term": "dejeuner", "filter": body{"rooms": []string{"!other:here.example"}}}); len(found(got)) != 0 {
			t.Errorf("in another room: %s", got.Raw)
		}
		for _, order := range []string{"rank", "recent"} {
			var all []string
			from := ""
			for range 5 {
				asks := body{"search_term": "dejeuner", "order_by": order, "filter": body{"limit": 1}}
				if from != "" {
					asks["from"] = from
				}
				page := bob.finds(t, asks)
				all = append(all, found(page)...)
				if from = page.Get("next_batch").String(); from == "" {
					break
				}
			}
			slices.Sort(all)
			if len(slices.Compact(all)) != 4 || from != "" {
				t.Errorf("pages by %s: %v", order, all)
			}
		}
		around := bob.finds(t, body{"search_term": "quel", "include_state": true, "groupings": body{"group_by": []any{body{"key": "room_id"}, body{"key": "sender"}}},
			"event_context": body{"before_limit": 1, "after_limit": 1, "include_profile": true}})
		in := around.Get("results.0.context")
		if in.Get("events_before.0.event_id").String() != first || in.Get("events_after.#").Int() != 1 || in.Get("start").String() == "" ||
			in.Get("profile_info").Map()[alice.id].Get("displayname").String() != "Alice" {
			t.Errorf("context: %s", in.Raw)
		}
		if len(around.Get("state").Map()[id].Array()) == 0 || around.Get("groups.room_id").Map()[id].Get("results.0").String() != second ||
			!around.Get("groups.sender").Map()[bob.id].Exists() {
			t.Errorf("state and groups: %s", around.Raw)
		}

		alice.put(t, path+"/redact/"+first+"/s1", body{}).ok(t)
		if got := found(bob.finds(t, body{"search_term": "prêt"})); len(got) != 0 {
			t.Errorf("a redacted message is found")
		}
		bob.post(t, path+"/leave", body{}).ok(t)
		say(alice, "secret déjeuner")
		if got := bob.finds(t, body{"search_term": "secret"}); len(found(got)) != 0 {
			t.Errorf("after leaving: %s", got.Raw)
		}
		if got := bob.finds(t, body{"search_term": "quel"}); !slices.Equal(found(got), []string{second}) {
			t.Errorf("what was said before leaving: %s", got.Raw)
		}

		alice.put(t, path+"/state/m.room.encryption", body{"algorithm": "m.megolm.v1.aes-sha2"}).ok(t)
		say(alice, "plaintext in an encrypted room")
		if got := alice.finds(t, body{"search_term": "plaintext"}); len(found(got)) != 0 {
			t.Errorf("encrypted: %s", got.Raw)
		}
	})
}

// TestSearchCountsWhatIsSeen asks by the count for what was said without the
// one who asks.
func TestSearchCountsWhatIsSeen(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	_, path := alice.creates(t, body{"preset": "private_chat", "invite": []string{bob.id}})
	bob.post(t, path+"/join", body{}).ok(t)
	alice.tells(t, path, body{"msgtype": "m.text", "body": "merger in spring"})
	bob.post(t, path+"/leave", body{}).ok(t)
	alice.tells(t, path, body{"msgtype": "m.text", "body": "merger cancelled"})
	for term, want := range map[string]int64{"merger": 1, "cancelled": 0} {
		if got := bob.finds(t, body{"search_term": term}); got.Get("count").Int() != want || int64(len(found(got))) != want {
			t.Errorf("%s: %s, want %d", term, got.Raw, want)
		}
	}
}

func TestSearchRefuses(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	events := func(b body) body { return body{"search_categories": body{"room_events": b}} }
	for name, c := range map[string]struct {
		path string
		body any
		code string
	}{
		"no categories":      {"/search", body{}, "M_MISSING_PARAM"},
		"no term":            {"/search", events(body{}), "M_MISSING_PARAM"},
		"term of 1":          {"/search", events(body{"search_term": 1}), "M_BAD_JSON"},
		"order":              {"/search", events(body{"search_term": "x", "order_by": "luck"}), "M_INVALID_PARAM"},
		"key":                {"/search", events(body{"search_term": "x", "keys": []string{"content.secret"}}), "M_INVALID_PARAM"},
		"group":              {"/search", events(body{"search_term": "x", "groupings": body{"group_by": []any{body{"key": "x"}}}}), "M_INVALID_PARAM"},
		"next_batch":         {"/search?next_batch=x", events(body{"search_term": "x"}), "M_INVALID_PARAM"},
		"of the other order": {"/search?next_batch=n5", events(body{"search_term": "x"}), "M_INVALID_PARAM"},
		"people: no term":    {"/user_directory/search", body{}, "M_MISSING_PARAM"},
		"people: limit":      {"/user_directory/search", body{"search_term": "x", "limit": -1}, "M_INVALID_PARAM"},
	} {
		if got := alice.post(t, c.path, c.body); got.status != http.StatusBadRequest || got.Get("errcode").String() != c.code {
			t.Errorf("%s: %d %s", name, got.status, got.Raw)
		}
	}
}

func TestSearchPeople(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob, carol, dan := h.registers(t, "alice"), h.registers(t, "bob.martin"), h.registers(t, "carol"), h.registers(t, "dan")
		_, path := alice.creates(t, body{"preset": "private_chat", "invite": []string{bob.id}})
		bob.post(t, path+"/join", body{}).ok(t)
		bob.put(t, "/profile/"+bob.id+"/displayname", body{"displayname": "Hélène Dupont"}).ok(t)
		carol.creates(t, body{"preset": "public_chat"})
		who := func(p *person, term string) (ids []string) {
			for _, id := range p.post(t, "/user_directory/search", body{"search_term": term}).ok(t).Get("results.#.user_id").Array() {
				ids = append(ids, id.String())
			}
			return ids
		}
		for term, want := range map[string][]string{
			"hel": {bob.id}, "DUPONT hélène": {bob.id}, "bob": {bob.id}, "mart": {bob.id}, "@bob.martin:here.example": {bob.id},
			"upont": nil, "carol": {carol.id}, "dan": nil, "": nil, "%": nil, "dupont carol": nil,
		} {
			if got := who(alice, term); !slices.Equal(got, want) {
				t.Errorf("%q finds %v, want %v", term, got, want)
			}
		}
		got := alice.post(t, "/user_directory/search", body{"search_term": "dupont"}).ok(t)
		if got.Get("results.0.display_name").String() != "Hélène Dupont" || got.Get("limited").Bool() || !got.Get("limited").Exists() {
			t.Errorf("person: %s", got.Raw)
		}
		if got := who(dan, "bob"); got != nil {
			t.Errorf("a stranger finds %v", got)
		}
		bob.put(t, "/profile/"+bob.id+"/displayname", body{"displayname": "Someone"}).ok(t)
		if got := who(alice, "dupont"); got != nil {
			t.Errorf("the name of before finds %v", got)
		}
		bob.put(t, "/user/"+bob.id+"/account_data/im.vector.hide_profile", body{"hide_profile": true}).ok(t)
		if got := who(alice, "bob"); got != nil {
			t.Errorf("who hides is found: %v", got)
		}
		bob.put(t, "/user/"+bob.id+"/account_data/im.vector.hide_profile", body{"hide_profile": false}).ok(t)
		if got := who(alice, "bob"); !slices.Equal(got, []string{bob.id}) {
			t.Errorf("who hides no more is not found: %v", got)
		}
	})
}
