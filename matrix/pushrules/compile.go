package pushrules

import (
	"encoding/json"

	"beffroi/matrix"
)

// Rules is the compiled rules of one user. It never changes and is safe for
// concurrent use.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
type Rules struct {
	user     matrix.UserID
	before   []compiled // override and content rules
	byRoom   map[matrix.RoomID]*Outcome
	bySender map[matrix.UserID]*Outcome
	after    []compiled // underride rules
}

// compiled is a rule that is on and can match.
type compiled struct {
	conditions []condition
	outcome    Outcome
}

// Outcome is what the rules say about one event. The zero value is silence.
//
// https://spec.matrix.org/v1.19/client-server-api/#actions
type Outcome struct {
	// Notify says that the user is to be told.
	Notify bool
	// Highlight says that the event is shown as meant for this user.
	Highlight bool
	// RuleID is the rule that decided; "" where none matched.
	RuleID string
	// Actions are those of the rule, as the API shows them.
	Actions []json.RawMessage
	// Tweaks are what a push gateway gets, by name. It must not be modified.
	Tweaks map[string]json.RawMessage
}

// Compile prepares the rules of a user. Rules that are off or malformed are
// left out: they match nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
func Compile(user matrix.UserID, rules *Ruleset) *Rules {
	out := &Rules{
		user:     user,
		byRoom:   make(map[matrix.RoomID]*Outcome),
		bySender: make(map[matrix.UserID]*Outcome),
	}
	out.before = appendConditional(nil, rules.Override)
	for _, r := range rules.Content {
		if g := newGlob(r.Pattern); r.Enabled && g != nil && r.Pattern != "" {
			out.before = append(out.before, compiled{[]condition{bodyMatch(g)}, outcomeOf(&r)})
		}
	}
	for _, r := range rules.Room {
		if o := outcomeOf(&r); r.Enabled && out.byRoom[matrix.RoomID(r.ID)] == nil {
			out.byRoom[matrix.RoomID(r.ID)] = &o
		}
	}
	for _, r := range rules.Sender {
		if o := outcomeOf(&r); r.Enabled && out.bySender[matrix.UserID(r.ID)] == nil {
			out.bySender[matrix.UserID(r.ID)] = &o
		}
	}
	out.after = appendConditional(nil, rules.Underride)
	return out
}

func appendConditional(out []compiled, rules []Rule) []compiled {
rules:
	for _, r := range rules {
		if !r.Enabled {
			continue
		}
		c := compiled{outcome: outcomeOf(&r)}
		for _, raw := range r.Conditions {
			cond := compileCondition(raw)
			if cond == nil {
				continue rules
			}
			c.conditions = append(c.conditions, cond)
		}
		out = append(out, c)
	}
	return out
}

// Evaluate returns what the first rule that matches says. displayName is the
// user's in the room of the event, "" where there is none. Users are never
// notified of what they did themselves.
func (r *Rules) Evaluate(in *Input, displayName string) Outcome {
	if in.event.Sender() == r.user {
		return Outcome{}
	}
	if o := first(r.before, in, displayName); o != nil {
		return *o
	}
	if o := r.byRoom[in.event.RoomID()]; o != nil {
		return *o
	}
	if o := r.bySender[in.event.Sender()]; o != nil {
		return *o
	}
	if o := first(r.after, in, displayName); o != nil {
		return *o
	}
	return Outcome{}
}

func first(rules []compiled, in *Input, displayName string) *Outcome {
	for i := range rules {
		if rules[i].matches(in, displayName) {
			return &rules[i].outcome
		}
	}
	return nil
}

func (c *compiled) matches(in *Input, displayName string) bool {
	for _, holds := range c.conditions {
		if !holds(in, displayName) {
			return false
		}
	}
	return true
}

// action is a parsed action: notify, or a tweak with its value.
type action struct {
	name  string // of an action without parameters
	tweak string
	value json.RawMessage
}

// parseAction reads a string or an object with set_tweak.
//
// https://spec.matrix.org/v1.19/client-server-api/#actions
func parseAction(raw json.RawMessage) (a action, err error) {
	if json.Unmarshal(raw, &a.name) == nil && a.name != "" {
		return a, nil
	}
	var object struct {
		Tweak string          `json:"set_tweak"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(raw, &object); err != nil || object.Tweak == "" {
		return a, matrix.BadJSON("an action must be a name or an object with set_tweak")
	}
	return action{tweak: object.Tweak, value: object.Value}, nil
}

func outcomeOf(r *Rule) Outcome {
	o := Outcome{RuleID: r.ID, Actions: r.Actions}
	for _, raw := range r.Actions {
		a, err := parseAction(raw)
		switch {
		case err != nil: // stored by an older version: ignored like any unknown action
		case a.name == "notify":
			o.Notify = true
		case a.tweak != "":
			if o.Tweaks == nil {
				o.Tweaks = make(map[string]json.RawMessage)
			}
			if a.tweak == "highlight" && a.value == nil {
				a.value = json.RawMessage("true")
			}
			o.Tweaks[a.tweak] = a.value
		}
	}
	o.Highlight = string(o.Tweaks["highlight"]) == "true"
	return o
}
