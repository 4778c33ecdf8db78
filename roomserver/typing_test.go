package roomserver

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"beffroi/matrix"
)

func typingIn(s *Server, room matrix.RoomID) string {
	users, _ := s.Typing(room)
	return fmt.Sprint(users)
}

func TestTypingEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(Server)
		var told []matrix.RoomID
		s.OnTyping(func(room matrix.RoomID) { told = append(told, room) })
		began := s.TypingVersion()
		if _, version := s.Typing("!a"); version != began {
			t.Errorf("a room where nobody ever typed has version %d, not %d", version, began)
		}
		s.typing.set("!a", "@x:s", true, 20*time.Second, time.Now())
		s.typing.set("!a", "@a:s", true, 5*time.Second, time.Now())
		if got := typingIn(s, "!a"); got != "[@a:s @x:s]" {
			t.Errorf("typing: %s", got)
		}
		time.Sleep(4 * time.Second)
		s.typing.set("!a", "@a:s", true, 5*time.Second, time.Now()) // repeated: lasts until 9 s
		time.Sleep(4 * time.Second)
		if got := typingIn(s, "!a"); got != "[@a:s @x:s]" {
			t.Errorf("after 8 s: %s", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := typingIn(s, "!a"); got != "[@x:s]" {
			t.Errorf("after 10 s: %s", got)
		}
		s.typing.set("!a", "@x:s", false, 0, time.Now())
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := typingIn(s, "!a"); got != "[]" {
			t.Errorf("at the end: %s", got)
		}
		_, version := s.Typing("!a")
		if version != began+4 || version != s.TypingVersion() || len(told) != 4 {
			t.Errorf("version went up by %d, and %d were told; want 4", version-began, len(told))
		}
	})
}

func TestTypingIsRepeatedToOthersNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(Server)
		told := 0
		for range 10 { // every 4 s, for 36 s
			if s.typing.set("!a", "@a:s", true, maxTyping, time.Now()) {
				told++
			}
			time.Sleep(4 * time.Second)
		}
		if told != 3 { // at 0, 16 and 32 s
			t.Errorf("told %d times", told)
		}
		if !s.typing.set("!a", "@a:s", false, 0, time.Now()) || s.typing.set("!a", "@a:s", false, 0, time.Now()) {
			t.Error("the end is told once")
		}
	})
}

func TestTypingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(Server)
		for i := range maxTypists + 10 {
			s.typing.set("!a", matrix.UserID(fmt.Sprintf("@u%d:s", i)), true, maxTyping, time.Now())
		}
		if users, _ := s.Typing("!a"); len(users) != maxTypists {
			t.Errorf("%d type in one room", len(users))
		}
		before := s.TypingVersion()
		for i := range maxTypingRooms + 10 {
			s.typing.set(matrix.RoomID(fmt.Sprintf("!r%d", i)), "@a:s", true, maxTyping, time.Now())
		}
		if n := len(s.typing.rooms); n > maxTypingRooms {
			t.Errorf("%d rooms are remembered", n)
		}
		time.Sleep(2 * maxTyping)
		synctest.Wait()
		s.typing.set("!new", "@a:s", true, maxTyping, time.Now())
		if n := len(s.typing.rooms); n != 1 {
			t.Errorf("%d rooms are remembered after all have ended", n)
		}
		if _, version := s.Typing("!r1"); version <= before {
			t.Error("who knew somebody typing in a room that was forgotten is not told of the end")
		}
		s.typing.set("!new", "@a:s", false, 0, time.Now())
	})
}

func TestACL(t *testing.T) {
	t.Parallel()
	long := make([]byte, 0, 60000)
	long = append(long, `{"allow":["*a`...)
	for len(long) < 59000 {
		long = append(long, `*a?a*aaaaaaaaaaaaaaaaaaaaaaaaaaaaab`...)
	}
	long = append(long, `"]}`...)
	cases := map[string]struct {
		content string
		server  matrix.ServerName
		want    bool
	}{
		"no allow list":        {`{}`, "a.example", false},
		"allow everybody":      {`{"allow":["*"]}`, "a.example", true},
		"deny wins":            {`{"allow":["*"],"deny":["a.example"]}`, "a.example", false},
		"port does not count":  {`{"allow":["*"],"deny":["a.example"]}`, "a.example:8448", false},
		"case does not count":  {`{"allow":["*"],"deny":["A.EXAMPLE"]}`, "a.Example", false},
		"below a domain":       {`{"allow":["*.gouv.example"]}`, "x.gouv.example", true},
		"not the domain":       {`{"allow":["*.gouv.example"]}`, "gouv.example", false},
		"not another's suffix": {`{"allow":["*.gouv.example"]}`, "x.gouv.example.evil", false},
		"one character":        {`{"allow":["a?.example"]}`, "ab.example", true},
		"not none":             {`{"allow":["a?.example"]}`, "a.example", false},
		"a dot is a dot":       {`{"allow":["a.example"]}`, "axexample", false},
		"IPv4":                 {`{"allow":["*"],"allow_ip_literals":false}`, "192.0.2.1:8448", false},
		"IPv6":                 {`{"allow":["*"],"allow_ip_literals":false}`, "[2001:db8::1]", false},
		"IP allowed":           {`{"allow":["*"],"allow_ip_literals":"no"}`, "192.0.2.1", true},
		"wrong types":          {`{"allow":"*","deny":[1,null,{}]}`, "a.example", false},
		"junk beside":          {`{"allow":[1,["*"],"*"],"deny":{"a":"*"}}`, "a.example", true},
		"escapes":              {`{"allow":["\\u0061.example"]}`, "a.example", false},
		"many stars":           {string(long), matrix.ServerName(fmt.Sprintf("%0250d", 0)), false},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := aclAdmits([]byte(test.content), test.server); got != test.want {
				t.Errorf("admitted is %v, want %v", got, test.want)
			}
		})
	}
}
