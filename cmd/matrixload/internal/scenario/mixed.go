package scenario

import (
	"context"
	"math/rand/v2"

	"beffroi/cmd/matrixload/internal/pace"
)

const (
	// actionsPerUser is how many things one person does in a second on average,
	// who sits at a client.
	actionsPerUser = 0.2
	// Four fifths of all memberships are in a fifth of the rooms.
	largeRooms, largeShare = 0.2, 0.8
	historyLimit           = 20
)

// Of a hundred things that people do, so many are of each kind. The rest are
// messages.
const (
	reads    = 25
	typings  = 15
	lookups  = 10
	messages = 100 - reads - typings - lookups
)

// buildMixed makes a few large and many small rooms, the first with everybody
// in it.
func buildMixed(ctx context.Context, w *world) (action, error) {
	if err := w.people(ctx); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(w.Seed, 0))
	var rooms [][]*user
	for _, size := range sizes(w.Rooms, w.Members, w.Users) {
		members := make([]*user, size)
		for i, at := range rng.Perm(w.Users)[:size] {
			members[i] = w.users[at]
		}
		rooms = append(rooms, members)
	}
	if err := w.furnish(ctx, rooms); err != nil {
		return nil, err
	}
	at := make([][]*room, w.Users) // by index of the user
	for _, r := range w.rooms {
		for _, u := range r.members {
			at[u.index] = append(at[u.index], r)
		}
	}
	return func(ctx context.Context, slot pace.Slot) {
		rng := rand.New(rand.NewPCG(w.Seed, uint64(slot.N)+1))
		who := w.users[rng.IntN(len(w.users))]
		w.act(ctx, slot, who, at[who.index][rng.IntN(len(at[who.index]))], rng.IntN(100))
	}, nil
}

// sizes returns how many members each room has, if they are mean on average.
func sizes(rooms, mean, users int) []int {
	out := make([]int, rooms)
	large := max(1, int(float64(rooms)*largeRooms))
	all := float64(rooms * mean)
	for i := range out {
		size := all * (1 - largeShare) / float64(max(1, rooms-large))
		if i < large {
			size = all * largeShare / float64(large)
		}
		out[i] = min(max(int(size), 2), users)
	}
	out[0] = users // like the room of a whole ministry
	return out
}

// act does one thing in a room. What decides what it is lies between 0 and 99.
func (w *world) act(ctx context.Context, slot pace.Slot, who *user, in *room, what int) {
	last := in.last.Load()
	switch {
	case what >= 100-lookups:
		bytes, err := who.History(ctx, in.id, historyLimit)
		w.recorder.Done(opHistory, slot.Due, bytes, err)
	case what >= 100-lookups-typings:
		w.recorder.Done(opType, slot.Due, 0, who.Type(ctx, in.id))
	case what >= messages && last != nil:
		w.recorder.Done(opRead, slot.Due, 0, who.Read(ctx, in.id, *last))
	default:
		w.say(ctx, slot, who, in) // also if there is nothing to read yet
	}
}
