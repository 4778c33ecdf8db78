package roomserver_test

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/roomserver"
	"beffroi/storage/rooms"
)

func TestUnknownPredecessorsThatNobodyHasAreNoPlace(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		_, prev := g.ghosts(3)
		e := g.forge(event.Proto{PrevEvents: prev})
		if err := g.send(e); err == nil {
			t.Error("an event with an unknown past was taken")
		}
		g.want(e, 0)
		g.unharmed()
	})
}

func TestTwentyUnknownPredecessorsAreBounded(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		// Each of twenty unknown events has twenty more behind it, and so on.
		_, deeper := g.ghosts(20)
		var level []*event.Event
		var prev []matrix.EventID
		for i := range 20 {
			e := g.forge(event.Proto{PrevEvents: deeper, Content: json.RawMessage(fmt.Sprintf(`{"body":"level %d"}`, i))})
			level, prev = append(level, e), append(prev, e.ID())
		}
		now := g.stateIDs()
		lie := g.net.lie("evil.example", &lies{
			missing: func([]matrix.EventID) ([][]byte, error) { return jsons(level), nil },
			stateIDs: func(matrix.EventID) ([]matrix.EventID, []matrix.EventID, error) {
				return now, nil, nil
			},
			event: func(matrix.EventID) ([]byte, error) { return nil, matrix.NotFound("no such event") },
		})
		_ = g.send(g.forge(event.Proto{PrevEvents: prev}))
		if n := lie.asked.Load(); n > 100 {
			t.Errorf("%d requests for one event", n)
		}
		g.unharmed()
	})
}

func TestDepthBombDoesNotPushOurEventsDown(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		rejected := g.forge(event.Proto{Type: "m.room.topic", StateKey: new(string), Depth: g.rules.MaxDepth})
		must(t, g.send(rejected))
		g.want(rejected, rooms.Rejected)
		if e := g.known(say(t, g.one, alice, g.room, "as before")); e.Depth() > 100 {
			t.Errorf("depth %d after a rejected event", e.Depth())
		}
		accepted := g.forge(event.Proto{Depth: g.rules.MaxDepth})
		must(t, g.send(accepted))
		g.want(accepted, rooms.Accepted)
		if e := g.known(say(t, g.one, alice, g.room, "as deep as can be")); e.Depth() != g.rules.MaxDepth {
			t.Errorf("depth %d", e.Depth())
		}
		g.unharmed()
	})
}

func TestStatesThatCannotBeAreNotBelieved(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(g *siege, now map[string]matrix.EventID) (state, auth []matrix.EventID){
		"two events of one key": func(g *siege, now map[string]matrix.EventID) ([]matrix.EventID, []matrix.EventID) {
			again := g.forge(membership(mallory, "join"))
			must(g.t, g.send(again))
			return append(values(now), again.ID()), nil
		},
		"an event of another room": func(g *siege, now map[string]matrix.EventID) ([]matrix.EventID, []matrix.EventID) {
			other := createRoom(g.t, g.one, alice, g.rules.Version, "public_chat")
			now["m.room.create|"] = state(g.t, g.one, other)["m.room.create|"]
			return values(now), nil
		},
		"no create event": func(_ *siege, now map[string]matrix.EventID) ([]matrix.EventID, []matrix.EventID) {
			delete(now, "m.room.create|")
			return values(now), nil
		},
		"too many events": func(_ *siege, now map[string]matrix.EventID) ([]matrix.EventID, []matrix.EventID) {
			return values(now), make([]matrix.EventID, 200_001)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachSiege(t, func(t *testing.T, g *siege) {
				told, auth := spoil(g, state(t, g.one, g.room))
				g.net.lie("evil.example", &lies{
					missing:  func([]matrix.EventID) ([][]byte, error) { return nil, nil },
					stateIDs: func(matrix.EventID) ([]matrix.EventID, []matrix.EventID, error) { return told, auth, nil },
				})
				_, prev := g.ghosts(1)
				before := state(t, g.one, g.room)
				e := g.forge(event.Proto{PrevEvents: prev})
				if err := g.send(e); err == nil {
					t.Error("the event was taken")
				}
				g.want(e, 0)
				if after := state(t, g.one, g.room); len(after) != len(before) {
					t.Errorf("the state has %d events, had %d", len(after), len(before))
				}
				g.unharmed()
			})
		})
	}
}

func TestAWholeStateIsTakenOnlyAsFarAsItWasAskedFor(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		junk, junkIDs := g.ghosts(120)
		now := g.stateIDs()
		g.net.lie("evil.example", &lies{
			missing: func([]matrix.EventID) ([][]byte, error) { return nil, nil },
			// So many unknown IDs that the whole state is asked for; other events are given.
			stateIDs: func(matrix.EventID) ([]matrix.EventID, []matrix.EventID, error) {
				var fake []matrix.EventID
				for i := range 60 {
					fake = append(fake, matrix.EventID(fmt.Sprintf("$fake%d", i)))
				}
				return now, fake, nil
			},
			state: func(matrix.EventID) ([][]byte, [][]byte, error) { return nil, jsons(junk), nil },
			event: func(matrix.EventID) ([]byte, error) { return junk[0].JSON(), nil },
		})
		_, prev := g.ghosts(1)
		must(t, g.send(g.forge(event.Proto{PrevEvents: prev})))
		for _, id := range junkIDs[1:] {
			if g.known(id) != nil {
				t.Fatalf("%s was not asked for and is stored", id)
			}
		}
		g.unharmed()
	})
}

func TestFloodOfForksIsMerged(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		from := tips(t, g.one, g.room)
		for i := range 60 {
			must(t, g.send(g.forge(event.Proto{PrevEvents: from, Content: json.RawMessage(fmt.Sprintf(`{"body":"fork %d"}`, i))})))
			if n := len(tips(t, g.one, g.room)); n > 11 {
				t.Fatalf("%d tips after %d forks", n, i+1)
			}
		}
		g.unharmed()
	})
}

func TestForksThatNobodyMayMergeAreBounded(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		must(t, g.one.Leave(t.Context(), roomserver.MembershipRequest{Sender: alice, Room: g.room}))
		from := tips(t, g.one, g.room)
		refused := 0
		for i := range 30 {
			if err := g.send(g.forge(event.Proto{PrevEvents: from, Content: json.RawMessage(fmt.Sprintf(`{"body":"fork %d"}`, i))})); err != nil {
				refused++
			}
		}
		if n := len(tips(t, g.one, g.room)); n > event.MaxPrevEvents || refused == 0 {
			t.Errorf("%d tips, %d forks refused", n, refused)
		}
		merge := g.forge(event.Proto{}) // of all tips
		must(t, g.send(merge))
		g.want(merge, rooms.Accepted)
		verify(t, g.one)
	})
}

func TestLocalWritersAndRemoteForksRace(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		from := tips(t, g.one, g.room)
		var forks []*event.Event
		for i := range 40 {
			forks = append(forks, g.forge(event.Proto{PrevEvents: from, Content: json.RawMessage(fmt.Sprintf(`{"body":"fork %d"}`, i))}))
		}
		var group sync.WaitGroup
		for w := range 4 {
			group.Go(func() {
				for i := range 20 {
					req := roomserver.SendRequest{Sender: alice, Room: g.room, Type: "m.room.topic", StateKey: new(string),
						Content: json.RawMessage(fmt.Sprintf(`{"topic":"%d %d"}`, w, i))}
					if _, err := g.one.Send(t.Context(), req); err != nil {
						t.Error(err)
					}
				}
			})
			group.Go(func() {
				for i := w; i < len(forks); i += 4 {
					if err := g.send(forks[i]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		for _, e := range forks {
			g.want(e, rooms.Accepted)
		}
		g.unharmed()
	})
}

func TestOversizedDepthAndListsAreDropped(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		good := g.forge(event.Proto{})
		raw := make(map[string]any)
		must(t, json.Unmarshal(good.JSON(), &raw))
		for key, value := range map[string]any{"depth": math.MaxInt64, "prev_events": make([]string, 21), "auth_events": make([]string, 11), "type": 5} {
			was := raw[key]
			raw[key] = value
			bad, err := json.Marshal(raw)
			must(t, err)
			if err := g.one.ReceivePDU(t.Context(), "evil.example", g.room, bad); err == nil {
				t.Errorf("an event with a bad %s was taken", key)
			}
			raw[key] = was
		}
		g.unharmed()
	})
}
