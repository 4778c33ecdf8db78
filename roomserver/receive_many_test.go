package roomserver_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/roomserver"
	"beffroi/storage/rooms"
)

// row makes events that each follow the one before.
func (g *siege) row(n int, change func(i int, p *event.Proto)) (events []*event.Event, pdus [][]byte) {
	g.t.Helper()
	first := g.forge(event.Proto{})
	prev, depth := first.PrevEvents(), first.Depth()
	for i := range n {
		p := event.Proto{PrevEvents: prev, Depth: depth, Content: json.RawMessage(fmt.Sprintf(`{"body":"%d"}`, i))}
		if change != nil {
			change(i, &p)
		}
		e := g.forge(p)
		events, pdus = append(events, e), append(pdus, e.JSON())
		prev, depth = []matrix.EventID{e.ID()}, depth+1
	}
	return events, pdus
}

func (g *siege) sendMany(pdus [][]byte) int {
	g.t.Helper()
	n, err := g.one.ReceivePDUs(g.t.Context(), "evil.example", g.room, pdus)
	must(g.t, err)
	return n
}

func TestEventsInARowAreStoredTogether(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		events, pdus := g.row(50, nil)
		if n := g.sendMany(pdus); n != len(pdus) {
			t.Fatalf("%d of %d are stored", n, len(pdus))
		}
		for _, e := range events {
			g.want(e, rooms.Accepted)
		}
		if got := tips(t, g.one, g.room); len(got) != 1 || got[0] != events[49].ID() {
			t.Errorf("tips %v", got)
		}
		if n := g.sendMany(pdus); n != 0 {
			t.Errorf("%d known events are stored again", n)
		}
		g.unharmed()
	})
}

// TestWhatDoesNotSimplyFollowIsLeft asks that nothing but the events before
// one that needs more than a look is taken with them.
func TestWhatDoesNotSimplyFollowIsLeft(t *testing.T) {
	t.Parallel()
	key := string(mallory)
	other := "@somebody:else.example"
	for name, change := range map[string]func(g *siege, p *event.Proto){
		"forbidden":       func(_ *siege, p *event.Proto) { p.Type, p.StateKey = "m.room.topic", new(string) },
		"redaction":       func(g *siege, p *event.Proto) { p.Type, p.Redacts = "m.room.redaction", p.PrevEvents[0] },
		"not in a row":    func(g *siege, p *event.Proto) { p.PrevEvents = tips(g.t, g.one, g.room) },
		"gap":             func(_ *siege, p *event.Proto) { p.PrevEvents = []matrix.EventID{"$unknown"} },
		"wrong auth":      func(g *siege, p *event.Proto) { p.AuthEvents = []matrix.EventID{p.PrevEvents[0]} },
		"unknown auth":    func(g *siege, p *event.Proto) { p.AuthEvents = []matrix.EventID{"$unknown"} },
		"other signature": func(g *siege, p *event.Proto) { p.Sender = matrix.UserID(other) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := besiege(t, "10")
			events, pdus := g.row(10, func(i int, p *event.Proto) {
				if i == 5 {
					change(g, p)
				}
			})
			if n := g.sendMany(pdus); n != 5 {
				t.Fatalf("%d are stored, want 5", n)
			}
			g.want(events[4], rooms.Accepted)
			g.want(events[5], 0)
			g.unharmed()
		})
	}
	t.Run("after a leave", func(t *testing.T) {
		t.Parallel()
		g := besiege(t, "12")
		events, pdus := g.row(5, func(i int, p *event.Proto) {
			if i == 2 {
				p.Type, p.StateKey, p.Content = "m.room.member", &key, json.RawMessage(`{"membership":"leave"}`)
			}
		})
		if n := g.sendMany(pdus); n != 3 {
			t.Fatalf("%d are stored, want those up to the leave", n)
		}
		g.want(events[3], 0)
		g.unharmed()
	})
}

// TestRowsMeetLocalEvents sends rows of another server into a room in which
// users of ours talk: nothing is lost, and no commit overtakes another.
func TestRowsMeetLocalEvents(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		for range 10 {
			events, pdus := g.row(20, nil)
			done := make(chan error, 1)
			go func() {
				_, err := g.one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: g.room, Type: "m.room.message",
					Content: json.RawMessage(`{"body":"between"}`)})
				done <- err
			}()
			for left := pdus; len(left) > 0; {
				n := g.sendMany(left)
				if n == 0 {
					n = 1
					must(t, g.one.ReceivePDU(t.Context(), "evil.example", g.room, left[0]))
				}
				left = left[n:]
			}
			must(t, <-done)
			for _, e := range events {
				g.want(e, rooms.Accepted)
			}
		}
		g.unharmed()
	})
}
