package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"beffroi/matrix"
)

const testFloor = `
version: 40
issuer: dinum.example
organisations:
  - {id: interieur, class: government, homeservers: [{name: interieur.example}], email_domains: [interieur.gouv.example, "*.police.gouv.example"], contact: "mailto:ssi@interieur.gouv.example"}
  - {id: sante, class: government, homeservers: [{name: sante.example}], email_domains: [sante.gouv.example]}
  - {id: partenaires, class: external, homeservers: [{name: externe.example}, {name: "*.externe.example"}], email_domains: [partner.example]}
federation: {default: deny, deny: ["*.bad.example", bad.prefecture.example]}
externals: {create_rooms: false, invite: true, max_power: 20}
delegate:
  - {to: [interieur], classes: [external], homeservers: ["*.prefecture.example"], email_domains: ["*.prefecture.example"], ends: 2027-12-31T00:00:00Z}
`

const testLocal = `
version: 3
issuer: interieur.example
organisations:
  - {id: prefecture, class: external, homeservers: [{name: hs.prefecture.example}, {name: bad.prefecture.example}], email_domains: [mail.prefecture.example]}
  - {id: partenaires, class: external, homeservers: [{name: externe.example}]}
federation: {deny: [sante.example]}
externals: {create_rooms: true, max_power: 30}
`

func layers(t testing.TB, floor, local string) (*Snapshot, Mistakes) {
	t.Helper()
	s, overruled, err := CompileLayers(mustParse(t, floor), mustParse(t, local), "interieur.example")
	if err != nil {
		t.Fatal(err)
	}
	return s, overruled
}

func mustParse(t testing.TB, text string) *Document {
	t.Helper()
	d, err := ParseDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLayersDecideTogether(t *testing.T) {
	t.Parallel()
	s, overruled := layers(t, testFloor, testLocal)
	if len(overruled) > 0 {
		t.Fatal(overruled)
	}
	for name, tc := range map[string]struct {
		r     Request
		want  string
		layer Layer
	}{
		"own":                         {Request{Action: ActionCreateRoom, Actor: alice}, "allow", ""},
		"the floor does not know it":  {Request{Action: ActionFederateIn, Server: "stranger.example"}, "unknown_server", LayerFloor},
		"the local document denies":   {Request{Action: ActionFederateIn, Server: "sante.example"}, "blocked_server", LayerLocal},
		"delegated":                   {Request{Action: ActionFederateIn, Server: "hs.prefecture.example"}, "allow", ""},
		"delegated, the floor denies": {Request{Action: ActionFederateIn, Server: "bad.prefecture.example"}, "blocked_server", LayerFloor},
		"not added":                   {Request{Action: ActionFederateIn, Server: "other.prefecture.example"}, "unknown_server", LayerFloor},
		"the delegation is over": {Request{Action: ActionFederateIn, Server: "hs.prefecture.example",
			Now: time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)}, "organisation_ended", LayerFloor},
		"kept of the floor":       {Request{Action: ActionFederateIn, Server: "externe.example"}, "allow", ""},
		"narrowed":                {Request{Action: ActionFederateIn, Server: "b.externe.example"}, "unknown_server", LayerLocal},
		"not what the floor says": {Request{Action: ActionCreateRoom, Actor: partner}, "external_cannot_create", LayerFloor},
		"inherited right":         {Request{Action: ActionInvite, Actor: partner, Subject: alice}, "allow", ""},
		"delegated address": {Request{Action: ActionInvite3PID, Actor: alice, Email: "a@mail.prefecture.example",
			Room: &RoomFacts{Rule: Unrestricted}}, "allow", ""},
		"leaving": {Request{Action: ActionLeave, Actor: nobody}, "allow", ""},
	} {
		if tc.r.Now.IsZero() {
			tc.r.Now = noon
		}
		d := s.Decide(&tc.r)
		got := string(d.Reason)
		if d.Allow {
			got = "allow"
		}
		if got != tc.want || d.Layer != tc.layer {
			t.Errorf("%s: %s by %q, want %s by %q", name, got, d.Layer, tc.want, tc.layer)
		}
	}
	if s.Version() != 3 || s.Floor().Version() != 40 || s.externals.maxPower != 20 || len(s.Document().Organisations) != 2 {
		t.Errorf("version %d, floor %d, power %d", s.Version(), s.Floor().Version(), s.externals.maxPower)
	}
	if p := s.Server("sante.example", noon); p.Refused != ReasonBlockedServer {
		t.Errorf("%+v", p)
	}
	if peers := fmt.Sprint(s.Peers(noon)); peers != "[hs.prefecture.example externe.example]" {
		t.Error(peers)
	}
}

// TestLocalDocumentCannotTakeWhatIsNotGiven says what is overruled.
func TestLocalDocumentCannotTakeWhatIsNotGiven(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ organisation, want string }{
		"a server of another":      {`{id: mine, class: external, homeservers: [{name: sante.example}]}`, `belongs to organisation "sante" of the floor`},
		"by its port":              {`{id: mine, class: external, homeservers: [{name: "sante.example:8448"}]}`, `belongs to organisation "sante"`},
		"below a wildcard":         {`{id: mine, class: external, homeservers: [{name: a.externe.example}]}`, `belongs to organisation "partenaires"`},
		"a domain of another":      {`{id: mine, class: external, email_domains: ["*.a.police.gouv.example"]}`, `belongs to organisation "interieur"`},
		"not delegated":            {`{id: mine, class: external, homeservers: [{name: mine.example}]}`, "not one that the floor lets"},
		"the delegated top":        {`{id: mine, class: external, homeservers: [{name: prefecture.example}]}`, "not one that the floor lets"},
		"another class":            {`{id: mine, class: government, homeservers: [{name: hs.prefecture.example}]}`, "not one that the floor lets"},
		"a domain not delegated":   {`{id: mine, class: external, email_domains: [mine.example]}`, "not one that the floor lets"},
		"a new name for an old id": {`{id: sante, class: government, homeservers: [{name: hs.prefecture.example}]}`, `not one that organisation "sante" has`},
		"all below a top":          {`{id: mine, class: external, homeservers: [{name: "*.example"}]}`, "not one that the floor lets"},
	} {
		s, overruled := layers(t, testFloor, "version: 3\norganisations: ["+tc.organisation+"]\n")
		if !strings.Contains(overruled.Error(), tc.want) {
			t.Errorf("%s: %v", name, overruled)
		}
		if d := s.Decide(&Request{Action: ActionFederateIn, Server: "hs.prefecture.example", Now: noon}); d.Allow {
			t.Errorf("%s: it is admitted all the same", name)
		}
	}
	if _, overruled := layers(t, testFloor, "version: 1\ndelegate: [{classes: [external]}]\n"); len(overruled) != 1 {
		t.Error(overruled)
	}
	if _, _, err := CompileLayers(mustParse(t, testFloor), mustParse(t, "version: 0"), "interieur.example"); err == nil {
		t.Error("a local document without a version is compiled")
	}
}

func TestExplainSaysWhichLayerDecided(t *testing.T) {
	t.Parallel()
	s, _ := layers(t, testFloor, testLocal)
	for server, want := range map[matrix.ServerName][]string{
		"stranger.example": {"The floor, document 40 of dinum.example", "by federation.default of the floor"},
		"sante.example":    {"document 40 of dinum.example, allows it", "The local document 3", "by federation.deny of the local document"},
		"externe.example":  {"allows it", "Nothing refuses it: allowed."},
	} {
		text := s.Explain(&Request{Action: ActionFederateIn, Server: server, Now: noon}).String("en")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q is not in\n%s", server, w, text)
			}
		}
	}
}

func TestRoomsArePlannedByTheStricterLayer(t *testing.T) {
	t.Parallel()
	s, _ := layers(t, testFloor+"rooms: {default_rule: restricted, encrypt: [private], public: {federate: true, retention: 90d}}\n",
		"version: 1\nrooms: {access_rules: \"off\", default_rule: unrestricted, encrypt: [direct], public: {federate: false, retention: 100d}}\naccounts: {registration: open}\n")
	r := s.doc.Rooms
	if !s.EnforcesAccessRules() || r.DefaultRule != "restricted" || len(r.Encrypt) != 2 || *r.Public.Federate ||
		r.Public.Retention != Duration(90*24*time.Hour) || s.OpenRegistration() {
		t.Errorf("%+v %+v", r, s.doc.Accounts)
	}
	plan, err := s.PrepareRoom(CreateRequest{Creator: alice, Preset: "private_chat", Now: noon})
	if err != nil || plan.Facts.Rule != Restricted {
		t.Errorf("%+v %v", plan, err)
	}
}

// genNames are servers that documents name and requests come from.
var genNames = []string{"interieur.example", "sante.example", "a.x.example", "b.x.example", "*.x.example", "x.example", "*.example", "y.example", "y.example:8448", "stranger.test"}

// drawDocument draws a document in which the server itself stands.
func drawDocument(t *rapid.T, label string, local bool) *Document {
	d := &Document{Version: 1, Issuer: label}
	taken := map[string]bool{"interieur.example": true}
	pick := func(what string) string { return rapid.SampledFrom(genNames).Draw(t, label+what) }
	if !local || rapid.Bool().Draw(t, label+"own") {
		d.Organisations = []Organisation{{ID: "own", Class: "government", Homeservers: []Homeserver{{Name: "interieur.example"}}}}
	}
	for i := range rapid.IntRange(0, 4).Draw(t, label+"orgs") {
		o := Organisation{ID: fmt.Sprintf("o%d", rapid.IntRange(0, 6).Draw(t, label+"id")*10+i), Class: rapid.SampledFrom([]string{"government", "external", "blocked"}).Draw(t, label+"class")}
		if name := pick("server"); !taken[name] {
			taken[name] = true
			o.Homeservers = []Homeserver{{Name: name}}
		}
		if rapid.Bool().Draw(t, label+"ends") {
			o.Ends = noon.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, label+"when")) * time.Hour)
		}
		d.Organisations = append(d.Organisations, o)
	}
	if rapid.Bool().Draw(t, label+"allows") {
		d.Federation.Allow = Names(pick("allow"))
	}
	if name := pick("deny"); name != "interieur.example" && name != "*.example" {
		d.Federation.Deny = Names(name)
	}
	d.Federation.Default = rapid.SampledFrom([]string{"", "deny", "allow"}).Draw(t, label+"default")
	d.Rooms.AccessRules = rapid.SampledFrom([]string{"", "enforce", "off"}).Draw(t, label+"enforce")
	flag := func(what string) *bool {
		return rapid.SampledFrom([]*bool{nil, new(false), new(true)}).Draw(t, label+what)
	}
	d.Externals = Externals{CreateRooms: flag("create"), Invite: flag("invite"), SearchDirectory: flag("search"), Publish: flag("publish")}
	if rapid.Bool().Draw(t, label+"rule") {
		d.Rules = []Rule{{ID: "r", Actions: []string{"join"}, When: `subject.server == "` + pick("ruled") + `"`}}
	}
	return d
}

func drawRequest(t *rapid.T) *Request {
	server := func(what string) matrix.ServerName {
		return matrix.ServerName(strings.Replace(rapid.SampledFrom(genNames).Draw(t, what), "*", "z", 1))
	}
	r := &Request{Action: rapid.SampledFrom(Actions()).Draw(t, "action"), Actor: matrix.UserID("@a:" + server("actor")), Now: noon}
	if rapid.Bool().Draw(t, "with subject") {
		r.Subject = matrix.UserID("@b:" + server("subject"))
	}
	if rapid.Bool().Draw(t, "with server") {
		r.Server = server("server")
	}
	if rapid.Bool().Draw(t, "with room") {
		r.Room = &RoomFacts{Rule: rapid.SampledFrom([]AccessRule{Restricted, Unrestricted, Direct}).Draw(t, "rule"),
			SubjectMembership: rapid.SampledFrom([]string{"", "invite", "join"}).Draw(t, "membership")}
	}
	return r
}

// TestLocalNeverWidensTheFloor holds for random documents and requests: what
// both layers allow the floor alone allows, unless it is of an organisation that
// the floor delegates.
func TestLocalNeverWidensTheFloor(t *testing.T) {
	t.Parallel()
	compiled := 0
	rapid.Check(t, func(t *rapid.T) {
		floor, local := drawDocument(t, "floor", false), drawDocument(t, "local", true)
		delegates := rapid.Bool().Draw(t, "delegates")
		if delegates {
			floor.Delegate = []Delegation{{Classes: []string{"external"}, Homeservers: []string{"*.x.example"}}}
		}
		alone, err := Compile(floor, "interieur.example")
		if err != nil {
			t.Skip("the floor is no document")
		}
		s, _, err := CompileLayers(floor, local, "interieur.example")
		if err != nil {
			t.Skip("the local document is none")
		}
		compiled++
		r := drawRequest(t)
		if !s.Decide(r).Allow || alone.Decide(r).Allow {
			return
		}
		delegated := func(name matrix.ServerName) bool { return delegates && strings.HasSuffix(string(name), ".x.example") }
		if !delegated(r.Actor.Server()) && !delegated(r.Server) && (r.Subject == "" || !delegated(r.Subject.Server())) {
			t.Fatalf("%+v is allowed, and the floor alone says %+v", r, alone.Decide(r))
		}
		if d := alone.Decide(r); d.Reason != ReasonUnknownServer && d.Reason != ReasonNoOrganisation {
			t.Fatalf("%+v is allowed although the floor denies it by name: %+v", r, d)
		}
	})
	if compiled == 0 {
		t.Error("no pair of documents was compiled")
	}
}

func TestEntriesHaveDates(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, `
version: 1
organisations:
  - {id: interieur, class: government, homeservers: [{name: interieur.example}, {name: new.example, starts: 2030-01-01T00:00:00Z}], email_domains: [{name: old.example, ends: 2020-01-01T00:00:00Z}]}
federation:
  allow: [{name: notary.example, ends: 2020-01-01T00:00:00Z}]
  deny: [{name: a.cut.example, ends: 2020-01-01T00:00:00Z}, "*.cut.example", {name: off.example, ends: 2020-01-01T00:00:00Z}]
  default: allow
rooms: {access_rules: "off"}
rules: [{id: gone, actions: [create_room], when: "true", ends: 2020-01-01T00:00:00Z}, {id: here, actions: [knock], when: "true", starts: 2020-01-01T00:00:00Z}]
`, "interieur.example")
	for name, tc := range map[string]struct {
		r    Request
		want string
	}{
		"not started":         {Request{Action: ActionFederateIn, Server: "new.example"}, "organisation_not_started"},
		"a domain that ended": {Request{Action: ActionInvite3PID, Actor: alice, Email: "a@old.example"}, "organisation_ended"},
		"the wildcard holds":  {Request{Action: ActionFederateIn, Server: "a.cut.example"}, "blocked_server"},
		"a block that ended":  {Request{Action: ActionFederateIn, Server: "off.example"}, "allow"},
		"a rule that ended":   {Request{Action: ActionCreateRoom, Actor: alice}, "allow"},
		"a rule in force":     {Request{Action: ActionKnock, Actor: alice}, "rule"},
	} {
		tc.r.Now = noon
		d := s.Decide(&tc.r)
		if got := string(d.Reason); got != tc.want && !(d.Allow && tc.want == "allow") {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	d := s.Decide(&Request{Action: ActionFederateIn, Server: "off.example"})
	if d.Allow {
		t.Error("without a time a block that may hold does not hold")
	}
}
