package scenario

import (
	"context"
	"fmt"
	"strings"

	"beffroi/cmd/matrixload/internal/pace"
)

// buildSending makes rooms of the same size, into which members send in turn.
func buildSending(ctx context.Context, w *world) (action, error) {
	if err := w.people(ctx); err != nil {
		return nil, err
	}
	rooms := make([][]*user, w.Rooms)
	for i := range rooms {
		// The next room begins with another member, so that all make rooms and
		// every user is in about as many.
		for j := range w.Members {
			rooms[i] = append(rooms[i], w.users[(i+j*max(1, w.Users/w.Members))%w.Users])
		}
	}
	if err := w.furnish(ctx, rooms); err != nil {
		return nil, err
	}
	return func(ctx context.Context, slot pace.Slot) {
		r := w.rooms[slot.N%int64(len(w.rooms))]
		w.say(ctx, slot, r.sender(slot.N/int64(len(w.rooms))), r)
	}, nil
}

// sender returns who sends the n-th message of a room. Those who listen do so
// while others speak, if there are others.
func (r *room) sender(n int64) *user {
	if quiet := len(r.members) - r.listening; quiet > 0 {
		n %= int64(quiet)
		for _, u := range r.members {
			if u.listens {
				continue
			}
			if n == 0 {
				return u
			}
			n--
		}
	}
	return r.members[n%int64(len(r.members))]
}

// say sends a message, and has those who listen look out for it.
func (w *world) say(ctx context.Context, slot pace.Slot, from *user, to *room) {
	w.news.expect(slot, from, to)
	event, err := from.Send(ctx, to.id, fmt.Sprintf("%s-%d", w.run, slot.N), w.content(slot))
	w.recorder.Done(opSend, slot.Due, 0, err)
	if err != nil {
		w.news.forget(slot.N)
		return
	}
	to.last.Store(&event)
}

// content is a message of the size that was asked for. Listeners know it again
// by its mark.
func (w *world) content(slot pace.Slot) []byte {
	const words = "a message of an ordinary length, as people write them all day long; "
	text := w.news.mark(slot.N)
	if missing := w.MessageBytes - len(text); missing > 0 {
		text += strings.Repeat(words, missing/len(words)+1)[:missing]
	}
	return []byte(`{"msgtype":"m.text","body":"` + text + `"}`)
}

// buildJoinStorm makes rooms that everybody joins who is not their founder.
func buildJoinStorm(ctx context.Context, w *world) (action, error) {
	if w.Users < 2 {
		return nil, fmt.Errorf("a storm needs more users than 1")
	}
	if err := w.people(ctx); err != nil {
		return nil, err
	}
	founder, others := w.users[:1], w.users[1:]
	rooms := make([][]*user, w.Rooms)
	for i := range rooms {
		rooms[i] = founder
	}
	if err := w.furnish(ctx, rooms); err != nil {
		return nil, err
	}
	w.Actions = min(w.Actions, int64(len(others))*int64(len(rooms)))
	return func(ctx context.Context, slot pace.Slot) {
		who, to := others[slot.N%int64(len(others))], w.rooms[slot.N/int64(len(others))]
		w.recorder.Done(opJoin, slot.Due, 0, who.Join(ctx, to.id, ""))
	}, nil
}
