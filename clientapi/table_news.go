package clientapi

// aboutNews are the routes of what a client is notified of, and of who is there.
func (s *Server) aboutNews() []route {
	return []route{
		{get, v3 + "/pushers", session, freeOwn, do(s.pushers)},
		{post, v3 + "/pushers/set", session, freeOwn, do(s.setPusher)},
		{get, v3 + "/notifications", session, freeRead, do(s.notifications)},
	}
}
