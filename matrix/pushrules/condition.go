package pushrules

import (
	"encoding/json"
	"strconv"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// condition is one compiled condition.
type condition func(in *Input, displayName string) bool

// rawCondition is the JSON form of all conditions together.
type rawCondition struct {
	Kind    string          `json:"kind"`
	Key     *string         `json:"key"`
	Pattern *string         `json:"pattern"`
	Is      *string         `json:"is"`
	Value   json.RawMessage `json:"value"`
}

// checkCondition refuses a condition that could never match because it is
// malformed. One of a kind that we do not know is accepted.
func checkCondition(raw json.RawMessage) error {
	var c rawCondition
	if err := json.Unmarshal(raw, &c); err != nil || c.Kind == "" {
		return matrix.BadJSON("a condition must be an object with a kind")
	}
	if known[c.Kind] != nil && compileCondition(raw) == nil {
		return matrix.BadJSON("the %s condition is malformed", c.Kind)
	}
	return nil
}

// known has a compiler for every kind of condition. They return nil for what
// can never match.
//
// https://spec.matrix.org/v1.19/client-server-api/#conditions-1
var known = map[string]func(c *rawCondition) condition{
	"event_match":                    (*rawCondition).eventMatch,
	"event_property_is":              (*rawCondition).propertyIs,
	"event_property_contains":        (*rawCondition).propertyContains,
	"contains_display_name":          (*rawCondition).containsDisplayName,
	"room_member_count":              (*rawCondition).memberCount,
	"sender_notification_permission": (*rawCondition).notificationPermission,
}

func compileCondition(raw json.RawMessage) condition {
	var c rawCondition
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil
	}
	if compile := known[c.Kind]; compile != nil {
		return compile(&c)
	}
	return nil
}

const bodyPath = "content.body"

func (c *rawCondition) eventMatch() condition {
	if c.Key == nil || c.Pattern == nil {
		return nil
	}
	g, p := newGlob(*c.Pattern), newPath(*c.Key)
	switch {
	case g == nil:
		return nil
	case *c.Key == bodyPath:
		return bodyMatch(g)
	}
	return func(in *Input, _ string) bool {
		v := in.at(&p)
		return v.isString && g.matchAll(v.text)
	}
}

func bodyMatch(g *glob) condition {
	p := newPath(bodyPath)
	return func(in *Input, _ string) bool {
		v := in.at(&p)
		return v.isString && g.matchWords(v.text)
	}
}

// scalar returns the canonical form of a value that is no array or object.
func (c *rawCondition) scalar() []byte {
	want, err := canonicaljson.Canonicalise(c.Value, canonicaljson.Strict)
	if err != nil || len(want) == 0 || want[0] == '{' || want[0] == '[' {
		return nil
	}
	return want
}

func (c *rawCondition) propertyIs() condition {
	want := c.scalar()
	if c.Key == nil || want == nil {
		return nil
	}
	p := newPath(*c.Key)
	return func(in *Input, _ string) bool { return in.at(&p).equals(want) }
}

func (c *rawCondition) propertyContains() condition {
	want := c.scalar()
	if c.Key == nil || want == nil {
		return nil
	}
	p := newPath(*c.Key)
	return func(in *Input, _ string) bool {
		items := canonicaljson.Array(in.at(&p).raw)
		for raw, ok := items.NextElement(); ok; raw, ok = items.NextElement() {
			if string(raw) == string(want) {
				return true
			}
		}
		return false
	}
}

func (c *rawCondition) containsDisplayName() condition {
	p := newPath(bodyPath)
	return func(in *Input, displayName string) bool {
		v := in.at(&p)
		if !v.isString || displayName == "" {
			return false
		}
		g := newLiteral(displayName)
		return g != nil && g.matchWords(v.text)
	}
}

func (c *rawCondition) memberCount() condition {
	if c.Is == nil {
		return nil
	}
	digits := strings.TrimLeft(*c.Is, "=<>")
	operator := strings.TrimSuffix(*c.Is, digits)
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || digits[0] == '+' {
		return nil
	}
	switch operator {
	case "", "==":
		return func(in *Input, _ string) bool { return in.members == n }
	case "<":
		return func(in *Input, _ string) bool { return in.members < n }
	case ">":
		return func(in *Input, _ string) bool { return in.members > n }
	case "<=":
		return func(in *Input, _ string) bool { return in.members <= n }
	case ">=":
		return func(in *Input, _ string) bool { return in.members >= n }
	}
	return nil
}

func (c *rawCondition) notificationPermission() condition {
	if c.Key == nil {
		return nil
	}
	key := *c.Key
	return func(in *Input, _ string) bool { return in.mayNotify(key) }
}
