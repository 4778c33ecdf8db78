package e2ee

import "context"

// Follow reads the log to its end once, as Run does all the time.
func (s *Server) Follow(ctx context.Context) error { return s.follow(ctx, &progress{}) }

// Sweep removes what has expired, as Run does now and then.
func (s *Server) Sweep(ctx context.Context) error { return s.sweep(ctx) }
