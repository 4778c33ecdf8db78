package policy

import (
	"net/http"

	"beffroi/matrix"
)

// Decision is the answer to a request. It holds nothing of a message, so it
// can be logged and audited as it is.
type Decision struct {
	Allow  bool
	Action Action
	// Reason is the code of a denial, "" where it is allowed.
	Reason Reason
	// Rule names the part of the document or the built-in rule that decided.
	Rule string
	// Layer is the document that denied, "" where there is only one.
	Layer Layer
	// Version is that of the document.
	Version int64
	// Organisation is the organisation that was refused, where there is one.
	Organisation string
	// Contact says whom to ask: the contact of the organisation of this
	// server, or else that of the organisation refused.
	Contact string
	// Text says the reason in sentences by language. It must not be changed.
	Text map[string]string
}

// refusal is the field org.beffroi.policy of an error.
type refusal struct {
	Reason   Reason `json:"reason"`
	Rule     string `json:"rule"`
	Layer    Layer  `json:"layer,omitempty"`
	Version  int64  `json:"version"`
	Contact  string `json:"contact,omitempty"`
	Decision string `json:"decision,omitempty"`
}

// Error returns what a client or a server is told about a denial, under the
// ID by which the audit trail knows it, or nil where the decision allows.
//
// https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
func (d Decision) Error(decisionID string) *matrix.Error {
	if d.Allow {
		return nil
	}
	e := &matrix.Error{Status: http.StatusForbidden, Code: "M_FORBIDDEN", Text: d.Text["en"]}
	for lang, text := range d.Text {
		if lang == "en" {
			continue
		}
		if e.Texts == nil {
			e.Texts = make(map[string]string, len(d.Text)-1)
		}
		e.Texts[lang] = text
	}
	if e.Text == "" { // a rule of the document that speaks no English
		e.Text = ReasonRule.Text()["en"]
	}
	return e.With("org.beffroi.policy", refusal{d.Reason, d.Rule, d.Layer, d.Version, d.Contact, decisionID})
}
