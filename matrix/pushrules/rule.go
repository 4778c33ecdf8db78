// Package pushrules decides of which events a user is notified, and how: it
// holds the rules as the API shows them, and evaluates them.
//
// The rules of a user are compiled once ([Compile]) and evaluated for many
// events. It is pure, and every pattern is matched in linear time: rules are
// written by users, and events by anybody.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
package pushrules

import (
	"encoding/json"

	"beffroi/matrix"
)

// Kind is one of the five kinds of rules.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
type Kind string

// The kinds, in the order in which they are asked.
const (
	Override  Kind = "override"
	Content   Kind = "content"
	Room      Kind = "room"
	Sender    Kind = "sender"
	Underride Kind = "underride"
)

// Kinds returns all kinds, in the order in which they are asked.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
func Kinds() []Kind { return []Kind{Override, Content, Room, Sender, Underride} }

// ParseKind returns the kind of this name, or M_INVALID_PARAM.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case Override, Content, Room, Sender, Underride:
		return k, nil
	}
	return "", matrix.InvalidParam("there is no such kind of push rule")
}

// hasConditions reports whether rules of this kind name their conditions.
func (k Kind) hasConditions() bool { return k == Override || k == Underride }

// Rule is one rule, as the API shows it.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
type Rule struct {
	ID      string `json:"rule_id"`
	Default bool   `json:"default"`
	Enabled bool   `json:"enabled"`
	// Actions are strings and objects. What we do not know is passed on.
	Actions []json.RawMessage `json:"actions"`
	// Conditions are objects; nil for the kinds that have none. What we do not
	// know is kept, and never matches.
	Conditions []json.RawMessage `json:"conditions,omitzero"`
	// Pattern is the glob of a content rule.
	Pattern string `json:"pattern,omitempty"`
}

// Ruleset is all rules of a user. Those of a kind are in the order in which
// they are asked.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
type Ruleset struct {
	Override  []Rule `json:"override"`
	Content   []Rule `json:"content"`
	Room      []Rule `json:"room"`
	Sender    []Rule `json:"sender"`
	Underride []Rule `json:"underride"`
}

// Rules returns the rules of a kind.
func (s *Ruleset) Rules(kind Kind) []Rule { return *s.of(kind) }

// Rule returns one rule, or M_NOT_FOUND.
func (s *Ruleset) Rule(kind Kind, id string) (Rule, error) {
	if i := find(s.Rules(kind), id); i >= 0 {
		return s.Rules(kind)[i], nil
	}
	return Rule{}, notFound()
}

func (s *Ruleset) of(kind Kind) *[]Rule {
	switch kind {
	case Override:
		return &s.Override
	case Content:
		return &s.Content
	case Room:
		return &s.Room
	case Sender:
		return &s.Sender
	}
	return &s.Underride
}

func find(rules []Rule, id string) int {
	for i := range rules {
		if rules[i].ID == id {
			return i
		}
	}
	return -1
}

func notFound() error { return matrix.NotFound("there is no such push rule") }
