package syncapi

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

// RoomConfig is what a client wants to hear of a room.
type RoomConfig struct {
	TimelineLimit int
	State         []StateWish // the union of these
}

// SlidingList is a list of rooms, of which the client looks at some stretches.
type SlidingList struct {
	RoomConfig
	Ranges [][2]int // nil is the whole list; both ends are in the range
	Filter ListFilter
}

// Scope is for which rooms an extension is wanted: of which lists, and which
// that are subscribed to. nil is all.
type Scope struct {
	Enabled bool
	Lists   []string
	Rooms   []matrix.RoomID
}

// Extensions is what a client wants to hear of beside the rooms.
type Extensions struct {
	E2EE          bool
	ToDevice      bool
	ToDeviceSince string
	ToDeviceLimit int // 0 is the most there are at once
	AccountData   Scope
	Receipts      Scope
	Typing        Scope
	Threads       bool
	ThreadsLimit  int // 0 is 100
}

// SlidingRequest is a call of sliding sync.
type SlidingRequest struct {
	User   matrix.UserID
	Device matrix.DeviceID
	// Accepted is the form of the answer that MSC4186 has in the end; else it
	// is the one that clients were built for before.
	Accepted bool

	ConnID      string
	TxnID       string // is told in the answer; "" is none
	Pos         string // "" begins the connection
	Timeout     time.Duration
	SetPresence string // how the user is there by asking; "" and offline say nothing

	Lists         map[string]*SlidingList
	Subscriptions map[matrix.RoomID]*RoomConfig
	Extensions    Extensions
}

// slidingPos is a pos: a position and which connection state goes with it.
type slidingPos struct {
	pos    storage.Position
	typing typingVersion
	serial int64
}

func (p slidingPos) String() string {
	return token{p.pos, p.typing, p.pos}.String() + "_c" + strconv.FormatInt(p.serial, 36)
}

func parseSlidingPos(text string) (slidingPos, error) {
	first, last, ok := strings.Cut(text, "_c")
	t, err := parseToken(first)
	if err != nil || !ok || t.messages != t.pos {
		return slidingPos{}, unknownPos()
	}
	serial, err := strconv.ParseInt(last, 36, 64)
	if err != nil || serial <= 0 {
		return slidingPos{}, unknownPos()
	}
	return slidingPos{t.pos, t.typing, serial}, nil
}

// Slide returns what changed of the rooms that a client looks at, as the body
// of the answer. Where nothing has, it waits, until the timeout ends. A first
// request never waits.
//
// A pos that is not known to be of this connection is 400 M_UNKNOWN_POS, and
// the client begins anew. The same pos gives the same again, and what happened
// after it.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4186
func (s *Server) Slide(ctx context.Context, req *SlidingRequest) (json.RawMessage, error) {
	sl, err := s.slide(ctx, req)
	if err != nil {
		return nil, err
	}
	acc, w, err := s.enter(ctx, req.User, req.Device, req.SetPresence)
	if err != nil {
		return nil, err
	}
	defer func() { s.notifier.leave(acc, w, time.Now()) }()
	if err := s.notifier.level(ctx); err != nil {
		return nil, err
	}
	sl.account = acc
	if err := sl.seen(ctx); err != nil {
		return nil, err
	}
	return sl.poll(ctx, w)
}

// slide reads what a request names.
func (s *Server) slide(ctx context.Context, req *SlidingRequest) (*slide, error) {
	f, err := parseFilter([]byte("{}"))
	if err != nil {
		return nil, err
	}
	sl := &slide{s: s, req: req, filter: f, conn: &connection{}}
	sl.conn.name = users.Connection{User: req.User, Device: req.Device, ID: req.ConnID}
	if req.Pos != "" {
		if sl.pos, err = parseSlidingPos(req.Pos); err != nil {
			return nil, err
		}
		if sl.conn, err = s.connection(ctx, sl.conn.name, sl.pos.serial); err != nil {
			return nil, err
		}
	}
	if req.Extensions.ToDevice && req.Extensions.ToDeviceSince != "" {
		since, err := strconv.ParseInt(req.Extensions.ToDeviceSince, 10, 64)
		if err != nil || since < 0 {
			return nil, matrix.InvalidParam("since of to_device is none that this server gave")
		}
		sl.messages = storage.Position(since)
	}
	return sl, nil
}

// slide is a request that is being answered.
type slide struct {
	s        *Server
	req      *SlidingRequest
	filter   *filter
	account  *account
	conn     *connection      // what the client has
	pos      slidingPos       // of the request, zero for the first
	messages storage.Position // up to where the client has messages to its device
}

// first reports whether the connection begins.
func (sl *slide) first() bool { return sl.req.Pos == "" }

// seen notes what the request says that the client has received.
func (sl *slide) seen(ctx context.Context) error {
	s := sl.s
	if head, _ := s.notifier.position(); max(sl.pos.pos, sl.messages) > head { // of another node that is ahead
		if err := s.follow(ctx); err != nil {
			return err
		}
		head, _ = s.notifier.position()
		if sl.pos.pos > head {
			return unknownPos()
		}
		if sl.messages > head {
			return matrix.InvalidParam("since of to_device is none that this server gave")
		}
	}
	if sl.messages == 0 {
		return nil
	}
	return s.Devices.Acknowledge(ctx, sl.req.User, sl.req.Device, sl.messages)
}

// poll answers once there is something to tell, or the timeout ends.
func (sl *slide) poll(ctx context.Context, w *waiter) (json.RawMessage, error) {
	timeout := time.NewTimer(min(sl.req.Timeout, maxTimeout))
	defer timeout.Stop()
	ended := sl.req.Timeout <= 0 || sl.first()
	looked := sl.since() // up to where there is nothing to tell
	for again := true; ; again = false {
		c := sl.s.notifier.since(sl.account, sl.req.Device, looked)
		if again || ended || c.any() {
			out, err := sl.answer(ctx)
			if err != nil {
				return nil, err
			}
			if ended || !out.empty() {
				return out.finish(ctx)
			}
			looked = token{out.to, out.typing, max(out.to, looked.messages)}
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

// since is the place of the request for the notifier.
func (sl *slide) since() token {
	t := token{sl.pos.pos, sl.pos.typing, math.MaxInt64}
	if sl.req.Extensions.ToDevice {
		t.messages = max(sl.messages, sl.pos.pos)
	}
	return t
}
