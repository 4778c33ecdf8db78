package clientapi

import (
	"net/http"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
)

// askedLater are the actions that their owner asks the policy about, because
// only it knows whom they concern.
var askedLater = map[policy.Action]bool{
	policy.ActionRegister: true, // with the address that was proven
	policy.ActionLogin:    true, // once the password was right
}

// ask is the one place where this API asks the policy: with what the request
// itself says, before the handler. What depends on the room is asked again by
// the room server, event by event.
func (s *Server) ask(r *http.Request, action policy.Action, who *caller) error {
	if action == policy.ActionNone || askedLater[action] {
		return nil
	}
	req := policy.Request{Action: action, Actor: who.User, Source: policy.SourceClient, Now: s.Now()}
	if action == policy.ActionReadProfile {
		user, err := userID(r)
		if err != nil {
			return err
		}
		req.Subject = user
		if req.SharesRoom, err = s.sharesRoom(r, who.User, user); err != nil {
			return err
		}
	}
	if name, err := matrix.ParseServerName(r.PathValue("serverName")); err == nil && action == policy.ActionReadMedia && name.Normalise() != s.ServerName.Normalise() {
		req.Server = name
	}
	return s.Gate.Check(r.Context(), &req)
}

// askMedia asks whether files of a server may be read.
func (s *Server) askMedia(r *http.Request, who *caller, server matrix.ServerName) error {
	req := policy.Request{Action: policy.ActionReadMedia, Actor: who.User, Source: policy.SourceClient, Now: s.Now()}
	if server.Normalise() != s.ServerName.Normalise() {
		req.Server = server
	}
	return s.Gate.Check(r.Context(), &req)
}

// askEmail asks whether an address may be invited.
func (s *Server) askEmail(r *http.Request, who *caller, address string) error {
	return s.Gate.Check(r.Context(), &policy.Request{
		Action: policy.ActionInvite3PID, Actor: who.User, Email: address, Source: policy.SourceClient, Now: s.Now()})
}

// question asks what the policy would say to a user. It is no try: nothing of
// it is in the audit trail.
func (s *Server) question(action policy.Action, who *caller, subject matrix.UserID, room *policy.RoomFacts, address string, shares bool) policy.Decision {
	return s.Gate.Ask(&policy.Request{Action: action, Actor: who.User, Subject: subject, Room: room, Email: address,
		SharesRoom: shares, Source: policy.SourceClient, Now: s.Now()})
}

// sharesRoom reports whether two users are in one room.
func (s *Server) sharesRoom(r *http.Request, a, b matrix.UserID) (bool, error) {
	if a == "" || a == b {
		return a == b, nil
	}
	shared, err := s.sharedRooms(r.Context(), a, b)
	return len(shared) > 0, err
}

// audit records what an administrator does to others.
func (s *Server) audit(r *http.Request, rt *route, who *caller) error {
	_, err := s.Gate.Record(r.Context(), policystore.Entry{
		Kind: policystore.KindCall, Actor: string(who.User), Action: rt.method + " " + rt.path,
		Subject: r.PathValue("userID"), Source: policy.SourceAdmin.String()})
	return err
}
