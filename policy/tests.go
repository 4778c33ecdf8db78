package policy

import (
	"strconv"
	"time"

	"beffroi/matrix"
)

// Failure is a test of the document that had another answer than it expects.
type Failure struct {
	Index    int // in Document.Tests
	Test     Test
	Decision Decision
}

// String returns the failure in one line.
func (f Failure) String() string {
	name := f.Test.Name
	if name == "" {
		name = f.Test.Can + " " + f.Test.Action + " " + f.Test.Subject
	}
	got := "allow"
	if !f.Decision.Allow {
		got = "deny (" + string(f.Decision.Reason) + ")"
	}
	return "test " + strconv.Itoa(f.Index+1) + " (" + name + "): expected " + f.Test.Expect + ", got " + got
}

// RunTests asks the tests of the document at the time now, or at their own.
func RunTests(s *Snapshot, now time.Time) []Failure {
	var out []Failure
	for i, t := range s.source.Tests {
		d := s.Decide(t.request(now))
		if d.Allow != (t.Expect == "allow") || t.Because != "" && string(d.Reason) != t.Because {
			out = append(out, Failure{i, t, d})
		}
	}
	return out
}

func (t Test) request(now time.Time) *Request {
	action, _ := ParseAction(t.Action)
	r := &Request{
		Action: action, Actor: matrix.UserID(t.Can), Subject: matrix.UserID(t.Subject),
		Server: matrix.ServerName(t.Server), Email: t.Email, Now: now,
	}
	if !t.At.IsZero() {
		r.Now = t.At
	}
	if t.Room != nil {
		r.Room = &RoomFacts{
			Rule: AccessRule(t.Room.Rule), Visibility: t.Room.Visibility, JoinRule: t.Room.JoinRule,
			Creator: matrix.UserID(t.Room.Creator), SubjectMembership: t.Room.Membership,
			Encrypted: t.Room.Encrypted, Seats: t.Room.Seats,
		}
	}
	return r
}

// checkTests checks the form of the tests; what they answer is for RunTests.
func (c *compiler) checkTests() {
	for i, t := range c.doc.Tests {
		path := "tests[" + strconv.Itoa(i) + "]"
		if _, ok := ParseAction(t.Action); !ok {
			c.word(path+".action", t.Action, actionNames[1:]...)
		}
		if t.Expect != "allow" && t.Expect != "deny" {
			c.wrong(path+".expect", "is %q; it is allow or deny", clip(t.Expect))
		}
		if t.Because != "" && reasonTexts[Reason(t.Because)] == nil {
			c.wrong(path+".because", "%q is not a reason", clip(t.Because))
		}
		for _, id := range []struct{ key, value string }{{"can", t.Can}, {"subject", t.Subject}} {
			if _, err := matrix.ParseUserID(id.value); id.value != "" && err != nil {
				c.wrong(path+"."+id.key, "%q is not a user ID", clip(id.value))
			}
		}
		if t.Room != nil && t.Room.Rule != "" && !AccessRule(t.Room.Rule).Valid() {
			c.oneOf(path+".room.rule", t.Room.Rule, string(Restricted), string(Unrestricted), string(Direct))
		}
	}
}
