package clientapi

import "beffroi/policy"

// aboutNews are the routes of what a client is notified of, and of who is there.
func (s *Server) aboutNews() []route {
	return []route{
		{get, v3 + "/pushers", session, freeOwn, do(s.pushers)},
		{post, v3 + "/pushers/set", session, freeOwn, do(s.setPusher)},
		{get, v3 + "/notifications", session, freeRead, do(s.notifications)},

		{get, v3 + "/presence/{userID}/status", session, freeRead, do(s.presence)},
		{put, v3 + "/presence/{userID}/status", self, asks(policy.ActionEDU), do(s.setPresence)},

		{post, v3 + "/search", session, freeRead, do(s.search)},
		{post, v3 + "/user_directory/search", session, asks(policy.ActionSearchDirectory), do(s.searchPeople)},
	}
}
