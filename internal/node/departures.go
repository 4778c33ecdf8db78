package node

import (
	"context"
	"time"

	"beffroi/clientapi"
	"beffroi/config"
)

const (
	// departureTick is how often departures are looked for. They are rare: to
	// look at every commit would cost more than the second.
	departureTick  = time.Second
	departureBatch = 20
)

// followDepartures takes accounts that were deactivated out of their rooms:
// the accounts and the rooms have different owners, which know nothing of each
// other. What is not done when the node stops is done when it starts.
func (n *Node) followDepartures(ctx context.Context) error {
	tick := time.NewTicker(departureTick)
	defer tick.Stop()
	for {
		if err := n.depart(ctx); err != nil && ctx.Err() == nil {
			n.log.WarnContext(ctx, "deactivated account not out of its rooms; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (n *Node) depart(ctx context.Context) error {
	list, err := n.Accounts.Departures(ctx, departureBatch)
	if err != nil {
		return err
	}
	for _, user := range list {
		if err := n.Rooms.LeaveAll(ctx, user); err != nil {
			return err
		}
		if err := n.Accounts.Departed(ctx, user); err != nil {
			return err
		}
	}
	return nil
}

// support returns whom one turns to.
func support(c config.Support) clientapi.Support {
	out := clientapi.Support{Page: c.Page}
	for _, contact := range []clientapi.Contact{
		{Role: "m.role.admin", MatrixID: c.AdminUser, Email: c.AdminEmail},
		{Role: "m.role.security", MatrixID: c.SecurityUser, Email: c.SecurityEmail},
	} {
		if contact.MatrixID != "" || contact.Email != "" {
			out.Contacts = append(out.Contacts, contact)
		}
	}
	return out
}
