package policy_test

import (
	"testing"
	"time"

	"beffroi/policy"
)

// TestShadowAnswersNobody asks a candidate beside the active document: it
// changes no answer, and counts where it would.
func TestShadowAnswersNobody(t *testing.T) {
	compile := func(more string) *policy.Snapshot {
		doc, err := policy.ParseDocument([]byte("version: 2\norganisations:\n  - {id: own, class: government, homeservers: [{name: a.example}]}\n" + more))
		if err != nil {
			t.Fatal(err)
		}
		s, err := policy.Compile(doc, "a.example")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	engine := policy.NewEngine(compile("  - {id: p, class: government, homeservers: [{name: p.example}]}\n"))
	shadow := policy.NewShadow(compile("  - {id: q, class: government, homeservers: [{name: q.example}]}\n"))
	ask := func(name string) bool {
		return engine.Decide(&policy.Request{Action: policy.ActionFederateOut, Server: "x.example", Now: time.Unix(1, 0)}).Allow ||
			engine.Decide(&policy.Request{Action: policy.ActionInvite, Actor: "@alice:a.example", Subject: "@bob:" + "p.example", Now: time.Unix(1, 0)}).Allow && name == "p"
	}
	ask("p")
	engine.Cast(shadow)
	for range 2 {
		if !ask("p") {
			t.Error("the shadow changed an answer")
		}
	}
	asked, found := shadow.Take()
	if asked != 4 || len(found) != 1 {
		t.Fatal(asked, found)
	}
	for kind, d := range found {
		if !kind.Denies || kind.Action != policy.ActionInvite || kind.Reason != policy.ReasonUnknownServer || d.Count != 2 || d.Subject != "@bob:p.example" {
			t.Errorf("%+v %+v", kind, d)
		}
	}
	engine.Cast(nil)
	ask("p")
	if asked, _ := shadow.Take(); asked != 0 {
		t.Error("asked after its end")
	}
	r := &policy.Request{Action: policy.ActionInvite, Actor: "@alice:a.example", Subject: "@bob:p.example", Now: time.Unix(1, 0)}
	if n := testing.AllocsPerRun(100, func() { engine.Decide(r) }); n != 0 {
		t.Errorf("%v allocations where there is no shadow", n)
	}
}
