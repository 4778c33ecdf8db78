package clientapi_test

import (
	"strings"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/internal/testkit"
	"beffroi/policystore"
	"beffroi/storage"
)

func TestReports(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		room, path := alice.creates(t, body{"preset": "public_chat"})
		id := alice.says(t, path, "m.room.message", body{"msgtype": "m.text", "body": "x"})
		bob.post(t, path+"/report/"+id, body{"reason": "from outside"}).wants(t, 404, "M_NOT_FOUND")
		bob.post(t, path+"/join", nil).ok(t)
		bob.post(t, path+"/report/"+id, body{"reason": "an insult"}).ok(t)
		bob.post(t, path+"/report/"+id, body{}).ok(t)
		bob.post(t, path+"/report", body{"reason": "a bad room"}).ok(t)
		bob.post(t, "/users/"+alice.id+"/report", body{"reason": "a bad user"}).ok(t)
		for name, tc := range map[string]struct {
			got    reply
			status int
			code   string
		}{
			"no such event":  {bob.post(t, path+"/report/$none", body{}), 404, "M_NOT_FOUND"},
			"room, no why":   {bob.post(t, path+"/report", body{}), 400, "M_MISSING_PARAM"},
			"user, no why":   {bob.post(t, "/users/"+alice.id+"/report", body{}), 400, "M_MISSING_PARAM"},
			"no user":        {bob.post(t, "/users/alice/report", body{"reason": ""}), 400, "M_INVALID_PARAM"},
			"long reason":    {bob.post(t, path+"/report", body{"reason": strings.Repeat("a", 1501)}), 413, "M_TOO_LARGE"},
			"no text":        {bob.post(t, path+"/report", body{"reason": 7}), 400, "M_BAD_JSON"},
			"not told apart": {bob.post(t, "/rooms/!none:here.example/report", body{"reason": ""}), 200, ""},
		} {
			if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
				t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
			}
		}
		kept := map[string]bool{}
		for e, err := range h.gate.Audit(t.Context(), policystore.Filter{Kind: "report"}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Actor != bob.id {
				t.Errorf("actor %s", e.Actor)
			}
			kept[strings.Join([]string{e.Action, e.Room, e.Subject, e.Detail}, "|")] = true
		}
		for _, line := range []string{"report_event|" + room + "|" + id + "|an insult", "report_event|" + room + "|" + id + "|",
			"report_room|" + room + "||a bad room", "report_user||" + alice.id + "|a bad user"} {
			if !kept[line] {
				t.Errorf("%s is not in %v", line, kept)
			}
		}
	})
}

func TestReportsAreLimited(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := start(t, func(_ *account.Options, o *clientapi.Options, _ *policystore.Options) {
		o.Development, o.Now = false, func() time.Time { return now }
	})
	alice := h.registers(t, "alice")
	for range 20 {
		alice.post(t, "/users/@bob:here.example/report", body{"reason": ""}).ok(t)
	}
	alice.post(t, "/users/@bob:here.example/report", body{"reason": ""}).wants(t, 429, "M_LIMIT_EXCEEDED")
}
