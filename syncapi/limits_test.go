package syncapi

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	f, err := parseFilter([]byte(`{"room":{"timeline":{"limit":100000}}}`))
	if err != nil || f.Room.Timeline.Limit != maxTimeline {
		t.Errorf("timeline: %+v, %v", f, err)
	}
	var list strings.Builder
	for i := range maxIgnored + 1 {
		fmt.Fprintf(&list, `%s"@u%d:x":{}`, [...]string{"", ","}[min(i, 1)], i)
	}
	for content, want := range map[string]bool{
		`{"ignored_users":{"@u1:x":{}}}`:            true,
		`{"ignored_users":{` + list.String() + `}}`: false,
		`{"ignored_users":["@u1:x"]}`:               false,
		``:                                          false,
		`{`:                                         false,
	} {
		if got := readIgnoredList(content, "@me:x")["@u1:x"]; got != want {
			t.Errorf("ignored by %.40s: %v", content, got)
		}
	}
	if readIgnoredList(`{"ignored_users":{"@me:x":{}}}`, "@me:x")["@me:x"] {
		t.Error("one who ignores oneself hears nothing")
	}
	var lazy lazyMembers
	for i := range int64(maxLazy + 10) {
		lazy = lazy.add(rooms.MemberKey{RoomNID: i, User: "@a:x"}, storage.Position(i))
	}
	if len(lazy) > maxLazy {
		t.Errorf("%d memberships are remembered", len(lazy))
	}
}

func TestALogThatCannotBeReadIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newForgetful(t)
		n.announce(2)
		begin := time.Now()
		if err := n.level(t.Context()); matrix.Answer(err).Status != 503 || time.Since(begin) != levelTimeout {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		go n.apply(&news{from: 1, to: 2})
		if err := n.level(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
