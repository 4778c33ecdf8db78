package policy

import (
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"

	"beffroi/matrix"
)

const (
	// maxRules, maxRuleBytes and maxRuleCost together keep the slowest
	// document within a fraction of a millisecond a decision.
	maxRules     = 200
	maxRuleBytes = 4096
	maxRuleCost  = 2000 // of the cost model of CEL: a comparison costs 1 to 30
)

// A rule sees names of the form party.field, all strings but the flags of the
// room and the time. Nothing of a message is among them.
var ruleVariables = map[string]*cel.Type{
	"action": cel.StringType, "source": cel.StringType, "now": cel.TimestampType,
	"actor.id": cel.StringType, "actor.server": cel.StringType, "actor.org": cel.StringType, "actor.class": cel.StringType,
	"subject.id": cel.StringType, "subject.server": cel.StringType, "subject.org": cel.StringType, "subject.class": cel.StringType,
	"server.name": cel.StringType, "server.org": cel.StringType, "server.class": cel.StringType,
	"email.domain": cel.StringType, "email.org": cel.StringType, "email.class": cel.StringType,
	"room.id": cel.StringType, "room.rule": cel.StringType, "room.visibility": cel.StringType,
	"room.join_rule": cel.StringType, "room.membership": cel.StringType, "room.org": cel.StringType,
	"room.class": cel.StringType, "room.encrypted": cel.BoolType, "room.federate": cel.BoolType,
}

// parties is a set of what a rule reads, or a request has.
type parties uint8

const (
	partyActor parties = 1 << iota
	partySubject
	partyServer
	partyEmail
	partyRoom
	roomCreator // room.org or room.class, which cost a look-up
)

var partyNames = map[string]parties{
	"actor": partyActor, "subject": partySubject, "server": partyServer, "email": partyEmail, "room": partyRoom,
}

// rule is a compiled rule of the document.
type rule struct {
	name    string // rules.<id>
	program cel.Program
	needs   parties
	text    map[string]string
	when    *period
}

func (c *compiler) compileRules() {
	if len(c.doc.Rules) == 0 {
		return
	}
	if len(c.doc.Rules) > maxRules {
		c.wrong("rules", "are %d; at most %d are allowed", len(c.doc.Rules), maxRules)
		return
	}
	env, err := ruleEnvironment()
	if err != nil {
		c.wrong("rules", "cannot be read: %v", err)
		return
	}
	seen := make(map[string]bool, len(c.doc.Rules))
	for i, r := range c.doc.Rules {
		path := "rules[" + strconv.Itoa(i) + "]"
		if !validID(r.ID) || seen[r.ID] {
			c.wrong(path+".id", "%q is not an ID of 1 to 64 letters, digits, - _ and ., or names another rule too", clip(r.ID))
		}
		seen[r.ID] = true
		compiled := c.compileRule(env, r, path)
		for _, a := range c.ruleActions(r, path) {
			if compiled != nil {
				c.rules[a] = append(c.rules[a], compiled)
				c.ruleNeeds[a] |= compiled.needs
			}
		}
	}
}

func ruleEnvironment() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.StdLib(), cel.ClearMacros(), cel.ExtendedValidations(), // no macros: no loops
		cel.ParserExpressionSizeLimit(maxRuleBytes), cel.ParserRecursionLimit(64),
	}
	for name, t := range ruleVariables {
		options = append(options, cel.Variable(name, t))
	}
	return cel.NewCustomEnv(options...)
}

// ruleActions returns the actions a rule is asked for. Leaving and removing
// are allowed always, so no rule can name them.
func (c *compiler) ruleActions(r Rule, path string) []Action {
	var out []Action
	if len(r.Actions) == 0 {
		for _, a := range Actions() {
			if a != ActionLeave && a != ActionKickBan {
				out = append(out, a)
			}
		}
		return out
	}
	for i, name := range r.Actions {
		at := path + ".actions[" + strconv.Itoa(i) + "]"
		a, ok := ParseAction(name)
		switch {
		case !ok:
			c.word(at, name, actionNames[1:]...)
		case a == ActionLeave || a == ActionKickBan:
			c.wrong(at, "%s is always allowed", name)
		default:
			out = append(out, a)
		}
	}
	return out
}

func (c *compiler) compileRule(env *cel.Env, r Rule, path string) *rule {
	if len(r.When) > maxRuleBytes {
		c.wrong(path+".when", "is longer than %d bytes", maxRuleBytes)
		return nil
	}
	ast, issues := env.Compile(r.When)
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			c.wrong(path+".when", "column %d: %s", e.Location.Column()+1, e.Message)
		}
		return nil
	}
	if ast.OutputType() != cel.BoolType {
		c.wrong(path+".when", "is a %s; a condition is true or false", ast.OutputType())
		return nil
	}
	estimate, err := env.EstimateCost(ast, ruleSizes{})
	if err != nil || estimate.Max > maxRuleCost {
		c.wrong(path+".when", "may cost %d, more than %d: make it simpler", estimate.Max, maxRuleCost)
		return nil
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		c.wrong(path+".when", "cannot be compiled: %v", err)
		return nil
	}
	out := &rule{name: "rules." + r.ID, program: program, text: r.Reason, when: c.dates(r.Starts, r.Ends, path)}
	if len(r.Reason) == 0 {
		out.text = ReasonRule.Text()
	}
	for _, reference := range ast.NativeRep().ReferenceMap() {
		party, _, _ := strings.Cut(reference.Name, ".")
		out.needs |= partyNames[party]
		if reference.Name == "room.org" || reference.Name == "room.class" {
			out.needs |= roomCreator
		}
	}
	return out
}

// ruleSizes bounds the variables, so that the cost of a rule is known before
// it is ever asked: none is longer than an identifier.
type ruleSizes struct{}

func (ruleSizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if len(n.Path()) > 0 {
		return &cost.SizeEstimate{Min: 0, Max: matrix.MaxIDBytes}
	}
	return nil
}

func (ruleSizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
