package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
)

// story is the check under way.
type story struct {
	*demo
	out      io.Writer
	agent    *demoUser // of the Ministry of the Interior, who registers in the story
	room     string    // the agent's
	alias    string
	refusals []refusal
}

// refusal is one that the audit trail of a server must know.
type refusal struct {
	at       matrix.ServerName
	decision string
	what     string
}

// step is one line of the story.
type step struct {
	name string
	run  func(context.Context) error
}

// errStory says that a step failed.
var errStory = errors.New("the story does not hold")

// check plays the story and tells how each step ended. Every step runs, even
// if one before it failed: what fails next says more about the cause.
func (d *demo) check(ctx context.Context, out io.Writer) error {
	s := &story{demo: d, out: out}
	passed, failed := 0, 0
	for _, st := range s.steps() {
		start := time.Now()
		err := st.run(ctx)
		took := time.Since(start).Round(time.Millisecond)
		if err != nil {
			failed++
			fmt.Fprintf(out, "FAIL  %s (%v)\n      %v\n", st.name, took, err)
			continue
		}
		passed++
		fmt.Fprintf(out, "ok    %s (%v)\n", st.name, took)
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return errStory
	}
	return nil
}

func (s *story) steps() []step {
	return []step{
		{"an agent registers with an address of an allowed domain", s.register},
		{"an address of an unknown domain is refused", s.refuseRegistration},
		{"the demo's accounts log in", s.login},
		{"the agent creates a room, and it is restricted", s.createRoom},
		{"an account of the other ministry is invited and joins by federation", s.joinOtherMinistry},
		{"messages go both ways", s.talk},
		{"the partner is refused: invitation", s.refuseInvite},
		{"the partner is refused: invitation by e-mail", s.refuseEmailInvite},
		{"the partner is refused: join by alias", s.refuseJoinByAlias},
		{"the partner is refused: make_join asked by its server", s.refuseMakeJoin},
		{"the partner is refused: send_join asked by its server", s.refuseSendJoin},
		{"the partner is refused: a forged join pushed through send", s.refuseForgedJoin},
		{"the partner is refused: a knock", s.refuseKnock},
		{"an unknown server is refused before any key of it is fetched", s.refuseStranger},
		{"the room is opened", s.openRoom},
		{"the partner is invited and joins", s.joinPartner},
		{"the partner cannot get power", s.refusePower},
		{"closing the room again is refused", s.refuseClosing},
		{"a bad document is refused, and told with its line what is wrong", s.refuseBadDocument},
		{"a domain moves to the other ministry: its people register there", s.moveDomain},
		{"a ministry is merged into another: its people stay and count as of that one", s.mergeMinistry},
		{"the partner's contract ends: two people change the policy, and it is refused at once", s.endContract},
		{"the sweep takes the partner out of the room", s.partnerIsGone},
		{"a server is cut off in an emergency", s.cutOff},
		{"the audit trail knows every refusal by its decision", s.audit},
		{"the databases hold nothing that must not be", s.verify},
	}
}

// refused notes the decision of an answer, and fails if it is not a refusal by
// the policy with its reason.
func (s *story) refused(at matrix.ServerName, what string, a answer) error {
	reason, decision := a.text("org.beffroi.policy", "reason"), a.text("org.beffroi.policy", "decision")
	if a.Status != 403 || reason == "" || decision == "" {
		return fmt.Errorf("want a refusal by the policy, got %s", a)
	}
	s.refusals = append(s.refusals, refusal{at, decision, what})
	return nil
}

// audit looks every refusal up and checks the chain of the trails.
func (s *story) audit(ctx context.Context) error {
	for _, r := range s.refusals {
		ctx, cancel := context.WithTimeout(ctx, demoTimeout)
		err := s.findDecision(ctx, r)
		cancel()
		if err != nil {
			return err
		}
	}
	if len(s.refusals) < 10 {
		return fmt.Errorf("only %d refusals were met", len(s.refusals))
	}
	for name, server := range s.servers {
		if _, err := server.Policy.VerifyAudit(ctx); err != nil {
			return fmt.Errorf("trail of %s: %w", name, err)
		}
	}
	return nil
}

// findDecision waits until a decision is written: a refusal does not wait for
// its line in the trail.
func (s *story) findDecision(ctx context.Context, r refusal) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := s.servers[r.at].Policy.Find(ctx, r.decision)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("decision %s (%s) of %s: %w", r.decision, r.what, r.at, err)
		case <-tick.C:
		}
	}
}

// verify looks at the three databases.
func (s *story) verify(ctx context.Context) error {
	var all []error
	for name, server := range s.servers {
		findings, err := storage.Verify(ctx, server.DB)
		all = append(all, err)
		snapshot := server.Policy.Engine().Snapshot()
		denied, err := storage.VerifyMembers(ctx, server.DB, func(user, room string) bool {
			id := matrix.UserID(user)
			facts, err := factsFor(ctx, server.DB, matrix.RoomID(room), id)
			all = append(all, err)
			return err == nil && snapshot.Member(id, *facts, time.Now()).Allow
		})
		all = append(all, err)
		for _, f := range append(findings, denied...) {
			all = append(all, fmt.Errorf("%s: %s", name, f))
		}
	}
	return errors.Join(all...)
}
