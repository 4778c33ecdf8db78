package policy

import (
	"testing"
	"time"

	"beffroi/matrix"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const testDocument = `
version: 14
issuer: dinum.example
organisations:
  - id: interieur
    name: {fr: Ministère de l'Intérieur, en: Ministry of the Interior}
    class: government
    homeservers: [{name: interieur.example}]
    email_domains: [interieur.gouv.example, "*.police.gouv.example"]
    contact: mailto:ssi@interieur.gouv.example
  - id: sante
    class: government
    homeservers: [{name: sante.example}, {name: "sante.example:9000"}]
    email_domains: [sante.gouv.example]
  - id: partenaires
    class: external
    homeservers: [{name: externe.example}]
    email_domains: [partner.example]
    starts: 2026-01-01T00:00:00Z
    ends: 2026-12-31T23:59:59Z
    reason: marché 2026-114
  - id: ennemis
    class: blocked
    homeservers: [{name: ennemi.example}]
    email_domains: [ennemi.example]
federation: {default: deny, deny: ["*.bad.example"], allow: [notary.example]}
rooms: {public: {retention: 90d}}
`

func mustCompile(t testing.TB, text string, self matrix.ServerName) *Snapshot {
	t.Helper()
	d, err := ParseDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Compile(d, self)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDecideByServer(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	for name, tc := range map[string]struct {
		server matrix.ServerName
		now    time.Time
		want   Reason
	}{
		"itself":                    {"interieur.example", noon, ""},
		"another ministry":          {"sante.example", noon, ""},
		"upper case":                {"SANTE.Example", noon, ""},
		"trailing dot":              {"sante.example.", noon, ""},
		"any port of its host":      {"sante.example:8448", noon, ""},
		"external":                  {"externe.example", noon, ""},
		"external before":           {"externe.example", noon.AddDate(-1, 0, 0), ReasonNotStarted},
		"external after":            {"externe.example", noon.AddDate(1, 0, 0), ReasonEnded},
		"external, no time":         {"externe.example", time.Time{}, ReasonNotStarted},
		"stranger":                  {"stranger.example", noon, ReasonUnknownServer},
		"a name that ends alike":    {"evilsante.example", noon, ReasonUnknownServer},
		"a name below":              {"sub.sante.example", noon, ReasonUnknownServer},
		"blocked organisation":      {"ennemi.example", noon, ReasonBlockedServer},
		"denied name":               {"x.bad.example", noon, ReasonBlockedServer},
		"denied name with port":     {"x.y.bad.example:443", noon, ReasonBlockedServer},
		"the name above is unknown": {"bad.example", noon, ReasonUnknownServer},
		"allowed, unaffiliated":     {"notary.example", noon, ""},
		"address":                   {"10.0.0.1", noon, ReasonUnknownServer},
		"not a name":                {"sante.example/", noon, ReasonUnknownServer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, action := range []Action{ActionFederateIn, ActionFederateOut} {
				d := s.Decide(&Request{Action: action, Server: tc.server, Now: tc.now})
				if d.Reason != tc.want || d.Allow != (tc.want == "") {
					t.Errorf("%s %s: %+v, want %q", action, tc.server, d, tc.want)
				}
			}
		})
	}
}
