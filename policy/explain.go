package policy

import (
	"fmt"
	"strings"
	"time"

	"beffroi/matrix"
)

// Explanation is a decision with the way to it.
type Explanation struct {
	Decision Decision
	// Steps are sentences, each in French and English, in the order in which
	// the engine asks.
	Steps []Text
}

// String returns the steps in a language, one a line.
func (e Explanation) String(lang string) string {
	var b strings.Builder
	for i, step := range e.Steps {
		text := step[lang]
		if text == "" {
			text = step["en"]
		}
		fmt.Fprintf(&b, "%d. %s\n", i+1, text)
	}
	return b.String()
}

// Explain decides r and says in sentences how: which organisation and class
// each party has, what is known of the room, which rules were asked. Where
// there are two layers it says which of them decided: what the floor refuses,
// the local document is not asked about.
func (s *Snapshot) Explain(r *Request) Explanation {
	x := explainer{s: s, r: r}
	if s.floor != nil {
		if out := s.floor.explain(r); !out.Decision.Allow {
			return out
		}
		f := s.floor.source
		x.say(fmt.Sprintf("The floor, document %d of %s, allows it; the local document may refuse it.", f.Version, orNobody(f.Issuer, "nobody")),
			fmt.Sprintf("Le socle, document %d de %s, l'autorise ; le document local peut le refuser.", f.Version, orNobody(f.Issuer, "personne")))
	}
	out := s.explain(r)
	out.Steps = append(x.steps, out.Steps...)
	return out
}

// explain explains by this document alone.
func (s *Snapshot) explain(r *Request) Explanation {
	x := explainer{s: s, r: r}
	x.document()
	x.account("acting account", "compte qui agit", r.Actor)
	if r.Subject != r.Actor {
		x.account("account concerned", "compte concerné", r.Subject)
	}
	if r.Server != "" {
		x.party("other server", "autre serveur", string(r.Server), s.standing(r.Server, r.Now))
	}
	x.email()
	x.room()
	d := s.decide(r)
	x.rules(d)
	x.verdict(d)
	return Explanation{d, x.steps}
}

type explainer struct {
	s     *Snapshot
	r     *Request
	steps []Text
}

func (x *explainer) say(en, fr string) { x.steps = append(x.steps, Text{"en": en, "fr": fr}) }

func (x *explainer) document() {
	d, which := x.s.source, layerTexts[x.s.layer]
	x.say(fmt.Sprintf("%s %d of %s is asked about %q at %s.", which.en, d.Version, orNobody(d.Issuer, "nobody"), x.r.Action, x.r.Now.Format(time.RFC3339)),
		fmt.Sprintf("%s %d de %s est interrogé sur « %s » au %s.", which.fr, d.Version, orNobody(d.Issuer, "personne"), x.r.Action, x.r.Now.Format(time.RFC3339)))
	if x.s.ownFreshness(x.r.Now) == Blocking {
		x.say("The document has expired: it admits no new member and no other server.",
			"Le document a expiré : il n'admet ni nouveau membre ni autre serveur.")
	}
}

// layerTexts is how an explanation calls a document.
var layerTexts = map[Layer]struct{ en, fr string }{
	"": {"Document", "Le document"}, LayerFloor: {"The floor, document", "Le socle, document"},
	LayerLocal: {"The local document", "Le document local"},
}

// deciding names the layer of a denial.
var deciding = map[Layer]struct{ en, fr string }{
	LayerFloor: {" of the floor", " du socle"}, LayerLocal: {" of the local document", " du document local"},
}

func orNobody(s, nobody string) string {
	if s == "" {
		return nobody
	}
	return s
}

func (x *explainer) account(en, fr string, user matrix.UserID) {
	if user != "" {
		x.party(en, fr, string(user), x.s.standing(user.Server(), x.r.Now))
	}
}

var frenchClasses = [classCount]string{"inconnu", "sans organisation", "administration", "externe", "bloqué"}

func (x *explainer) party(en, fr, id string, p standing) {
	e, f := fmt.Sprintf("The %s %s", en, id), fmt.Sprintf("Le %s %s", fr, id)
	if p.org != nil {
		e += fmt.Sprintf(" is of organisation %q", p.org.ID)
		f += fmt.Sprintf(" est de l'organisation « %s »", p.org.ID)
	} else {
		e += " is of no organisation"
		f += " n'est d'aucune organisation"
	}
	e += fmt.Sprintf(" (class %s)", p.class)
	f += fmt.Sprintf(" (classe : %s)", frenchClasses[p.class])
	if p.reason != "" {
		e += fmt.Sprintf(" and is not admitted, by %s: %s", p.rule, p.reason.Text()["en"])
		f += fmt.Sprintf(" et n'est pas admis, d'après %s : %s", p.rule, p.reason.Text()["fr"])
	} else {
		e, f = e+" and is admitted.", f+" et est admis."
	}
	x.say(e, f)
}

// email names the domain only: the address itself is nobody's business here.
func (x *explainer) email() {
	if x.r.Email == "" {
		return
	}
	address, err := ParseEmail(x.r.Email)
	if err != nil {
		x.say("What was given is not an e-mail address that can be read in one way only.",
			"Ce qui a été donné n'est pas une adresse électronique lisible d'une seule façon.")
		return
	}
	x.party("domain of the address", "domaine de l'adresse", address.Domain, x.s.emailStanding(address.Domain, x.r.Now))
}

func (x *explainer) room() {
	room := x.r.Room
	switch {
	case room == nil:
		return
	case !x.s.enforce:
		x.say("Access rules of rooms are off in this document.", "Ce document n'applique pas les règles d'accès des salons.")
		return
	}
	e := fmt.Sprintf("The access rule of the room is %s", room.rule())
	f := fmt.Sprintf("La règle d'accès du salon est %s", room.rule())
	if room.rule() == Direct {
		e += fmt.Sprintf("; others have %d of its %d seats", room.Seats, directSeats)
		f += fmt.Sprintf(" ; d'autres occupent %d de ses %d places", room.Seats, directSeats)
	}
	if m := room.SubjectMembership; m != "" {
		e += fmt.Sprintf("; the account concerned has the membership %q", m)
		f += fmt.Sprintf(" ; le compte concerné y a le statut « %s »", m)
	}
	x.say(e+".", f+".")
}

// rules lists the rules of the document that were asked, up to the one that
// decided. They are asked only if nothing before them refused.
func (x *explainer) rules(d Decision) {
	if x.r.Action >= actionCount || !d.Allow && d.Reason != ReasonRule && d.Reason != ReasonRuleFailed {
		return
	}
	for _, rule := range x.s.rules[x.r.Action] {
		if rule.name == d.Rule {
			x.say(fmt.Sprintf("The condition of %s holds.", rule.name), fmt.Sprintf("La condition de %s est remplie.", rule.name))
			return
		}
		x.say(fmt.Sprintf("The condition of %s does not hold.", rule.name), fmt.Sprintf("La condition de %s n'est pas remplie.", rule.name))
	}
}

func (x *explainer) verdict(d Decision) {
	if d.Allow {
		x.say("Nothing refuses it: allowed.", "Rien ne s'y oppose : autorisé.")
		return
	}
	by := deciding[d.Layer]
	x.say(fmt.Sprintf("Denied (%s, by %s%s): %s", d.Reason, d.Rule, by.en, d.Text["en"]),
		fmt.Sprintf("Refusé (%s, d'après %s%s) : %s", d.Reason, d.Rule, by.fr, d.Text["fr"]))
}
