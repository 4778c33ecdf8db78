package policy

import (
	"strings"
	"testing"

	"beffroi/matrix"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, fullDocument, "interieur.example")
	for name, tc := range map[string]struct {
		r    Request
		want []string
		lang string
	}{
		"external": {Request{Action: ActionInvite, Actor: alice, Subject: partner, Room: &RoomFacts{}}, []string{
			`Document 14 of dinum.example is asked about "invite" at 2026-06-01T12:00:00Z.`,
			`@alice:interieur.example is of organisation "interieur" (class government) and is admitted.`,
			`The account concerned @pierre:externe.example is of organisation "partenaires" (class external) and is admitted.`,
			"The access rule of the room is restricted.", "Denied (external_in_restricted_room, by rooms.access_rules): This room"}, "en"},
		"French": {Request{Action: ActionInvite, Actor: alice, Subject: nobody}, []string{
			"Le document 14 de dinum.example", "n'est d'aucune organisation (classe : inconnu) et n'est pas admis, d'après federation.default",
			"Refusé (unknown_server, d'après federation.default) : Ce serveur"}, "fr"},
		"rule": {Request{Action: ActionJoin, Actor: alice, Room: &RoomFacts{Creator: "@m:armees.example", SubjectMembership: "invite"}}, []string{
			`has the membership "invite"`, "The condition of rules.defence-stays-home holds.", "Denied (rule, by rules.defence-stays-home): Rooms of the armed"}, "en"},
		"allowed": {Request{Action: ActionJoin, Actor: alice, Room: &RoomFacts{Rule: Direct, Creator: alice}}, []string{
			"others have 0 of its 2 seats", "does not hold", "Nothing refuses it"}, "de"},
		"server":   {Request{Action: ActionFederateIn, Server: "x.bad.example"}, []string{"The other server x.bad.example", "by federation.deny"}, "en"},
		"email":    {Request{Action: ActionRegister, Email: "secret.name@bri.police.gouv.example"}, []string{"The domain of the address bri.police.gouv.example"}, "en"},
		"no email": {Request{Action: ActionRegister, Email: "x"}, []string{"can be read in one way only"}, "en"},
		"expired":  {Request{Action: ActionJoin, Actor: alice, Now: noon.AddDate(2, 0, 0)}, []string{"The document has expired"}, "en"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.r.Now.IsZero() {
				tc.r.Now = noon
			}
			x := s.Explain(&tc.r)
			got := x.String(tc.lang)
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("got\n%s\nwant %q", got, want)
				}
			}
			if d := s.Decide(&tc.r); d.Reason != x.Decision.Reason || strings.Contains(got, "secret.name") {
				t.Errorf("%+v: %s", d, got)
			}
		})
	}
	open, err := Compile(Permissive("me.example"), "me.example")
	if err != nil {
		t.Fatal(err)
	}
	x := open.Explain(&Request{Action: ActionJoin, Actor: "@a:me.example", Room: &RoomFacts{}})
	if got := x.String("fr"); !strings.Contains(got, "n'applique pas les règles d'accès") {
		t.Error(got)
	}
}

func TestLookups(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, fullDocument, "interieur.example")
	if keys := s.PinnedKeys("Interieur.Example."); len(keys) != 1 || keys["ed25519:a1"] == "" {
		t.Error(keys)
	}
	if s.PinnedKeys("interieur.example:8448") == nil || s.PinnedKeys("sante.example") != nil || s.PinnedKeys("?") != nil {
		t.Error("pinned keys of others")
	}
	if peers := s.Peers(noon); len(peers) != 3 || peers[0] != "sante.example" {
		t.Error(peers)
	}
	if peers := s.Peers(noon.AddDate(2, 0, 0)); len(peers) != 2 {
		t.Error(peers)
	}
	if p := s.Server("SANTE.example", noon); p.Class != ClassGovernment || p.Organisation != "sante" || !p.Admitted() {
		t.Errorf("%+v", p)
	}
	p, servers, err := s.Email("a@bri.police.gouv.example", noon)
	if err != nil || p.Organisation != "interieur" || len(servers) != 1 || servers[0] != "interieur.example" || p.Name["en"] == "" {
		t.Errorf("%+v %v %v", p, servers, err)
	}
	if p, servers, err = s.Email("a@mail.example", noon); err != nil || p.Admitted() || servers != nil || p.Class != ClassUnknown {
		t.Errorf("%+v %v %v", p, servers, err)
	}
	if _, _, err = s.Email("a@b@c", noon); !matrix.IsCode(err, "M_INVALID_PARAM") {
		t.Error(err)
	}
	if s.Version() != 14 || s.Self() != "interieur.example" || s.Document().Issuer != "dinum.example" || !s.EnforcesAccessRules() || s.OpenRegistration() {
		t.Error("the snapshot does not know itself")
	}
	if NewEngine(s).Snapshot() != s {
		t.Error("the engine has another snapshot")
	}
}
