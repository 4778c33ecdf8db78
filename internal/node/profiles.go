package node

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"beffroi/account"
	"beffroi/bus"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
)

const (
	// profileCursor names the follower of profiles in the table of cursors.
	profileCursor = "profiles"
	profileBatch  = 100
	// profileTick bounds what a lost hint costs.
	profileTick = time.Second
)

// followProfiles turns changed profiles into member events: the accounts and
// the rooms have different owners, which know nothing of each other.
func (n *Node) followProfiles(ctx context.Context) error {
	hint := bus.Hints(ctx, n.bus)
	tick := time.NewTicker(profileTick)
	defer tick.Stop()
	var at storage.Position
	if err := n.DB.View(ctx, func(r *storage.Reader) (err error) {
		at, err = storage.Cursor(ctx, r, profileCursor)
		return err
	}); err != nil {
		return err
	}
	for {
		next, err := n.updateProfiles(ctx, at)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			n.log.WarnContext(ctx, "profiles not written into rooms; trying again", "error", err)
		case next > at:
			at = next
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-hint:
		case <-tick.C:
		}
	}
}

func (n *Node) updateProfiles(ctx context.Context, after storage.Position) (storage.Position, error) {
	changes, err := n.Accounts.ProfileChanges(ctx, after, profileBatch)
	if err != nil || len(changes) == 0 {
		return after, err
	}
	done := make(map[matrix.UserID]bool)
	for _, change := range changes {
		if done[change.User] {
			continue
		}
		done[change.User] = true
		profile, err := Profile(ctx, n.Accounts, change.User)
		if err == nil {
			err = n.Rooms.UpdateProfile(ctx, change.User, profile)
		}
		if err != nil && !matrix.IsCode(err, "M_NOT_FOUND") { // an account that is gone leaves its rooms
			return after, err
		}
	}
	last := changes[len(changes)-1].Pos
	_, err = n.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return storage.SetCursor(ctx, tx, profileCursor, last)
	})
	return last, err
}

// Profile returns what memberships say of a user.
func Profile(ctx context.Context, accounts *account.Server, user matrix.UserID) (p roomserver.Profile, err error) {
	fields, err := accounts.Profile(ctx, user)
	if err != nil {
		return p, err
	}
	text := func(name string) (s string) {
		err = errors.Join(err, json.Unmarshal(fields[name], &s))
		return s
	}
	if fields["displayname"] != nil {
		p.DisplayName = text("displayname")
	}
	if fields["avatar_url"] != nil {
		p.AvatarURL = text("avatar_url")
	}
	return p, err
}
