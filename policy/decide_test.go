package policy

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"time"

	"beffroi/matrix"
)

// The accounts of the tests, by class.
const (
	alice   matrix.UserID = "@alice:interieur.example" // government, of this server
	bob     matrix.UserID = "@bob:sante.example"       // government, of another
	partner matrix.UserID = "@pierre:externe.example"  // external
	enemy   matrix.UserID = "@e:ennemi.example"        // blocked
	denied  matrix.UserID = "@d:x.bad.example"         // denied by name
	nobody  matrix.UserID = "@n:stranger.example"      // unknown
	notary  matrix.UserID = "@n:notary.example"        // unaffiliated
)

// TestMatrixOfClassesAndRules asks every action for every class and rule. A
// line says what holds in restricted, unrestricted and direct rooms; one word
// says it for all. What is not listed for a class is allowed.
func TestMatrixOfClassesAndRules(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	const r, u, x = string(ReasonExternalRestricted), string(ReasonExternalUninvited), "allow"
	byClass := map[matrix.UserID]map[Action]string{
		bob:    {},
		alice:  {ActionRegister: string(ReasonEmailMissing)},
		enemy:  allDenied(ReasonBlockedServer),
		denied: allDenied(ReasonBlockedServer),
		nobody: allDenied(ReasonUnknownServer),
		notary: allDenied(ReasonNoOrganisation),
		partner: {
			ActionCreateRoom: "external_cannot_create", ActionInvite: "external_cannot_invite",
			ActionInvite3PID: "external_cannot_invite", ActionSetAccessRule: "external_has_no_power",
			ActionSetPowerLevels: "external_has_no_power", ActionSetJoinRule: "external_has_no_power",
			ActionSetEncryption: "external_has_no_power", ActionAlias: "external_has_no_power",
			ActionUpgradeRoom: "external_has_no_power", ActionPublishRoom: "external_cannot_publish",
			ActionSearchDirectory: "external_cannot_search", ActionListPublicRooms: "external_no_public_rooms",
			ActionReadProfile: "external_profile_not_shared", ActionRegister: string(ReasonEmailMissing),
			ActionJoin:  r + " " + u + " " + u,
			ActionKnock: r + " " + x + " " + x, ActionSendMessage: r + " " + x + " " + x,
			ActionSendState: r + " " + x + " " + x, ActionEDU: r + " " + x + " " + x,
		},
	}
	delete(byClass[notary], ActionFederateIn)
	delete(byClass[notary], ActionFederateOut)
	byClass[bob][ActionRegister] = string(ReasonEmailMissing)
	for user, wants := range byClass {
		for _, action := range Actions() {
			want := strings.Fields(wants[action])
			for i, rule := range []AccessRule{Restricted, Unrestricted, Direct} {
				d := s.Decide(&Request{Action: action, Actor: user, Room: &RoomFacts{Rule: rule, JoinRule: "public", Visibility: "public"}, Now: noon})
				expect := x
				if len(want) > 0 {
					expect = want[min(i, len(want)-1)]
				}
				if action == ActionPublishRoom && rule != Restricted && expect == x {
					expect = string(ReasonNotPublishable)
				}
				checkDecision(t, fmt.Sprintf("%s %s %s", user, action, rule), d, expect)
			}
		}
	}
}

func allDenied(reason Reason) map[Action]string {
	out := make(map[Action]string)
	for _, a := range Actions() {
		if a != ActionLeave && a != ActionKickBan {
			out[a] = string(reason)
		}
	}
	return out
}

func checkDecision(t *testing.T, what string, d Decision, want string) {
	t.Helper()
	got := string(d.Reason)
	if d.Allow {
		got = "allow"
	}
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
	if !d.Allow && (d.Text["fr"] == "" || d.Text["en"] == "" || d.Rule == "" || d.Version == 0 || d.Contact == "") {
		t.Errorf("%s: incomplete %+v", what, d)
	}
}

func TestDecideTable(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	restricted, open, direct := RoomFacts{}, RoomFacts{Rule: Unrestricted}, RoomFacts{Rule: Direct}
	with := func(r RoomFacts, change func(*RoomFacts)) *RoomFacts { change(&r); return &r }
	invited := func(r *RoomFacts) { r.SubjectMembership = "invite" }
	joined := func(r *RoomFacts) { r.SubjectMembership = "join" }
	for name, tc := range map[string]struct {
		r    Request
		want string
	}{
		"nothing asked":                  {Request{}, "no_action"},
		"an action of the future":        {Request{Action: actionCount + 3, Actor: alice}, "no_action"},
		"invite an external":             {Request{Action: ActionInvite, Actor: alice, Subject: partner, Room: &restricted}, "external_in_restricted_room"},
		"invite an external, opened":     {Request{Action: ActionInvite, Actor: alice, Subject: partner, Room: &open}, "allow"},
		"invite an external, direct":     {Request{Action: ActionInvite, Actor: alice, Subject: partner, Room: with(direct, func(r *RoomFacts) { r.Seats = 1 })}, "allow"},
		"invite a third, direct":         {Request{Action: ActionInvite, Actor: alice, Subject: bob, Room: with(direct, func(r *RoomFacts) { r.Seats = 2 })}, "direct_room_full"},
		"invite a stranger, opened":      {Request{Action: ActionInvite, Actor: alice, Subject: nobody, Room: &open}, "unknown_server"},
		"invite a blocked one":           {Request{Action: ActionInvite, Actor: alice, Subject: enemy, Room: &open}, "blocked_server"},
		"invite one of no organisation":  {Request{Action: ActionInvite, Actor: alice, Subject: notary, Room: &open}, "no_organisation"},
		"invited by a stranger":          {Request{Action: ActionInvite, Actor: nobody, Subject: alice, Room: &open}, "unknown_server"},
		"early gate, external subject":   {Request{Action: ActionInvite, Actor: alice, Subject: partner}, "allow"},
		"early gate, external actor":     {Request{Action: ActionInvite, Actor: partner}, "external_cannot_invite"},
		"an unknown rule is restricted":  {Request{Action: ActionInvite, Actor: alice, Subject: partner, Room: &RoomFacts{Rule: "open"}}, "external_in_restricted_room"},
		"external joins invited":         {Request{Action: ActionJoin, Actor: partner, Room: with(open, invited)}, "allow"},
		"external joins by a space":      {Request{Action: ActionJoin, Actor: partner, Room: with(open, func(r *RoomFacts) { r.Vouched = true })}, "allow"},
		"external renames himself":       {Request{Action: ActionJoin, Actor: partner, Room: with(open, joined)}, "allow"},
		"external joins invited, closed": {Request{Action: ActionJoin, Actor: partner, Room: with(restricted, invited)}, "external_in_restricted_room"},
		"a third joins":                  {Request{Action: ActionJoin, Actor: bob, Room: with(direct, func(r *RoomFacts) { r.Seats = 2 })}, "direct_room_full"},
		"a third renames himself":        {Request{Action: ActionJoin, Actor: bob, Room: with(direct, func(r *RoomFacts) { r.Seats = 2; r.SubjectMembership = "join" })}, "allow"},
		"kick by a stranger":             {Request{Action: ActionKickBan, Actor: nobody, Subject: alice}, "allow"},
		"stranger leaves":                {Request{Action: ActionLeave, Actor: nobody}, "allow"},
		"profile of a room mate":         {Request{Action: ActionReadProfile, Actor: partner, Subject: alice, SharesRoom: true}, "allow"},
		"own profile":                    {Request{Action: ActionReadProfile, Actor: partner, Subject: partner}, "allow"},
		"profile asked by a server":      {Request{Action: ActionReadProfile, Subject: alice, Server: "externe.example"}, "external_profile_not_shared"},
		"profile asked by a ministry":    {Request{Action: ActionReadProfile, Subject: alice, Server: "sante.example"}, "allow"},
		"rooms asked by a server":        {Request{Action: ActionListPublicRooms, Server: "externe.example"}, "external_no_public_rooms"},
		"publish a private room":         {Request{Action: ActionPublishRoom, Actor: alice, Room: &RoomFacts{Visibility: "private", JoinRule: "public"}}, "room_not_publishable"},
		"publish by invitation only":     {Request{Action: ActionPublishRoom, Actor: alice, Room: &RoomFacts{JoinRule: "invite"}}, "room_not_publishable"},
		"publish an old room":            {Request{Action: ActionPublishRoom, Actor: alice, Room: &RoomFacts{JoinRule: "public"}}, "allow"},
		"e-mail invitation":              {Request{Action: ActionInvite3PID, Actor: alice, Email: "x@sante.gouv.example", Room: &restricted}, "allow"},
		"e-mail of an external":          {Request{Action: ActionInvite3PID, Actor: alice, Email: "x@partner.example", Room: &restricted}, "external_in_restricted_room"},
		"e-mail of an external, opened":  {Request{Action: ActionInvite3PID, Actor: alice, Email: "x@partner.example", Room: &open}, "allow"},
		"e-mail of a stranger, opened":   {Request{Action: ActionInvite3PID, Actor: alice, Email: "x@mail.example", Room: &open}, "email_unknown_domain"},
		"e-mail blocked":                 {Request{Action: ActionInvite3PID, Actor: alice, Email: "x@ennemi.example", Room: &open}, "blocked_server"},
		"e-mail of two readings":         {Request{Action: ActionInvite3PID, Actor: alice, Email: "x@evil.fr@sante.gouv.example", Room: &open}, "email_invalid"},
		"e-mail, third":                  {Request{Action: ActionInvite3PID, Actor: alice, Email: "x@sante.gouv.example", Room: with(direct, func(r *RoomFacts) { r.Seats = 2 })}, "direct_room_full"},

		"register":                     {Request{Action: ActionRegister, Email: "x@interieur.gouv.example"}, "allow"},
		"register below a domain":      {Request{Action: ActionRegister, Email: "x@bri.police.gouv.example"}, "allow"},
		"register at the name above":   {Request{Action: ActionRegister, Email: "x@police.gouv.example"}, "email_unknown_domain"},
		"register a look-alike":        {Request{Action: ActionRegister, Email: "x@evilinterieur.gouv.example"}, "email_unknown_domain"},
		"register without address":     {Request{Action: ActionRegister}, "email_missing"},
		"register elsewhere":           {Request{Action: ActionRegister, Email: "x@sante.gouv.example"}, "email_other_server"},
		"register with a bad address":  {Request{Action: ActionRegister, Email: "a@evil@interieur.gouv.example"}, "email_invalid"},
		"register, blocked":            {Request{Action: ActionRegister, Email: "x@ennemi.example"}, "blocked_server"},
		"register by an administrator": {Request{Action: ActionRegister, Source: SourceAdmin}, "allow"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.r.Now = noon
			checkDecision(t, name, NewEngine(s).Decide(&tc.r), tc.want)
		})
	}
}

func TestRegistrationOfExternals(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "externe.example")
	r := Request{Action: ActionRegister, Email: "x@partner.example", Now: noon}
	if d := s.Decide(&r); d.Reason != ReasonExternalSponsor {
		t.Errorf("%+v", d)
	}
	r.Invited = true
	if d := s.Decide(&r); !d.Allow {
		t.Errorf("%+v", d)
	}
	r.Now = noon.AddDate(1, 0, 0)
	if d := s.Decide(&r); d.Reason != ReasonEnded {
		t.Errorf("%+v", d)
	}
}

func TestRegistrationModes(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{"open": "allow", "closed": "registration_closed", "": "email_missing"} {
		d := Initial("me.example")
		d.Accounts.Registration = mode
		d.Organisations = append(d.Organisations, Organisation{ID: "b", Class: "blocked", EmailDomains: Names("bad.example")})
		d.Organisations[0].Contact = "mailto:x@me.example"
		s, err := Compile(d, "me.example")
		if err != nil {
			t.Fatal(err)
		}
		checkDecision(t, mode, s.Decide(&Request{Action: ActionRegister}), want)
		if mode != "open" {
			continue
		}
		checkDecision(t, "blocked", s.Decide(&Request{Action: ActionRegister, Email: "x@bad.example"}), "blocked_server")
		checkDecision(t, "anybody", s.Decide(&Request{Action: ActionRegister, Email: "x@mail.example"}), "allow")
		checkDecision(t, "not an address", s.Decide(&Request{Action: ActionRegister, Email: "x"}), "email_invalid")
	}
}

func TestRegistrationByAddressWithoutAccessRules(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, strings.Replace(testDocument, "rooms: {", "rooms: {access_rules: off, ", 1), "interieur.example")
	checkDecision(t, "unknown", s.Decide(&Request{Action: ActionRegister, Email: "x@mail.example", Now: noon}), "email_unknown_domain")
}

func TestNamesTooLongForRulesAreDenied(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, fullDocument, "interieur.example")
	long := matrix.UserID("@" + strings.Repeat("a", 300) + ":interieur.example")
	if d := s.Decide(&Request{Action: ActionJoin, Actor: long, Now: noon}); d.Reason != ReasonRuleFailed {
		t.Errorf("%+v", d)
	}
}

func TestPermissiveAllowsEverything(t *testing.T) {
	t.Parallel()
	s, err := Compile(Permissive("localhost:8448"), "localhost:8448")
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range Actions() {
		for _, user := range []matrix.UserID{"@a:localhost:8448", "@b:anywhere.example", "@c:[::1]:1"} {
			d := s.Decide(&Request{Action: action, Actor: user, Subject: "@s:else.example", Server: "third.example", Room: &RoomFacts{}})
			if !d.Allow {
				t.Errorf("%s of %s: %+v", action, user, d)
			}
		}
	}
	if p := s.Server("anywhere.example", noon); p.Class != ClassUnaffiliated || !p.Admitted() || s.EnforcesAccessRules() || !s.OpenRegistration() {
		t.Errorf("%+v", p)
	}
	if d := s.Decide(&Request{Action: ActionInvite3PID, Actor: "@a:localhost:8448", Email: "x@mail.example", Room: &RoomFacts{}}); !d.Allow {
		t.Errorf("%+v", d)
	}
}

func TestDenyAllKeepsThisServer(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument+"deny_all: true\n", "interieur.example")
	checkDecision(t, "own", s.Decide(&Request{Action: ActionSendMessage, Actor: alice, Now: noon}), "allow")
	checkDecision(t, "other", s.Decide(&Request{Action: ActionFederateOut, Server: "sante.example", Now: noon}), "deny_all")
}

func TestExpiredDocument(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, fullDocument, "interieur.example")
	for want, at := range map[Freshness]time.Time{
		Fresh: noon, Expiring: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC),
		Stale: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC), Blocking: time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC),
	} {
		if got := s.Freshness(at); got != want {
			t.Errorf("%s: %d, want %d", at, got, want)
		}
	}
	late := time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC)
	checkDecision(t, "join", s.Decide(&Request{Action: ActionJoin, Actor: alice, Now: late}), "document_expired")
	checkDecision(t, "talk", s.Decide(&Request{Action: ActionSendMessage, Actor: alice, Now: late}), "allow")
}

func TestRulesOfTheDocument(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, strings.SplitN(fullDocument, "rules:", 2)[0]+`
rules:
  - {id: home, actions: [join, invite], when: room.org == "armees" && subject.org != "armees", reason: {fr: Non., en: No.}}
  - {id: night, actions: [upload_media], when: now.getHours() > 20}
  - {id: names, actions: [send_message], when: 'actor.id.startsWith("@bot") || actor.server == "x" || source == "admin" || action == "x"'}
  - {id: peers, actions: [federate_in], when: server.name == "sante.example" || server.org == "" || server.class == "external"}
  - {id: mail, actions: [register], when: email.domain.startsWith("bri.") || email.org == "x" || email.class == "external"}
  - {id: rooms, actions: [send_state], when: room.rule == "direct" || room.visibility == "public" || room.join_rule == "knock" || room.encrypted || !room.federate || room.membership == "ban" || room.id == "!x" || room.class == "external"}
  - {id: divides, actions: [login], when: 1 / now.getMilliseconds() > 5}
`, "interieur.example")
	at := func(h int) time.Time { return time.Date(2026, 6, 1, h, 0, 0, 0, time.UTC) }
	state := func(r RoomFacts) Request { return Request{Action: ActionSendState, Actor: alice, Room: &r} }
	for name, tc := range map[string]struct {
		r    Request
		want string // the rule
	}{
		"stays at home":        {Request{Action: ActionJoin, Actor: alice, Room: &RoomFacts{Creator: "@m:armees.example"}}, "rules.home"},
		"one of its own":       {Request{Action: ActionJoin, Actor: "@m:armees.example", Room: &RoomFacts{Creator: "@m:armees.example"}}, ""},
		"no room known":        {Request{Action: ActionJoin, Actor: alice}, ""},
		"another room":         {Request{Action: ActionJoin, Actor: alice, Room: &RoomFacts{Creator: alice}}, ""},
		"another action":       {Request{Action: ActionKnock, Actor: alice, Room: &RoomFacts{Creator: "@m:armees.example"}}, ""},
		"by day":               {Request{Action: ActionUploadMedia, Actor: alice, Now: at(12)}, ""},
		"by night":             {Request{Action: ActionUploadMedia, Actor: alice, Now: at(22)}, "rules.night"},
		"by name":              {Request{Action: ActionSendMessage, Actor: "@bot1:interieur.example"}, "rules.names"},
		"by source":            {Request{Action: ActionSendMessage, Actor: alice, Source: SourceAdmin}, "rules.names"},
		"a source of nowhere":  {Request{Action: ActionSendMessage, Actor: alice, Source: 77}, ""},
		"a peer":               {Request{Action: ActionFederateIn, Server: "sante.example"}, "rules.peers"},
		"a peer of no org":     {Request{Action: ActionFederateIn, Server: "notary.example"}, "rules.peers"},
		"another peer":         {Request{Action: ActionFederateIn, Server: "armees.example"}, ""},
		"by mail":              {Request{Action: ActionRegister, Email: "a@bri.police.gouv.example"}, "rules.mail"},
		"by another mail":      {Request{Action: ActionRegister, Email: "a@x.police.gouv.example"}, ""},
		"plain room":           {state(RoomFacts{}), ""},
		"direct room":          {state(RoomFacts{Rule: Direct}), "rules.rooms"},
		"public room":          {state(RoomFacts{Visibility: "public"}), "rules.rooms"},
		"knocking":             {state(RoomFacts{JoinRule: "knock"}), "rules.rooms"},
		"encrypted":            {state(RoomFacts{Encrypted: true}), "rules.rooms"},
		"not federated":        {state(RoomFacts{NoFederate: true}), "rules.rooms"},
		"external room":        {state(RoomFacts{Creator: partner}), "rules.rooms"},
		"one that cannot tell": {Request{Action: ActionLogin, Actor: alice}, "rules.divides"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.r.Now.IsZero() {
				tc.r.Now = noon
			}
			d := s.Decide(&tc.r)
			if d.Allow != (tc.want == "") || tc.want != "" && d.Rule != tc.want {
				t.Errorf("%+v, want %q", d, tc.want)
			}
			if tc.want == "rules.home" && d.Text["en"] != "No." || tc.want == "rules.night" && d.Text["en"] == "" ||
				tc.want == "rules.divides" && d.Reason != ReasonRuleFailed {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	d := s.Decide(&Request{Action: ActionInvite, Actor: alice, Subject: partner, Room: &RoomFacts{}, Now: noon})
	e := d.Error("01J")
	if e.Status != 403 || e.Code != "M_FORBIDDEN" || e.Text == "" || e.Texts["fr"] == "" {
		t.Errorf("%+v", e)
	}
	raw, err := json.Marshal(e.Fields["org.beffroi.policy"])
	want := `{"reason":"external_in_restricted_room","rule":"rooms.access_rules","version":14,"contact":"mailto:ssi@interieur.gouv.example","decision":"01J"}`
	if err != nil || string(raw) != want {
		t.Errorf("%s, %v", raw, err)
	}
	if d.Organisation != "partenaires" {
		t.Errorf("%+v", d)
	}
	if (Decision{Allow: true}).Error("x") != nil {
		t.Error("an allowed decision has an error")
	}
	if e := (Decision{Text: Text{"fr": "Non."}}).Error(""); e.Text == "" || e.Texts["fr"] != "Non." {
		t.Errorf("%+v", e)
	}
	if e := (Decision{Text: Text{"en": "No."}}).Error(""); e.Text != "No." || e.Texts != nil {
		t.Errorf("%+v", e)
	}
}

func TestEveryReasonIsSaid(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "reasons.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if code, ok := spec.Values[0].(*ast.BasicLit); ok && reasonTexts[Reason(strings.Trim(code.Value, `"`))] == nil {
			t.Errorf("%s has no text", spec.Names[0])
		}
		return true
	})
	for reason, text := range reasonTexts {
		if text["fr"] == "" || text["en"] == "" || reason.rule() == "" {
			t.Errorf("%s: %v", reason, text)
		}
	}
	for reason := range reasonRules {
		if reasonTexts[reason] == nil {
			t.Errorf("%s has no text", reason)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for _, a := range Actions() {
		if b, ok := ParseAction(a.String()); !ok || b != a {
			t.Errorf("%d: %q", a, a)
		}
	}
	if _, ok := ParseAction("none"); ok || actionCount.String() != "none" || classCount.String() != "unknown" || sourceCount.String() != "client" {
		t.Error("what is no word has one")
	}
	if SourceFederation.String() != "federation" || ClassGovernment.String() != "government" || AccessRule("x").Valid() || !Direct.Valid() {
		t.Error("words differ")
	}
}
