package syncapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/users"
)

func TestWhoWaitsIsWoken(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat", bob)
		s.join(bob, room)
		id := s.say(alice, room, "1")
		c := s.client(bob)
		c.sync()
		for what, happens := range map[string]func(){
			"message":      func() { s.say(alice, room, "2") },
			"invitation":   func() { s.invite(alice, bob, s.create(alice, "private_chat")) },
			"account data": func() { s.data(bob, "", "org.a", fmt.Sprintf(`{"at":%d}`, time.Now().UnixNano())) },
			"receipt": func() {
				s.do(s.rooms.SetReceipt(t.Context(), roomserver.ReceiptRequest{User: alice, Room: room, Type: "m.read", Event: id}))
			},
		} {
			waiting := c.await()
			happens()
			if got := <-waiting; len(got.Rooms.Join)+len(got.Rooms.Invite)+len(got.AccountData.Events) == 0 {
				t.Errorf("%s: %+v", what, got)
			}
			c.sync()
		}
	})
}

func TestASyncWithNothingToTellAsksNoDatabase(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := build(t, db)
		stop := s.follow()
		s.device(bob, "D")
		for range 20 {
			s.join(bob, s.create(alice, "private_chat", bob))
		}
		s.append(func(ctx context.Context, tx *storage.Tx) error {
			return users.AddFilter(ctx, tx, bob, "f", `{"room":{"state":{"lazy_load_members":true}}}`, 1, 10)
		})
		c := s.client(bob).with(filtered("f"))
		c.sync()
		c.sync()
		stop() // its tick looks at the log
		before := db.Statements()
		for range 10 {
			if got := c.sync(); len(got.Rooms.Join) != 0 || got.Counts == nil || got.Fallback == nil {
				t.Errorf("got %+v", got)
			}
		}
		c.req.Timeout = time.Millisecond
		c.sync()
		if n := db.Statements() - before; n != 0 {
			t.Errorf("%d statements", n)
		}
	})
}

func TestAnAccountThatWasForgottenMissesNothing(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room, quiet := s.create(alice, "private_chat", bob), s.create(alice, "private_chat", bob)
		s.join(bob, room)
		s.join(bob, quiet)
		c := s.client(bob)
		c.sync()
		s.say(alice, room, "1")
		other := start(t, s.db) // another process, which has watched nobody
		other.peers = s.peers
		c.server = other
		got := c.sync()
		if r := got.Rooms.Join[room]; r == nil || len(got.Rooms.Join) != 1 {
			t.Fatalf("rooms %+v", got.Rooms)
		}
		wantBodies(t, "timeline", &got.Rooms.Join[room].Timeline.events, "1")
		if got := c.sync(); len(got.Rooms.Join) != 0 {
			t.Errorf("told twice: %+v", got.Rooms)
		}
	})
}

func TestRequestsThatAreNone(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		s.create(bob, "private_chat")
		for name, tc := range map[string]struct {
			change func(*syncRequest)
			code   string
		}{
			"since is a word":         {func(r *syncRequest) { r.Since = "invalid" }, "M_INVALID_PARAM"},
			"since has no typing":     {func(r *syncRequest) { r.Since = "s1" }, "M_INVALID_PARAM"},
			"since is negative":       {func(r *syncRequest) { r.Since = "s-1_t1" }, "M_INVALID_PARAM"},
			"since has a sign":        {func(r *syncRequest) { r.Since = "s+1_t1" }, "M_INVALID_PARAM"},
			"since has too much":      {func(r *syncRequest) { r.Since = "s1_t1_d1_x1" }, "M_INVALID_PARAM"},
			"since is long":           {func(r *syncRequest) { r.Since = "s" + strings.Repeat("1", 100) + "_t1" }, "M_INVALID_PARAM"},
			"messages are ahead":      {func(r *syncRequest) { r.Since = "s1_t1_d2" }, "M_INVALID_PARAM"},
			"since is of the future":  {func(r *syncRequest) { r.Since = "s99999999_t1" }, "M_INVALID_PARAM"},
			"filter does not exist":   {func(r *syncRequest) { r.Filter = "none" }, "M_INVALID_PARAM"},
			"filter ID is long":       {func(r *syncRequest) { r.Filter = strings.Repeat("a", 256) }, "M_INVALID_PARAM"},
			"filter is not JSON":      {func(r *syncRequest) { r.Filter = "{" }, "M_NOT_JSON"},
			"filter has wrong types":  {func(r *syncRequest) { r.Filter = `{"room":1}` }, "M_BAD_JSON"},
			"filter is too long":      {func(r *syncRequest) { r.Filter = `{"a":"` + strings.Repeat("a", 64<<10) + `"}` }, "M_TOO_LARGE"},
			"filter of another form":  {func(r *syncRequest) { r.Filter = `{"event_format":"html"}` }, "M_INVALID_PARAM"},
			"limit is negative":       {func(r *syncRequest) { r.Filter = `{"room":{"timeline":{"limit":-1}}}` }, "M_INVALID_PARAM"},
			"too many fields":         {func(r *syncRequest) { r.Filter = `{"event_fields":["a"` + strings.Repeat(`,"a"`, 100) + `]}` }, "M_INVALID_PARAM"},
			"a field of many parts":   {func(r *syncRequest) { r.Filter = `{"event_fields":["a` + strings.Repeat(".a", 10) + `"]}` }, "M_INVALID_PARAM"},
			"a list that is too long": {func(r *syncRequest) { r.Filter = `{"room":{"rooms":["!a"` + strings.Repeat(`,"!a"`, 1000) + `]}}` }, "M_INVALID_PARAM"},
			"presence":                {func(r *syncRequest) { r.SetPresence = "asleep" }, "M_INVALID_PARAM"},
		} {
			req := s.client(bob).with(tc.change).req
			if _, err := s.sync.Sync(t.Context(), req); !matrix.IsCode(err, tc.code) {
				t.Errorf("%s: %v, want %s", name, err, tc.code)
			}
		}
	})
}

func TestAClientThatGoesAwayEndsItsRequest(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"))
	c := s.client(bob)
	c.sync()
	ctx, cancel := context.WithCancel(t.Context())
	req := c.req
	req.Timeout = time.Hour
	ended := make(chan error, 1)
	go func() {
		_, err := s.sync.Sync(ctx, req)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
