package sendqueue

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/peers"
)

const (
	// maxPDUs and maxEDUs are the limits of a transaction.
	//
	// https://spec.matrix.org/v1.19/server-server-api/#transactions
	maxPDUs = 50
	maxEDUs = 100
	// wakeInterval is the least time between two attempts that requests of the
	// server cause: one that speaks but never listens must not keep us busy.
	wakeInterval = 10 * time.Second
)

// destination is a server with a worker. Its fields are guarded by Queue.mu.
type destination struct {
	running    bool
	again      bool          // something new may wait
	backingOff bool          // the last attempt failed, and the next is not due
	wakeUp     chan struct{} // capacity 1: the server has shown itself
	ephemeral  []ephemeral
}

// job is what the worker of a destination knows.
type job struct {
	name  matrix.ServerName
	d     *destination
	state peers.Destination
	// woken is when a request of the server last cut a wait short.
	woken time.Time
	// refusals counts how often in a row the server has refused what a
	// transaction says, and limit is how many messages the next may have while
	// the one that it refuses is looked for; 0 is no such search.
	refusals, limit int
}

// work sends to one server until nothing waits for it.
func (q *Queue) work(ctx context.Context, name matrix.ServerName, d *destination) {
	j := &job{name: name, d: d}
	loaded := false
	for ctx.Err() == nil {
		if !loaded {
			if err := q.load(ctx, j); err != nil {
				q.trouble(ctx, j, err)
				continue
			}
			loaded = true
		}
		if !q.wait(ctx, j) {
			return
		}
		empty, err := q.turn(ctx, j)
		if err != nil {
			q.trouble(ctx, j, err)
			loaded = false // what the database has is the truth
			continue
		}
		if empty && q.finish(j) {
			return
		}
	}
}

func (q *Queue) load(ctx context.Context, j *job) error {
	return q.db.View(ctx, func(r *storage.Reader) (err error) {
		j.state, err = peers.ReadDestination(ctx, r, j.name)
		return err
	})
}

// trouble waits after an error of our own side.
func (q *Queue) trouble(ctx context.Context, j *job, err error) {
	if ctx.Err() != nil {
		return
	}
	q.logger.WarnContext(ctx, "federation queue cannot read or write its rows; trying again",
		"destination", j.name, "error", err)
	pause(ctx, safetyTick, nil)
}

// wait returns when the server may be tried, and false when ctx ends.
func (q *Queue) wait(ctx context.Context, j *job) bool {
	delay := time.Until(time.UnixMilli(j.state.RetryAt))
	if delay <= 0 {
		return ctx.Err() == nil
	}
	q.metrics.backingOff.Inc()
	q.setBackingOff(j.d, true)
	defer func() {
		q.metrics.backingOff.Dec()
		q.setBackingOff(j.d, false)
	}()
	if pause(ctx, delay, j.d.wakeUp) {
		if rest := time.Until(j.woken.Add(wakeInterval)); rest > 0 {
			pause(ctx, min(rest, time.Until(time.UnixMilli(j.state.RetryAt))), nil)
		}
		j.woken = time.Now()
	}
	return ctx.Err() == nil
}

// pause waits, and reports whether it was cut short by wake.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) (woken bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
		return true
	}
	return false
}

// finish ends the worker unless something new waits.
func (q *Queue) finish(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.d.again || len(j.d.ephemeral) > 0 {
		j.d.again = false
		return false
	}
	delete(q.destinations, j.name)
	return true
}

// turn sends one transaction, when it is this server's turn. empty says that
// there was none to send.
func (q *Queue) turn(ctx context.Context, j *job) (empty bool, err error) {
	select {
	case q.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-q.slots }()
	switch err := q.sender.Check(ctx, j.name); {
	case matrix.IsCode(err, "M_FORBIDDEN"):
		return true, q.discard(ctx, j)
	case err != nil:
		return false, err
	}
	if j.state.TxnID == "" {
		if err := q.advance(ctx, j, false); err != nil {
			return false, err
		}
	}
	pdus, edus, err := q.contents(ctx, j)
	if err != nil {
		return false, err
	}
	txnID := j.state.TxnID
	var passing []json.RawMessage
	if j.limit == 0 {
		passing = q.takeEphemeral(j.d, maxEDUs-len(edus))
	}
	if len(pdus)+len(edus)+len(passing) == 0 {
		if txnID == "" {
			return true, nil
		}
		return false, q.advance(ctx, j, true) // its rows have been purged
	}
	if txnID == "" {
		txnID = newTxnID()
	}
	refused, err := q.sender.SendTransaction(ctx, j.name, txnID, pdus, append(edus, passing...))
	if err != nil {
		if refusesContent(err) && ctx.Err() == nil {
			return false, q.refused(ctx, j, len(pdus)+len(edus), err)
		}
		return false, q.failed(ctx, j, err)
	}
	j.accepted()
	q.metrics.sent(len(pdus), len(edus)+len(passing), len(refused))
	if j.state.TxnID == "" && j.state.Failures == 0 {
		return false, nil // nothing of it was in the database
	}
	return false, q.advance(context.WithoutCancel(ctx), j, true)
}

func newTxnID() string { return rand.Text() }

// advance drops what the server has received and makes the next transaction,
// in one commit. What is in it is then fixed by its two positions.
func (q *Queue) advance(ctx context.Context, j *job, received bool) error {
	next := j.state
	if received {
		if j.state.Failures > 0 {
			if err := q.thin(ctx, j); err != nil {
				return err
			}
		}
		next.Failures, next.RetryAt = 0, 0
	}
	next.TxnID = ""
	limit := j.limit
	if limit == 0 {
		limit = maxPDUs + maxEDUs
	}
	err := q.db.View(ctx, func(r *storage.Reader) error {
		pdus, err := peers.QueuedPDUs(ctx, r, j.name, j.state.PDUsTo, 0, min(maxPDUs, limit))
		if err != nil {
			return err
		}
		edus, err := peers.QueuedEDUs(ctx, r, j.name, j.state.EDUsTo, 0, min(maxEDUs, limit-len(pdus)))
		if err != nil {
			return err
		}
		if len(pdus) > 0 {
			next.PDUsTo = pdus[len(pdus)-1].Pos
		}
		if len(edus) > 0 {
			next.EDUsTo = edus[len(edus)-1].Pos
		}
		if len(pdus)+len(edus) > 0 {
			next.TxnID = newTxnID()
		}
		return nil
	})
	if err != nil || !received && next.TxnID == "" {
		return err
	}
	if _, err := q.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if received {
			if err := peers.Sent(ctx, tx, j.name, j.state.PDUsTo, j.state.EDUsTo); err != nil {
				return err
			}
		}
		return peers.SaveDestination(ctx, tx, j.name, next)
	}); err != nil {
		return err
	}
	j.state = next
	return nil
}

// contents reads what is in the transaction under way.
func (q *Queue) contents(ctx context.Context, j *job) (pdus, edus []json.RawMessage, err error) {
	if j.state.TxnID == "" {
		return nil, nil, nil
	}
	var queuedPDUs, queuedEDUs []peers.Queued
	err = q.db.View(ctx, func(r *storage.Reader) (err error) {
		if j.state.PDUsTo > 0 {
			if queuedPDUs, err = peers.QueuedPDUs(ctx, r, j.name, 0, j.state.PDUsTo, maxPDUs); err != nil {
				return err
			}
		}
		if j.state.EDUsTo > 0 {
			queuedEDUs, err = peers.QueuedEDUs(ctx, r, j.name, 0, j.state.EDUsTo, maxEDUs)
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	nids := make([]int64, len(queuedPDUs))
	for i, row := range queuedPDUs {
		nids[i] = row.EventNID
	}
	if len(nids) > 0 {
		byNID, err := q.log.PDUs(ctx, nids)
		if err != nil {
			return nil, nil, err
		}
		for _, nid := range nids {
			if pdu, ok := byNID[nid]; ok {
				pdus = append(pdus, pdu)
			}
		}
	}
	for _, row := range queuedEDUs {
		edus = append(edus, row.EDU)
	}
	return pdus, edus, nil
}

// failed notes that the server did not take a transaction. Only how long to
// wait is ours to decide: the transaction is repeated until it is taken.
func (q *Queue) failed(ctx context.Context, j *job, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	q.metrics.transactions.WithLabelValues("failed").Inc()
	j.state.Failures++
	wait := q.delay(j.state.Failures, cause)
	j.state.RetryAt = time.Now().Add(wait).UnixMilli()
	q.logger.InfoContext(ctx, "destination does not take a transaction", "destination", j.name,
		"failures", j.state.Failures, "retry_in", wait.Round(time.Second), "error", cause)
	_, err := q.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := peers.SaveDestination(ctx, tx, j.name, j.state); err != nil {
			return err
		}
		return peers.Trim(ctx, tx, j.name, j.state.EDUsTo)
	})
	return err
}

// discard drops what waits for a server that the policy denies.
func (q *Queue) discard(ctx context.Context, j *job) error {
	q.takeEphemeral(j.d, maxEphemeral)
	_, err := q.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return peers.Discard(ctx, tx, j.name)
	})
	if err == nil {
		j.state = peers.Destination{}
		q.metrics.transactions.WithLabelValues("denied").Inc()
	}
	return err
}

// setBackingOff says whether the server is waited for. What is worth nothing
// later is then dropped.
func (q *Queue) setBackingOff(d *destination, backingOff bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d.backingOff, d.ephemeral = backingOff, nil
}

// statusOf returns the HTTP status that a peer answered with, or 0.
func statusOf(err error) int {
	if e, ok := errors.AsType[*matrix.Error](err); ok {
		return e.Status
	}
	return 0
}
