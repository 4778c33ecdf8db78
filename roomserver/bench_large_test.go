package roomserver_test

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policystore"
	"beffroi/roomserver"
)

// large is a room with many members, as a server answers a join that has it.
type large struct {
	room   matrix.RoomID
	rules  *matrix.VersionRules
	answer roomserver.JoinAnswer
	named  []matrix.EventID // power levels and join rules
	tip    *event.Event
}

func newLarge(b *testing.B, big *node, members int) *large {
	b.Helper()
	rules, err := matrix.RoomVersion("12").Rules()
	if err != nil {
		b.Fatal(err)
	}
	l := &large{rules: rules}
	build := func(sender matrix.UserID, typ, key, content string, auth ...matrix.EventID) matrix.EventID {
		p := event.Proto{RoomID: l.room, Sender: sender, Type: typ, StateKey: &key, Content: json.RawMessage(content),
			AuthEvents: auth, Depth: int64(len(l.answer.State) + 1), OriginServerTS: time.Now().UnixMilli()}
		if l.tip != nil {
			p.PrevEvents = []matrix.EventID{l.tip.ID()}
		}
		e, err := p.Build(rules, big.key)
		if err != nil {
			b.Fatal(err)
		}
		l.answer.State, l.tip = append(l.answer.State, e.JSON()), e
		return e.ID()
	}
	const admin matrix.UserID = "@admin:big.example"
	build(admin, "m.room.create", "", `{"room_version":"12"}`)
	l.room = l.tip.RoomID()
	member := build(admin, "m.room.member", string(admin), `{"membership":"join"}`)
	levels := build(admin, "m.room.power_levels", "", `{"users":{}}`, member)
	l.named = []matrix.EventID{levels, build(admin, "m.room.join_rules", "", `{"join_rule":"public"}`, member, levels)}
	for i := range members {
		user := fmt.Sprintf("@user%d:big.example", i)
		build(matrix.UserID(user), "m.room.member", user, `{"displayname":"User `+fmt.Sprint(i)+`","membership":"join"}`, l.named...)
	}
	return l
}

func enterLarge(b *testing.B, members int) (*node, *large, time.Duration) {
	b.Helper()
	net := newNetwork()
	db := testkit.OpenDB(b, "sqlite")
	gate, err := policystore.Open(b.Context(), policystore.Options{DB: db, Self: "one.example", Development: true})
	if err != nil {
		b.Fatal(err)
	}
	one, big := net.startWith(b, db, "one.example", gate), net.startWith(b, db, "big.example", gate) // of the second only the key is used
	l := newLarge(b, big, members)
	net.lie("big.example", &lies{
		makeMembership: func(_ string, _ matrix.RoomID, user matrix.UserID) (matrix.RoomVersion, json.RawMessage, error) {
			key := string(user)
			p := event.Proto{RoomID: l.room, Sender: user, Type: "m.room.member", StateKey: &key, Content: json.RawMessage(`{"membership":"join"}`),
				PrevEvents: []matrix.EventID{l.tip.ID()}, AuthEvents: l.named, Depth: l.tip.Depth() + 1, OriginServerTS: 1}
			raw, err := p.MarshalTemplate(l.rules)
			return "12", raw, err
		},
		sendJoin: func(matrix.RoomID, []byte) (*roomserver.JoinAnswer, error) { a := l.answer; return &a, nil },
	})
	before := cpu(b)
	if err := one.Join(b.Context(), roomserver.JoinRequest{User: alice, Room: l.room, Via: []matrix.ServerName{"big.example"}}); err != nil {
		b.Fatal(err)
	}
	return one, l, cpu(b) - before
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkJoinLarge joins a room of 10,000 members. The budget is 3 s of CPU.
func BenchmarkJoinLarge(b *testing.B) {
	var spent time.Duration
	for b.Loop() {
		_, _, took := enterLarge(b, 10_000)
		spent += took
	}
	b.ReportMetric(spent.Seconds()/float64(b.N), "cpu-s/join")
}

// BenchmarkSendLarge sends to rooms of few and of many members. Many must cost
// at most twice as much.
func BenchmarkSendLarge(b *testing.B) {
	for _, members := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			one, l, _ := enterLarge(b, members)
			for n := 0; b.Loop(); n++ {
				if _, err := one.Send(b.Context(), roomserver.SendRequest{Sender: alice, Room: l.room, Type: "m.room.message",
					Content: json.RawMessage(fmt.Sprintf(`{"body":"%d"}`, n))}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
