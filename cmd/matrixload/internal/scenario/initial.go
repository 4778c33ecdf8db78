package scenario

import (
	"context"
	"fmt"

	"github.com/tidwall/gjson"

	"beffroi/cmd/matrixload/internal/homeserver"
	"beffroi/cmd/matrixload/internal/pace"
)

// buildInitialSync makes rooms that all users are in, with messages in them.
func buildInitialSync(ctx context.Context, w *world) (action, error) {
	if err := w.people(ctx); err != nil {
		return nil, err
	}
	rooms := make([][]*user, w.Rooms)
	for i := range rooms {
		for j := range w.Members {
			rooms[i] = append(rooms[i], w.users[(i+j)%w.Users])
		}
	}
	if err := w.furnish(ctx, rooms); err != nil {
		return nil, err
	}
	// What a client asks for that shows a list of rooms.
	filter := fmt.Sprintf(`{"room":{"timeline":{"limit":%d},"state":{"lazy_load_members":true}}}`, max(1, w.Messages))
	if err := w.hasAll(ctx, w.users[0], filter); err != nil {
		return nil, err
	}
	return func(ctx context.Context, slot pace.Slot) {
		raw, _, err := w.users[slot.N%int64(len(w.users))].Sync(ctx, homeserver.Sync{Filter: filter})
		w.recorder.Done(opInitial, slot.Due, len(raw), err)
	}, nil
}

// hasAll makes sure that the answers that will be measured are whole.
func (w *world) hasAll(ctx context.Context, u *user, filter string) error {
	want := 0
	for _, r := range w.rooms {
		for _, m := range r.members {
			if m == u {
				want++
			}
		}
	}
	return w.try(ctx, opFirstSync, func() error {
		raw, _, err := u.Sync(ctx, homeserver.Sync{Filter: filter})
		if err != nil {
			return err
		}
		got := 0
		gjson.GetBytes(raw, "rooms.join").ForEach(func(_, room gjson.Result) bool {
			if room.Get("timeline.events.#").Int() >= int64(max(1, w.Messages)) {
				got++
			}
			return true
		})
		if got != want {
			return fmt.Errorf("the answer has %d rooms with their messages, and %s is in %d", got, u.ID, want)
		}
		return nil
	})
}
