package sendqueue

import (
	"context"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/peers"
)

// progress is how far the log has been followed.
type progress struct {
	started bool
	pdus    storage.Position
	saved   storage.Position // of pdus, in the database
	edus    storage.Position
}

// follow reads the log to its end.
func (q *Queue) follow(ctx context.Context, at *progress) error {
	if !at.started {
		if err := q.resume(ctx, at); err != nil {
			return err
		}
	}
	for more := true; more; {
		page, err := q.log.OutgoingEvents(ctx, at.pdus, batch)
		if err != nil {
			return err
		}
		if err := q.queue(ctx, at, page); err != nil {
			return err
		}
		more = page.More
	}
	return q.findEDUs(ctx, at)
}

// resume finds the cursor, and what was waiting when the process ended.
func (q *Queue) resume(ctx context.Context, at *progress) error {
	var backlog []matrix.ServerName
	err := q.db.View(ctx, func(r *storage.Reader) (err error) {
		if at.pdus, err = storage.Cursor(ctx, r, follower); err != nil {
			return err
		}
		if at.edus, err = storage.Head(ctx, r); err != nil {
			return err
		}
		backlog, err = peers.Backlog(ctx, r)
		return err
	})
	if err != nil {
		return err
	}
	at.saved, at.started = at.pdus, true
	q.note(backlog)
	return nil
}

// queue puts events into the outbox and moves the cursor in the same commit.
func (q *Queue) queue(ctx context.Context, at *progress, page Page) error {
	events, servers, err := q.admitted(ctx, page.Events)
	if err != nil {
		return err
	}
	if len(events) > 0 || page.UpTo-at.saved >= cursorStep {
		_, err := q.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			for _, e := range events {
				peers.AddPDU(tx, e.Destinations, e.Pos, e.EventNID)
			}
			return storage.SetCursor(ctx, tx, follower, page.UpTo)
		})
		if err != nil {
			return err
		}
		at.saved = page.UpTo
	}
	at.pdus = page.UpTo
	q.note(servers)
	return nil
}

// admitted leaves out the destinations that the policy denies; the gate has
// then recorded the refusal. It asks once for each server.
func (q *Queue) admitted(ctx context.Context, events []Outgoing) (out []Outgoing, servers []matrix.ServerName, err error) {
	verdicts := make(map[matrix.ServerName]bool)
	for _, e := range events {
		kept := make([]matrix.ServerName, 0, len(e.Destinations))
		for _, server := range e.Destinations {
			if server.Normalise() == q.name.Normalise() {
				continue
			}
			allowed, asked := verdicts[server]
			if !asked {
				err := q.sender.Check(ctx, server)
				if err != nil && !matrix.IsCode(err, "M_FORBIDDEN") {
					return nil, nil, err
				}
				allowed = err == nil
				if verdicts[server] = allowed; allowed {
					servers = append(servers, server)
				}
			}
			if allowed {
				kept = append(kept, server)
			} else {
				q.metrics.denied.Inc()
			}
		}
		if e.Destinations = kept; len(kept) > 0 {
			out = append(out, e)
		}
	}
	return out, servers, nil
}

// findEDUs wakes the servers for which owners have queued something.
func (q *Queue) findEDUs(ctx context.Context, at *progress) error {
	var servers []matrix.ServerName
	var head storage.Position
	err := q.db.View(ctx, func(r *storage.Reader) (err error) {
		if head, err = storage.Head(ctx, r); err != nil || head == at.edus {
			return err
		}
		servers, err = peers.NewEDUs(ctx, r, at.edus)
		return err
	})
	if err != nil {
		return err
	}
	at.edus = head
	q.note(servers)
	return nil
}
