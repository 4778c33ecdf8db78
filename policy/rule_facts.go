package policy

import (
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"beffroi/matrix"
)

// facts answers the variables of rules. It is pooled, and what it holds of a
// request are copies of bytes: were it to keep a string, the compiler would
// have to put each request on the heap.
type facts struct {
	snapshot *Snapshot
	action   Action
	source   Source
	have     parties
	now      time.Time

	actor, subject, server, email, creator standing
	actorID, subjectID, serverName         shortText
	emailDomain, roomID                    shortText

	rule                 AccessRule
	joinRule, membership int // in their lists of words
	public               bool
	encrypted, federate  bool
}

// shortText holds an identifier or a name.
type shortText struct {
	n int
	b [matrix.MaxIDBytes]byte
}

// set copies s, and reports whether it is as short as it must be.
func (t *shortText) set(s string) bool {
	t.n = copy(t.b[:], s)
	return len(s) <= len(t.b)
}

func (t *shortText) value() ref.Val { return types.String(t.b[:t.n]) }

// domain returns the part behind the first colon.
func (t *shortText) domain() ref.Val {
	return types.String(matrix.UserID(t.b[:t.n]).Server())
}

var factsPool = sync.Pool{New: func() any { return new(facts) }}

// documentRules asks the rules of the document, in order.
func (j *judgement) documentRules(r *Request) bool {
	rules := j.s.rules[r.Action]
	if len(rules) == 0 {
		return true
	}
	f := factsPool.Get().(*facts)
	ok := f.fill(j, r)
	if ok {
		ok = j.ask(rules, f)
	} else {
		j.reason, j.rule = ReasonRuleFailed, rules[0].name // a name longer than any can be
	}
	f.snapshot = nil
	factsPool.Put(f)
	return ok
}

func (j *judgement) ask(rules []*rule, f *facts) bool {
	for _, one := range rules {
		match, failed := one.matches(f)
		if !match || !one.when.denies(f.now) {
			continue
		}
		j.reason, j.rule, j.text, j.refused = ReasonRule, one.name, one.text, j.subject.org
		if failed {
			j.reason, j.text = ReasonRuleFailed, nil
		}
		return false
	}
	return true
}

// fill overwrites every field that a rule may read with what j.have says.
func (f *facts) fill(j *judgement, r *Request) bool {
	f.snapshot, f.action, f.source, f.have = j.s, r.Action, min(r.Source, sourceCount-1), j.have
	f.now = time.Unix(r.Now.Unix(), int64(r.Now.Nanosecond())).UTC() // every server reads one clock
	f.actor, f.subject, f.server, f.email = j.actor, j.subject, j.server, j.email
	subject := r.Subject
	if subject == "" {
		subject = r.Actor
	}
	short := f.actorID.set(string(r.Actor))
	short = f.subjectID.set(string(subject)) && short
	short = f.serverName.set(string(r.Server)) && short
	short = f.emailDomain.set(j.address.Domain) && short
	if r.Room == nil {
		return short
	}
	f.rule, f.public = r.Room.rule(), r.Room.Visibility == visibilityPublic
	f.encrypted, f.federate = r.Room.Encrypted, !r.Room.NoFederate
	f.joinRule, f.membership = indexOf(joinRules[:], r.Room.JoinRule), indexOf(memberships[:], r.Room.SubjectMembership)
	if j.s.ruleNeeds[r.Action]&roomCreator != 0 {
		f.have |= roomCreator
		f.creator = j.s.standing(r.Room.Creator.Server(), r.Now)
	}
	return f.roomID.set(string(r.Room.ID)) && short
}

// indexOf returns where s is among words, 0 where it is not: the first word of
// the lists is "".
func indexOf(words []string, s string) int {
	for i, w := range words {
		if w == s {
			return i
		}
	}
	return 0
}

var (
	joinRules   = [...]string{"", "public", "invite", "knock", "restricted", "knock_restricted", "private"}
	memberships = [...]string{"", "invite", "join", "knock", "leave", "ban"}

	boxedActions      = box(actionNames[:])
	boxedClasses      = box(classNames[:])
	boxedSources      = box(sourceNames[:])
	boxedJoinRules    = box(joinRules[:])
	boxedMemberships  = box(memberships[:])
	boxedRules        = box([]string{string(Restricted), string(Unrestricted), string(Direct)})
	boxedVisibilities = box([]string{visibilityPrivate, visibilityPublic})
)

// box makes values of words once, so that naming them costs nothing.
func box(words []string) []ref.Val {
	out := make([]ref.Val, len(words))
	for i, w := range words {
		out[i] = types.String(w)
	}
	return out
}

// Parent makes facts a cel.Activation.
func (f *facts) Parent() cel.Activation { return nil }

// ResolveName returns the value of a variable. Words, classes and organisations
// are boxed beforehand; only an identifier costs an allocation.
func (f *facts) ResolveName(name string) (any, bool) {
	switch name {
	case "actor.org":
		return f.org(&f.actor), true
	case "subject.org":
		return f.org(&f.subject), true
	case "room.org":
		return f.org(&f.creator), true
	case "server.org":
		return f.org(&f.server), true
	case "email.org":
		return f.org(&f.email), true
	case "actor.class":
		return boxedClasses[f.actor.class], true
	case "subject.class":
		return boxedClasses[f.subject.class], true
	case "room.class":
		return boxedClasses[f.creator.class], true
	case "server.class":
		return boxedClasses[f.server.class], true
	case "email.class":
		return boxedClasses[f.email.class], true
	case "action":
		return boxedActions[f.action], true
	case "source":
		return boxedSources[f.source], true
	}
	return f.resolveRoom(name)
}

func (f *facts) org(s *standing) ref.Val {
	if s.org == nil {
		return f.snapshot.boxedOrg
	}
	return s.org.boxed
}

func (f *facts) resolveRoom(name string) (any, bool) {
	switch name {
	case "room.rule":
		return boxedRule(f.rule), true
	case "room.visibility":
		if f.public {
			return boxedVisibilities[1], true
		}
		return boxedVisibilities[0], true
	case "room.encrypted":
		return types.Bool(f.encrypted), true
	case "room.federate":
		return types.Bool(f.federate), true
	case "room.join_rule":
		return boxedJoinRules[f.joinRule], true
	case "room.membership":
		return boxedMemberships[f.membership], true
	case "room.id":
		return f.roomID.value(), true
	}
	return f.resolveName(name)
}

func (f *facts) resolveName(name string) (any, bool) {
	switch name {
	case "actor.id":
		return f.actorID.value(), true
	case "actor.server":
		return f.actorID.domain(), true
	case "subject.id":
		return f.subjectID.value(), true
	case "subject.server":
		return f.subjectID.domain(), true
	case "server.name":
		return f.serverName.value(), true
	case "email.domain":
		return f.emailDomain.value(), true
	case "now":
		return types.Timestamp{Time: f.now}, true
	}
	return nil, false
}

func boxedRule(r AccessRule) ref.Val {
	switch r {
	case Unrestricted:
		return boxedRules[1]
	case Direct:
		return boxedRules[2]
	}
	return boxedRules[0]
}

// matches reports whether the condition of a rule holds. A rule that cannot be
// asked counts as one that holds.
func (r *rule) matches(f *facts) (match, failed bool) {
	if r.needs&^f.have != 0 {
		return false, false
	}
	out, _, err := r.program.Eval(f)
	if err != nil {
		return true, true
	}
	return out != types.False, false
}
