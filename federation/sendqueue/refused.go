package sendqueue

import (
	"context"
	"net/http"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/peers"
)

const (
	// patience is how often a transaction is repeated that the server refuses
	// for what it says, before the message in it is looked for.
	patience = 3
	// maxCatchUp is how many events a server gets one by one after it was away.
	// Beyond it the newest of each room goes, and the server asks for the rest
	// if it wants it.
	maxCatchUp = 1000
	// maxReason bounds why a message was given up.
	maxReason = 500
)

// refusesContent reports whether a server has refused what a transaction says,
// and not the server that sends it: the same would be refused for ever.
func refusesContent(err error) bool {
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// accepted widens transactions again after one that was taken.
func (j *job) accepted() {
	j.refusals = 0
	if j.limit *= 2; j.limit >= maxPDUs+maxEDUs {
		j.limit = 0
	}
}

// refused narrows a transaction of size messages that the server refuses down
// to the one that it does not take, and gives that up: else nothing would ever
// reach the server again.
func (q *Queue) refused(ctx context.Context, j *job, size int, cause error) error {
	if j.refusals++; j.refusals <= patience && j.limit == 0 {
		return q.failed(ctx, j, cause)
	}
	if size <= 1 {
		return q.giveUp(ctx, j, cause)
	}
	j.limit = size / 2
	next := j.state
	next.TxnID, next.PDUsTo, next.EDUsTo = "", 0, 0 // none of it counts: what was in it is the first that waits
	next.RetryAt = time.Now().Add(q.backoff(1)).UnixMilli()
	q.logger.InfoContext(ctx, "destination refuses a transaction; sending less at once", "destination", j.name,
		"messages", size, "error", cause)
	if _, err := q.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return peers.SaveDestination(ctx, tx, j.name, next)
	}); err != nil {
		return err
	}
	j.state = next
	return nil
}

// giveUp keeps the one message of a transaction among the dead letters.
func (q *Queue) giveUp(ctx context.Context, j *job, cause error) error {
	var rows []peers.Refused
	reason := cause.Error()
	add := func(row peers.Queued) {
		rows = append(rows, peers.Refused{Destination: j.name, EventNID: row.EventNID, EDU: string(row.EDU),
			Reason: reason[:min(len(reason), maxReason)], At: time.Now().UnixMilli()})
	}
	if err := q.db.View(ctx, func(r *storage.Reader) error {
		if j.state.PDUsTo > 0 {
			pdus, err := peers.QueuedPDUs(ctx, r, j.name, 0, j.state.PDUsTo, maxPDUs)
			if err != nil {
				return err
			}
			for _, row := range pdus {
				add(row)
			}
		}
		if j.state.EDUsTo == 0 {
			return nil
		}
		edus, err := peers.QueuedEDUs(ctx, r, j.name, 0, j.state.EDUsTo, maxEDUs)
		for _, row := range edus {
			add(row)
		}
		return err
	}); err != nil {
		return err
	}
	next := peers.Destination{PDUsTo: j.state.PDUsTo, EDUsTo: j.state.EDUsTo}
	if _, err := q.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		for _, row := range rows {
			if err := peers.AddRefused(ctx, tx, row); err != nil {
				return err
			}
		}
		if err := peers.Sent(ctx, tx, j.name, j.state.PDUsTo, j.state.EDUsTo); err != nil {
			return err
		}
		return peers.SaveDestination(ctx, tx, j.name, next)
	}); err != nil {
		return err
	}
	j.state, j.refusals = next, 0
	j.limit = max(j.limit, 1) // there may be more of its kind behind it
	q.metrics.transactions.WithLabelValues("refused").Inc()
	q.logger.WarnContext(ctx, "message given up: the destination does not take it", "destination", j.name, "error", matrix.Answer(cause))
	return nil
}

// thin drops what a server that was away for long need not get one by one.
func (q *Queue) thin(ctx context.Context, j *job) error {
	waiting := 0
	if err := q.db.View(ctx, func(r *storage.Reader) (err error) {
		waiting, err = peers.WaitingPDUs(ctx, r, j.name, maxCatchUp+1)
		return err
	}); err != nil || waiting <= maxCatchUp {
		return err
	}
	dropped := int64(0)
	_, err := q.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		dropped, err = peers.KeepNewest(ctx, tx, j.name, j.state.PDUsTo)
		return err
	})
	if err == nil {
		q.logger.InfoContext(ctx, "destination was away for long; it gets the newest event of each room", "destination", j.name,
			"left_out", dropped)
	}
	return err
}
