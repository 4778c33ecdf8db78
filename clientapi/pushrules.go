package clientapi

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"net/http"
	"sync"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/matrix/pushrules"
)

// pushRules is the account data m.push_rules: what the user changed, and
// beside it all rules as clients see them in a sync.
type pushRules struct {
	Global pushrules.Ruleset `json:"global"`
	pushrules.Changes
}

// shownRules is what clients see.
type shownRules struct {
	Global pushrules.Ruleset `json:"global"`
}

// readPushRules returns the rules of a user.
func (s *Server) readPushRules(ctx context.Context, user matrix.UserID) (rules pushRules, err error) {
	content, err := s.Accounts.AccountData(ctx, user, "", account.TypePushRules)
	if err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
		return rules, err
	}
	if err == nil {
		var stored struct{ pushrules.Changes } // the rules as they were shown may be older than ours
		if err := json.Unmarshal(content, &stored); err != nil {
			return rules, err
		}
		rules.Changes = stored.Changes
	}
	rules.Global = rules.Ruleset(user)
	return rules, nil
}

// changePushRules applies a change to the rules of a user.
func (s *Server) changePushRules(ctx context.Context, user matrix.UserID, change func(*pushrules.Changes) error) error {
	defer s.edits.lock(user)()
	rules, err := s.readPushRules(ctx, user)
	if err != nil {
		return err
	}
	if err := change(&rules.Changes); err != nil {
		return err
	}
	rules.Global = rules.Ruleset(user)
	raw, err := json.Marshal(rules)
	if err != nil {
		return err
	}
	if err := s.Accounts.SetManagedData(ctx, user, "", account.TypePushRules, raw); err != nil {
		return err
	}
	s.Rooms.PushRulesChanged(user)
	return nil
}

// pushRulesData is the account data m.push_rules, which everybody has.
func (s *Server) pushRulesData(ctx context.Context, who *caller) (httpx.Raw, error) {
	rules, err := s.readPushRules(ctx, who.User)
	if err != nil {
		return nil, err
	}
	return json.Marshal(shownRules{rules.Global})
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules
func (s *Server) pushRules(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (httpx.Raw, error) {
	return s.pushRulesData(ctx, who)
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal
func (s *Server) pushRulesGlobal(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (pushrules.Ruleset, error) {
	rules, err := s.readPushRules(ctx, who.User)
	return rules.Global, err
}

// readPushRule returns the rule that a path names.
func (s *Server) readPushRule(ctx context.Context, who *caller, r *http.Request) (rule pushrules.Rule, err error) {
	kind, err := pushrules.ParseKind(r.PathValue("kind"))
	if err != nil {
		return rule, err
	}
	rules, err := s.readPushRules(ctx, who.User)
	if err != nil {
		return rule, err
	}
	return rules.Global.Rule(kind, r.PathValue("ruleID"))
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid
func (s *Server) pushRule(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (pushrules.Rule, error) {
	return s.readPushRule(ctx, who, r)
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidenabled
func (s *Server) pushRuleEnabled(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (enabled, error) {
	rule, err := s.readPushRule(ctx, who, r)
	return enabled{rule.Enabled}, err
}

type ruleActions struct {
	Actions []json.RawMessage `json:"actions"`
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidactions
func (s *Server) pushRuleActions(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (ruleActions, error) {
	rule, err := s.readPushRule(ctx, who, r)
	return ruleActions{rule.Actions}, err
}

// changePushRule applies a change to the rule that a path names.
func (s *Server) changePushRule(ctx context.Context, who *caller, r *http.Request,
	change func(c *pushrules.Changes, kind pushrules.Kind, id string) error) (httpx.None, error) {
	kind, err := pushrules.ParseKind(r.PathValue("kind"))
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.changePushRules(ctx, who.User, func(c *pushrules.Changes) error {
		return change(c, kind, r.PathValue("ruleID"))
	})
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
func (s *Server) putPushRule(ctx context.Context, who *caller, r *http.Request, rule pushrules.NewRule) (httpx.None, error) {
	q := r.URL.Query()
	return s.changePushRule(ctx, who, r, func(c *pushrules.Changes, kind pushrules.Kind, id string) error {
		return c.Put(kind, id, rule, q.Get("before"), q.Get("after"))
	})
}

// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid
func (s *Server) deletePushRule(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.None, error) {
	return s.changePushRule(ctx, who, r, (*pushrules.Changes).Delete)
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled
func (s *Server) setPushRuleEnabled(ctx context.Context, who *caller, r *http.Request, req struct {
	Enabled *bool `json:"enabled"`
}) (httpx.None, error) {
	if req.Enabled == nil {
		return httpx.None{}, matrix.MissingParam("enabled is missing")
	}
	return s.changePushRule(ctx, who, r, func(c *pushrules.Changes, kind pushrules.Kind, id string) error {
		return c.SetEnabled(kind, id, *req.Enabled)
	})
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions
func (s *Server) setPushRuleActions(ctx context.Context, who *caller, r *http.Request, req ruleActions) (httpx.None, error) {
	return s.changePushRule(ctx, who, r, func(c *pushrules.Changes, kind pushrules.Kind, id string) error {
		return c.SetActions(kind, id, req.Actions)
	})
}

// edits lets one request at a time change what is read before it is written:
// push rules and tags. Accounts share a few locks. A lock is held while the
// account data is read and written, so that of two changes by one client (which
// sends them together) none is lost; on several nodes the later one counts.
type edits struct {
	seed  maphash.Seed
	locks [64]sync.Mutex
}

// lock takes the lock of an account and returns what gives it back.
func (e *edits) lock(user matrix.UserID) (unlock func()) {
	mu := &e.locks[maphash.String(e.seed, string(user))%uint64(len(e.locks))]
	mu.Lock()
	return mu.Unlock
}
