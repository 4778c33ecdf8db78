package account

import (
	"strings"

	"beffroi/matrix"
	"beffroi/policy"
)

// normaliseEmail returns the form in which addresses are compared: in lower
// case, its domain in A-labels. It refuses what the policy would not read.
func normaliseEmail(address string) (string, error) {
	email, err := policy.ParseEmail(address)
	if err != nil {
		return "", matrix.InvalidParam("this is not an e-mail address")
	}
	return strings.ToLower(email.Local) + "@" + email.Domain, nil
}

// LocalpartOf returns the localpart that an address gives, as Tchap makes it:
// prenom.nom@domaine.gouv.fr is prenom.nom-domaine.gouv.fr. Characters that a
// localpart cannot have are left out.
func LocalpartOf(address string) string {
	name := strings.Replace(strings.ToLower(address), "@", "-", 1)
	return strings.Map(func(r rune) rune {
		if r < 0x80 && matrix.ValidLocalpart(string(r)) {
			return r
		}
		return -1
	}, name)
}

// DisplayNameOf returns the display name that an address gives:
// prenom.nom@interieur.gouv.fr is Prenom Nom [Interieur].
func DisplayNameOf(address string) string {
	local, domain, _ := strings.Cut(strings.ToLower(address), "@")
	local, _, _ = strings.Cut(local, "+")
	var words []string
	for word := range strings.FieldsFuncSeq(local, func(r rune) bool { return r == '.' || r == '_' }) {
		words = append(words, capital(word))
	}
	return strings.Join(words, " ") + " [" + capital(organisationOf(domain)) + "]"
}

// organisationOf returns the label before gouv.tld, and otherwise the one
// before the top-level domain.
func organisationOf(domain string) string {
	labels := strings.Split(domain, ".")
	n := len(labels)
	switch {
	case n >= 3 && labels[n-2] == "gouv":
		return labels[n-3]
	case n >= 2:
		return labels[n-2]
	}
	return domain
}

// capital writes every part of a name between hyphens with a capital.
func capital(name string) string {
	parts := strings.Split(name, "-")
	for i, part := range parts {
		if part != "" {
			parts[i] = strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return strings.Join(parts, "-")
}
