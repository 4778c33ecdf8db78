package roomserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/cryptotest"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// TestServersAgreeAfterChaos lets several servers do what they like in one
// room while the network delays, reorders, repeats and loses what they send,
// is divided and comes together, and servers restart. In the end all must
// agree. A seed is a whole story: BEFFROI_CHAOS_SEED tells one again, and
// BEFFROI_SLOW tells thousands, or as many as it says.
func TestServersAgreeAfterChaos(t *testing.T) { //nolint:paralleltest // randomness is that of the process
	first, count := uint64(1), uint64(12)
	if slow := os.Getenv("BEFFROI_SLOW"); slow != "" {
		if count, _ = strconv.ParseUint(slow, 10, 64); count == 0 {
			count = 2000
		}
	}
	if n, err := strconv.ParseUint(os.Getenv("BEFFROI_CHAOS_SEED"), 10, 64); err == nil {
		first, count = n, 1
	}
	engines := testkit.Engines()
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			tellStory(t, seed, engines[int(seed/3)%len(engines)])
		})
		if t.Failed() {
			t.Fatalf("BEFFROI_CHAOS_SEED=%d tells the story again", seed)
		}
	}
}

func tellStory(t *testing.T, seed uint64, engine string) {
	c := newChaos(t, seed, engine)
	c.open()
	for range 60 + c.rng.IntN(80) {
		c.step()
	}
	c.heal()
	c.merge()
	c.check()
	if t.Failed() {
		for _, line := range c.story {
			t.Log(line)
		}
		if os.Getenv("BEFFROI_CHAOS_SEED") != "" {
			c.explain()
		}
	}
}

// chaos is a room on several servers, and what is under way between them.
type chaos struct {
	t       *testing.T
	rng     *rand.Rand
	net     *network
	nodes   []*node
	room    matrix.RoomID
	version matrix.RoomVersion
	ms      int64 // the time
	lossy   bool  // what is lost comes never, else late
	healed  bool  // nothing is lost any more

	wires   map[link][]parcel
	cursors map[matrix.ServerName]storage.Position
	story   []string
	last    map[matrix.ServerName]matrix.EventID // that each server sent
	seen    map[matrix.EventID]bool
	events  []matrix.EventID // that were sent, for redactions
}

// parcel is an event on its way.
type parcel struct {
	id  matrix.EventID
	pdu []byte
}

func newChaos(t *testing.T, seed uint64, engine string) *chaos {
	rng := rand.New(rand.NewPCG(seed, 17))
	c := &chaos{t: t, rng: rng, net: newNetwork(), version: []matrix.RoomVersion{"10", "11", "12"}[seed%3],
		ms: 1_800_000_000_000, lossy: rng.IntN(3) == 0, wires: make(map[link][]parcel),
		cursors: make(map[matrix.ServerName]storage.Position), seen: make(map[matrix.EventID]bool),
		last: make(map[matrix.ServerName]matrix.EventID)}
	n := 3 + rng.IntN(3)
	dbs := make([]*storage.DB, n)
	for i := range dbs {
		dbs[i] = testkit.OpenDB(t, engine) // its name is random and must stay so
	}
	cryptotest.SetGlobalRandom(t, seed)
	for i, db := range dbs {
		name := matrix.ServerName(fmt.Sprintf("s%d.example", i))
		gate, err := policystore.Open(t.Context(), policystore.Options{DB: db, Self: name, Development: true})
		must(t, err)
		nd := c.net.startWith(t, db, name, gate)
		nd.now = func() time.Time { return time.UnixMilli(c.ms) }
		c.nodes = append(c.nodes, nd)
	}
	return c
}

const usersEach = 3

func (c *chaos) user(server, n int) matrix.UserID {
	return matrix.UserID(fmt.Sprintf("@u%d:s%d.example", n, server))
}

// open makes the room, with a user of most servers in it.
func (c *chaos) open() {
	c.room = createRoom(c.t, c.nodes[0], c.user(0, 0), c.version, "public_chat")
	c.collectAll()
	c.tell("version %s, %d servers, lossy %v", c.version, len(c.nodes), c.lossy)
	for i := range c.nodes[1:] {
		if c.rng.IntN(4) > 0 {
			c.act("join", i+1, c.nodes[i+1].Join(c.t.Context(), c.joining(i+1, 0, 0)))
		}
	}
}

func (c *chaos) joining(server, n, via int) roomserver.JoinRequest {
	return roomserver.JoinRequest{User: c.user(server, n), Room: c.room, Via: []matrix.ServerName{c.nodes[via].Name()}}
}

func (c *chaos) tell(format string, args ...any) {
	c.story = append(c.story, fmt.Sprintf(format, args...))
}

// act notes what was done and takes what it sends. What a user may not do is
// a part of the story; what a server cannot do is not.
func (c *chaos) act(what string, server int, err error) {
	c.ms += int64(c.rng.IntN(50)) // now and then at the same time
	c.tell("s%d %s: %v", server, what, err)
	if _, told := errors.AsType[*matrix.Error](err); err != nil && !told {
		c.t.Errorf("%s on s%d: %v", what, server, err)
	}
	c.collectAll()
}

// collectAll takes what is to be sent, also by servers that were asked.
func (c *chaos) collectAll() {
	for _, nd := range c.nodes {
		c.collect(nd)
	}
}

func (c *chaos) step() {
	switch n := c.rng.IntN(100); {
	case n < 45:
		c.deliver(1 + c.rng.IntN(6))
	case n < 50:
		side := make(map[matrix.ServerName]bool)
		for _, nd := range c.nodes {
			side[nd.Name()] = c.rng.IntN(2) == 0
		}
		c.tell("divided: %v", side)
		c.net.divide(side)
	case n < 56:
		c.tell("together")
		c.net.divide(nil)
	case n < 59:
		nd := c.nodes[c.rng.IntN(len(c.nodes))]
		c.tell("%s restarts", nd.Name())
		nd.restart()
	default:
		c.something(c.rng.IntN(len(c.nodes)))
	}
}

// something is done by a user of a server.
func (c *chaos) something(server int) {
	nd, who := c.nodes[server], c.user(server, c.rng.IntN(usersEach))
	whom := c.user(c.rng.IntN(len(c.nodes)), c.rng.IntN(usersEach))
	about := roomserver.MembershipRequest{Sender: who, Target: whom, Room: c.room}
	ctx := c.t.Context()
	switch n := c.rng.IntN(24); {
	case n < 7:
		c.send(server, who, "m.room.message", nil, map[string]any{"body": fmt.Sprint(len(c.story))})
	case n < 10:
		c.send(server, who, "m.room.topic", new(string), map[string]any{"topic": fmt.Sprint(len(c.story))})
	case n < 11:
		c.send(server, who, "org.example.own", (*string)(&who), map[string]any{"n": len(c.story)})
	case n < 14:
		c.changePower(server, who, whom)
	case n < 15:
		rule := []string{"public", "invite", "public"}[c.rng.IntN(3)]
		c.send(server, who, "m.room.join_rules", new(string), map[string]any{"join_rule": rule})
	case n < 18:
		via := c.rng.IntN(len(c.nodes))
		c.act(fmt.Sprintf("join %s via s%d", who, via), server, nd.Join(ctx, roomserver.JoinRequest{User: who, Room: c.room,
			Via: []matrix.ServerName{c.nodes[via].Name()}}))
	case n < 19:
		c.act("leave "+string(who), server, nd.Leave(ctx, about))
	case n < 20:
		c.act(fmt.Sprintf("%s kicks %s", who, whom), server, nd.Kick(ctx, about))
	case n < 21:
		c.act(fmt.Sprintf("%s bans %s", who, whom), server, nd.Ban(ctx, about))
	case n < 22:
		c.act(fmt.Sprintf("%s unbans %s", who, whom), server, nd.Unban(ctx, about))
	case n < 23:
		c.act(fmt.Sprintf("%s invites %s", who, whom), server, nd.Invite(ctx, about))
	default:
		c.redact(server, who)
	}
}

func (c *chaos) send(server int, who matrix.UserID, typ string, key *string, content any) matrix.EventID {
	raw, err := json.Marshal(content)
	must(c.t, err)
	id, err := c.nodes[server].Send(c.t.Context(), roomserver.SendRequest{Sender: who, Room: c.room, Type: typ, StateKey: key, Content: raw})
	c.act(fmt.Sprintf("%s sends %s %s = %s", who, typ, raw, id), server, err)
	return id
}

// changePower gives somebody a level, on top of the levels that the server knows.
func (c *chaos) changePower(server int, who, whom matrix.UserID) {
	id, ok := c.stateOf(c.nodes[server])["m.room.power_levels|"]
	if !ok {
		return
	}
	var content map[string]any
	must(c.t, json.Unmarshal(stored(c.t, c.nodes[server], id).Content(), &content))
	users, _ := content["users"].(map[string]any)
	if users == nil {
		users = make(map[string]any)
	}
	users[string(whom)] = []int{0, 50, 100, 100}[c.rng.IntN(4)]
	content["users"] = users
	if c.rng.IntN(3) == 0 {
		content["events"] = map[string]any{"m.room.topic": []int{0, 50}[c.rng.IntN(2)]}
	}
	c.send(server, who, "m.room.power_levels", new(string), content)
}

func (c *chaos) redact(server int, who matrix.UserID) {
	if len(c.events) == 0 {
		return
	}
	target := c.events[c.rng.IntN(len(c.events))]
	id, err := c.nodes[server].Send(c.t.Context(), roomserver.SendRequest{Sender: who, Room: c.room, Type: "m.room.redaction",
		Redacts: target, Content: json.RawMessage(`{}`)})
	c.act(fmt.Sprintf("%s redacts %s = %s", who, target, id), server, err)
}

// stateOf returns the state that a server has, empty where it knows no room.
func (c *chaos) stateOf(nd *node) map[string]matrix.EventID {
	if _, err := c.row(nd); matrix.IsCode(err, "M_NOT_FOUND") {
		return nil
	}
	return state(c.t, nd, c.room)
}

func (c *chaos) row(nd *node) (row rooms.Room, err error) {
	err = nd.db.View(c.t.Context(), func(r *storage.Reader) (err error) {
		row, err = rooms.ByID(c.t.Context(), r, c.room)
		return err
	})
	return row, err
}

// collect takes what a server has to send, as its queues would.
func (c *chaos) collect(nd *node) {
	var out []rooms.Outgoing
	must(c.t, nd.db.View(c.t.Context(), func(r *storage.Reader) (err error) {
		out, c.cursors[nd.Name()], err = rooms.OutgoingEvents(c.t.Context(), r, nd.Name(), c.cursors[nd.Name()], 1000)
		return err
	}))
	for _, o := range out {
		c.last[nd.Name()] = o.Event.ID()
		if !c.seen[o.Event.ID()] {
			c.seen[o.Event.ID()] = true
			c.events = append(c.events, o.Event.ID())
		}
		to := o.Destinations
		if c.net.open {
			to = c.others(nd)
		}
		for _, to := range to {
			way := link{nd.Name(), to}
			c.wires[way] = append(c.wires[way], parcel{o.Event.ID(), o.Event.JSON()})
			if c.rng.IntN(12) == 0 {
				c.wires[way] = append(c.wires[way], parcel{o.Event.ID(), o.Event.JSON()}) // twice
			}
		}
	}
}

func (c *chaos) others(nd *node) (names []matrix.ServerName) {
	for _, other := range c.nodes {
		if other != nd {
			names = append(names, other.Name())
		}
	}
	return names
}

// waiting returns the links that have something to deliver, in a stable order.
func (c *chaos) waiting() (ways []link) {
	for _, a := range c.nodes {
		for _, b := range c.nodes {
			way := link{a.Name(), b.Name()}
			if len(c.wires[way]) > 0 && !c.net.cut[way] {
				ways = append(ways, way)
			}
		}
	}
	return ways
}

// deliver lets some events arrive, in any order. Some are lost.
func (c *chaos) deliver(n int) {
	for range n {
		ways := c.waiting()
		if len(ways) == 0 {
			return
		}
		way := ways[c.rng.IntN(len(ways))]
		if c.rng.IntN(3) == 0 && c.receiveMany(way) > 0 {
			continue
		}
		queue := c.wires[way]
		i := c.rng.IntN(min(len(queue), 8))
		p := queue[i]
		c.wires[way] = append(queue[:i:i], queue[i+1:]...)
		if c.lossy && !c.healed && c.rng.IntN(6) == 0 {
			c.tell("%s to %s: %s lost", way.from, way.to, p.id)
			continue
		}
		if err := c.receive(way, p); err != nil && matrix.Answer(err).Status >= 500 {
			c.wires[way] = append(c.wires[way], p) // later
		}
	}
}

// receiveMany delivers the first events of a link together, as an inbox does,
// and returns how many were taken so.
func (c *chaos) receiveMany(way link) int {
	queue := c.wires[way]
	pdus := make([][]byte, min(len(queue), 8))
	for i := range pdus {
		pdus[i] = queue[i].pdu
	}
	n, err := c.net.servers[way.to].ReceivePDUs(c.t.Context(), way.from, c.room, pdus)
	if _, told := errors.AsType[*matrix.Error](err); err != nil && !told && !errors.Is(err, context.Canceled) {
		c.t.Errorf("%s to %s: %d events together: %v", way.from, way.to, len(pdus), err)
	}
	for _, p := range queue[:n] {
		c.tell("%s to %s: %s together with others", way.from, way.to, p.id)
	}
	c.wires[way] = append([]parcel(nil), queue[n:]...)
	c.collectAll()
	return n
}

func (c *chaos) receive(way link, p parcel) error {
	nd := c.net.servers[way.to]
	err := nd.ReceivePDU(c.t.Context(), way.from, c.room, p.pdu)
	c.tell("%s to %s: %s: %v", way.from, way.to, p.id, err)
	if _, told := errors.AsType[*matrix.Error](err); err != nil && !told && !errors.Is(err, context.Canceled) {
		c.t.Errorf("%s to %s: %s: %v", way.from, way.to, p.id, err)
	}
	c.collectAll()
	return err
}
