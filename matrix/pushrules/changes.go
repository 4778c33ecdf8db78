package pushrules

import (
	"encoding/json"
	"slices"
	"strings"

	"beffroi/matrix"
)

// The limits of what a user may store. They are far above what any client
// offers, and keep the evaluation of one event cheap.
//
// Divergence: the specification names no limits. A rule beyond them is refused.
const (
	MaxRules      = 1000 // of one user: a room rule for every room
	MaxConditions = 32
	MaxActions    = 16
	MaxRuleBytes  = 8 << 10 // of the conditions and actions of a rule together
	MaxPattern    = maxTokens
)

// Changes is what a user changed about the default rules. The zero value is
// no change. It is stored as JSON.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
type Changes struct {
	// Ruleset holds the user's own rules.
	Own Ruleset `json:"own"`
	// Defaults holds what the user changed of default rules, by kind and ID
	// with a slash between them.
	Defaults map[string]DefaultChange `json:"defaults,omitempty"`
}

// DefaultChange is what a user changed of one default rule.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
type DefaultChange struct {
	Enabled *bool             `json:"enabled,omitempty"`
	Actions []json.RawMessage `json:"actions,omitzero"`
}

// NewRule is what the API takes for a rule.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
type NewRule struct {
	Actions    []json.RawMessage `json:"actions"`
	Conditions []json.RawMessage `json:"conditions"`
	Pattern    string            `json:"pattern"`
}

// Ruleset returns all rules of the user: the master rule, then their own, then
// the other default rules.
func (c *Changes) Ruleset(user matrix.UserID) Ruleset {
	var out Ruleset
	for _, kind := range Kinds() {
		*out.of(kind) = make([]Rule, 0, len(c.Own.Rules(kind))+len(defaultRules))
	}
	out.Override = append(out.Override, c.defaultRule(&defaultRules[0], user))
	for _, kind := range Kinds() {
		rules := out.of(kind)
		*rules = append(*rules, c.Own.Rules(kind)...)
	}
	for i := range defaultRules[1:] {
		d := &defaultRules[1+i]
		rules := out.of(d.kind)
		*rules = append(*rules, c.defaultRule(d, user))
	}
	return out
}

func (c *Changes) defaultRule(d *defaultRule, user matrix.UserID) Rule {
	rule := d.rule(user)
	change := c.Defaults[defaultKey(d.kind, d.id)]
	if change.Enabled != nil {
		rule.Enabled = *change.Enabled
	}
	if change.Actions != nil {
		rule.Actions = change.Actions
	}
	return rule
}

func defaultKey(kind Kind, id string) string { return string(kind) + "/" + id }

func isDefault(kind Kind, id string) bool {
	return slices.ContainsFunc(defaultRules, func(d defaultRule) bool { return d.kind == kind && d.id == id })
}

// Put adds a rule of the user's own, or changes it. A new rule comes before
// the others of its kind, unless before or after name one of them: then it is
// put right before or after that one, and before decides where both are given.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
func (c *Changes) Put(kind Kind, id string, n NewRule, before, after string) error {
	if err := checkID(id); err != nil {
		return err
	}
	rule, err := n.rule(kind, id)
	if err != nil {
		return err
	}
	rules := slices.Clone(c.Own.Rules(kind))
	at := find(rules, id)
	switch {
	case at >= 0:
		rule.Enabled = rules[at].Enabled
		rules = slices.Delete(rules, at, at+1)
	case c.count() >= MaxRules:
		return matrix.InvalidParam("there are %d push rules already", MaxRules)
	default:
		at = 0
	}
	if anchor := before + after; anchor != "" {
		if at, err = place(rules, before, after); err != nil {
			return err
		}
	}
	*c.Own.of(kind) = slices.Insert(rules, at, rule)
	return nil
}

// place returns where a rule belongs that stands next to another one.
func place(rules []Rule, before, after string) (int, error) {
	anchor, offset := before, 0
	if before == "" {
		anchor, offset = after, 1
	}
	i := find(rules, anchor)
	if i < 0 {
		return 0, matrix.NewError(400, "M_UNKNOWN", "before/after rule not found")
	}
	return i + offset, nil
}

func (c *Changes) count() int {
	n := 0
	for _, kind := range Kinds() {
		n += len(c.Own.Rules(kind))
	}
	return n
}

// Delete removes a rule of the user's own, or returns M_NOT_FOUND.
func (c *Changes) Delete(kind Kind, id string) error {
	rules := c.Own.Rules(kind)
	i := find(rules, id)
	if i < 0 {
		return notFound()
	}
	*c.Own.of(kind) = slices.Delete(slices.Clone(rules), i, i+1)
	return nil
}

// SetEnabled switches any rule on or off, or returns M_NOT_FOUND.
func (c *Changes) SetEnabled(kind Kind, id string, enabled bool) error {
	return c.change(kind, id, func(r *Rule, d *DefaultChange) { r.Enabled, d.Enabled = enabled, &enabled })
}

// SetActions changes what any rule does, or returns M_NOT_FOUND.
func (c *Changes) SetActions(kind Kind, id string, actions []json.RawMessage) error {
	clean, err := cleanActions(actions)
	if err != nil {
		return err
	}
	return c.change(kind, id, func(r *Rule, d *DefaultChange) { r.Actions, d.Actions = clean, clean })
}

// change applies fn to a rule of the user's own or to what is changed of a
// default one. Slices and maps are replaced, so that copies stay as they are.
func (c *Changes) change(kind Kind, id string, fn func(*Rule, *DefaultChange)) error {
	if isDefault(kind, id) {
		defaults := make(map[string]DefaultChange, len(c.Defaults)+1)
		for key, d := range c.Defaults {
			defaults[key] = d
		}
		d := defaults[defaultKey(kind, id)]
		fn(new(Rule), &d)
		defaults[defaultKey(kind, id)] = d
		c.Defaults = defaults
		return nil
	}
	rules := slices.Clone(c.Own.Rules(kind))
	i := find(rules, id)
	if i < 0 {
		return notFound()
	}
	fn(&rules[i], new(DefaultChange))
	*c.Own.of(kind) = rules
	return nil
}

// checkID refuses what cannot be the ID of a user's own rule.
func checkID(id string) error {
	switch {
	case id == "" || len(id) > matrix.MaxIDBytes:
		return matrix.InvalidParam("the ID of a push rule has between 1 and %d bytes", matrix.MaxIDBytes)
	case id[0] == '.':
		return matrix.InvalidParam("only default push rules have an ID that begins with a dot")
	case strings.ContainsAny(id, `/\`):
		return matrix.InvalidParam("the ID of a push rule has no slashes")
	}
	return nil
}

// rule checks what the API was given.
func (n *NewRule) rule(kind Kind, id string) (Rule, error) {
	rule := Rule{ID: id, Enabled: true}
	var err error
	if rule.Actions, err = cleanActions(n.Actions); err != nil {
		return rule, err
	}
	size := 0
	for _, part := range [][]json.RawMessage{rule.Actions, n.Conditions} {
		for _, raw := range part {
			size += len(raw)
		}
	}
	switch {
	case size > MaxRuleBytes:
		return rule, matrix.TooLarge("the push rule is longer than %d bytes", MaxRuleBytes)
	case len(n.Conditions) > MaxConditions:
		return rule, matrix.InvalidParam("a push rule has at most %d conditions", MaxConditions)
	case kind == Content && n.Pattern == "":
		return rule, matrix.MissingParam("a content rule needs a pattern")
	case kind == Content && newGlob(n.Pattern) == nil:
		return rule, matrix.InvalidParam("a pattern has at most %d characters", MaxPattern)
	}
	if kind == Content {
		rule.Pattern = n.Pattern
	}
	if kind.hasConditions() {
		rule.Conditions = append([]json.RawMessage{}, n.Conditions...)
		for _, raw := range n.Conditions {
			if err := checkCondition(raw); err != nil {
				return rule, err
			}
		}
	}
	return rule, nil
}

// cleanActions checks a list of actions and drops those that are to be
// ignored.
//
// https://spec.matrix.org/v1.19/client-server-api/#historical-actions
func cleanActions(actions []json.RawMessage) ([]json.RawMessage, error) {
	if actions == nil {
		return nil, matrix.MissingParam("a push rule needs actions")
	}
	if len(actions) > MaxActions {
		return nil, matrix.InvalidParam("a push rule has at most %d actions", MaxActions)
	}
	out := make([]json.RawMessage, 0, len(actions))
	size := 0
	for _, raw := range actions {
		size += len(raw)
		a, err := parseAction(raw)
		if err != nil {
			return nil, err
		}
		if a.name != "dont_notify" && a.name != "coalesce" {
			out = append(out, raw)
		}
	}
	if size > MaxRuleBytes {
		return nil, matrix.TooLarge("the actions are longer than %d bytes", MaxRuleBytes)
	}
	return out, nil
}
