package syncapi

import (
	"context"
	"encoding/json"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
)

// maxTimeout bounds how long a request waits: what stands between us and the
// client closes connections that are silent for longer.
const maxTimeout = 5 * time.Minute

// Request is a call of sync.
type Request struct {
	User      matrix.UserID
	Device    matrix.DeviceID
	Since     string // "" is the first sync
	Filter    string // an ID, or JSON
	FullState bool
	Timeout   time.Duration
	// SetPresence is how the user is there by asking; "" and offline say nothing.
	SetPresence string
	// UseStateAfter asks for the state at the end of the timeline, and
	// UseUnstableStateAfter for the same by the name of MSC4222.
	UseStateAfter, UseUnstableStateAfter bool
}

// Sync returns what changed for a client since it last asked, as the body of
// the answer. Where nothing has, it waits, until the timeout ends.
//
// The same since gives the same again, and what happened after it. A since or a
// filter that is none is 400 M_INVALID_PARAM.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
func (s *Server) Sync(ctx context.Context, req Request) (json.RawMessage, error) {
	since, f, err := s.read(ctx, &req)
	if err != nil {
		return nil, err
	}
	acc, w, err := s.enter(ctx, req.User, req.Device, req.SetPresence)
	if err != nil {
		return nil, err
	}
	defer func() { s.notifier.leave(acc, w, time.Now()) }()
	if since == nil || req.FullState {
		out, _, _, err := s.answer(ctx, acc, &req, f, since)
		return out, err
	}
	if err := s.seen(ctx, &req, *since); err != nil {
		return nil, err
	}
	return s.poll(ctx, acc, w, &req, f, *since)
}

// enter has a device watched until it leaves, which it must where there is no
// error, and notes that its user is there.
func (s *Server) enter(ctx context.Context, user matrix.UserID, device matrix.DeviceID, presence string) (*account, *waiter, error) {
	select {
	case <-s.notifier.ready:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if err := s.attend(ctx, user, presence); err != nil {
		return nil, nil, err
	}
	acc, w, loaded := s.notifier.watch(user, device, time.Now())
	if !loaded {
		if err := s.load(ctx, acc); err != nil {
			s.notifier.leave(acc, w, time.Now())
			return nil, nil, err
		}
	}
	return acc, w, nil
}

// attend notes that a user is there by asking. "" and offline say nothing.
func (s *Server) attend(ctx context.Context, user matrix.UserID, state string) error {
	if state == "" || state == "offline" {
		return nil
	}
	return s.Rooms.SetPresence(ctx, user, state, nil)
}

func (s *Server) read(ctx context.Context, req *Request) (since *token, f *filter, err error) {
	switch req.SetPresence {
	case "", "offline", "online", "unavailable":
	default:
		return nil, nil, matrix.InvalidParam("set_presence must be offline, online or unavailable")
	}
	if req.Since != "" {
		t, err := parseToken(req.Since)
		if err != nil {
			return nil, nil, err
		}
		since = &t
	}
	f, err = s.readFilter(ctx, req.User, req.Filter)
	return since, f, err
}

// seen notes what a token says that the client has received.
func (s *Server) seen(ctx context.Context, req *Request, since token) error {
	if err := s.notifier.level(ctx); err != nil {
		return err
	}
	if head, _ := s.notifier.position(); since.pos > head { // of another node that is ahead, or of nobody
		if err := s.follow(ctx); err != nil {
			return err
		}
		if head, _ = s.notifier.position(); since.pos > head {
			return matrix.InvalidParam("since is not a token of this server")
		}
	}
	return s.Devices.Acknowledge(ctx, req.User, req.Device, since.messages)
}

// poll answers once there is something to tell, or the timeout ends.
func (s *Server) poll(ctx context.Context, acc *account, w *waiter, req *Request, f *filter, since token) (json.RawMessage, error) {
	timeout := time.NewTimer(min(req.Timeout, maxTimeout))
	defer timeout.Stop()
	ended := req.Timeout <= 0
	for {
		if c := s.notifier.since(acc, req.Device, since); c.any() {
			out, next, empty, err := s.answer(ctx, acc, req, f, &since)
			if err != nil || !empty {
				return out, err
			}
			since = next
		} else {
			since = token{c.head, c.typing, c.head}
		}
		if ended {
			return s.nothing(ctx, acc, req, since)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-w.wake:
		case <-timeout.C:
			ended = true
		}
	}
}

// nothing is the answer where nothing happened.
func (s *Server) nothing(ctx context.Context, acc *account, req *Request, at token) (json.RawMessage, error) {
	counts := s.notifier.keyCounts(acc, req.Device)
	if counts == nil {
		if err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
			counts, err = s.readKeyCounts(ctx, r, acc, req.Device)
			return err
		}); err != nil {
			return nil, err
		}
	}
	out := append([]byte(`{"next_batch":"`), at.String()...)
	out = append(out, '"')
	return append(append(out, counts...), '}'), nil
}
