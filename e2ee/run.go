package e2ee

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"beffroi/bus"
	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/keys"
)

const (
	// safetyTick bounds what a lost hint costs.
	safetyTick = time.Second
	// followPause is how long the log is let alone after it was read: a busy
	// server commits a hundred times in it.
	followPause = 50 * time.Millisecond
	// sweepEvery is how often what has expired is looked for.
	sweepEvery = time.Hour
	// resyncChunk is how many lists are fetched in one round, and resyncRetry
	// how long one waits whose server did not answer.
	resyncChunk = 64
	resyncRetry = 2 * time.Minute
	// maxListBytes bounds the answer of a server about one account.
	maxListBytes = 8 << 20

	// messageLifetime is for how long a message waits for a device that never
	// comes, and maxQueued how many of them do.
	messageLifetime = 180 * 24 * time.Hour
	maxQueued       = 20_000
	// doneLifetime is for how long a sending that comes again is known.
	doneLifetime = 7 * 24 * time.Hour
	// keptCounts is how much of the log is kept of changes of key counts. Who
	// is further behind is told the counts anyway.
	keptCounts = 1_000_000
	sweepStep  = 1000
)

// Run tells other servers of changes, fetches the lists of remote accounts of
// which something was missed, and removes what has expired, until ctx ends. A
// database that is away is waited for. One node of a cluster runs it.
func (s *Server) Run(ctx context.Context) error {
	var resyncs sync.WaitGroup
	defer resyncs.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resyncs.Go(func() { s.resyncLoop(ctx) })

	var hints <-chan struct{}
	if s.Bus != nil {
		hints = bus.Hints(ctx, s.Bus)
	}
	tick, sweep := time.NewTicker(safetyTick), time.NewTicker(sweepEvery)
	defer tick.Stop()
	defer sweep.Stop()
	var at progress
	for {
		if err := s.follow(ctx, &at); err != nil && ctx.Err() == nil {
			s.Logger.WarnContext(ctx, "device lists cannot follow the log; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followPause):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-hints:
		case <-tick.C:
		case <-sweep.C:
			if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
				s.Logger.WarnContext(ctx, "old messages to devices were not removed; trying again", "error", err)
			}
		}
	}
}

// resyncLoop fetches lists, apart from what only looks at the log: a server
// that is slow delays nobody's changes.
func (s *Server) resyncLoop(ctx context.Context) {
	tick := time.NewTicker(safetyTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.Resync(ctx); err != nil && ctx.Err() == nil {
			s.Logger.WarnContext(ctx, "device lists of other servers cannot be kept; trying again", "error", err)
		}
	}
}

// Resync fetches lists of remote accounts of which something was missed, as
// far as they are due, one round of them. [Server.Run] calls it all the time.
func (s *Server) Resync(ctx context.Context) error {
	var list []keys.RemoteList
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		list, err = keys.StaleLists(ctx, r, resyncChunk)
		return err
	})
	if err != nil {
		return err
	}
	servers := map[matrix.ServerName][]keys.RemoteList{}
	for _, l := range list {
		if l.At <= s.now() {
			servers[l.User.Server()] = append(servers[l.User.Server()], l)
		}
	}
	var mu sync.Mutex
	eachServer(ctx, s, maxTimeout, servers, func(ctx context.Context, server matrix.ServerName, lists []keys.RemoteList) {
		failed := false
		for _, l := range lists {
			listErr := s.resync(ctx, server, l, &failed)
			mu.Lock()
			if err == nil {
				err = listErr
			}
			mu.Unlock()
		}
	})
	return err
}

// resync fetches one list. After a failure of its server it only puts it off.
func (s *Server) resync(ctx context.Context, server matrix.ServerName, before keys.RemoteList, failed *bool) error {
	var list fetchedList
	if !*failed {
		raw, err := s.Remote.UserDevices(ctx, server, before.User)
		if err == nil {
			list, err = readDeviceList(raw, before.User)
		}
		if matrix.IsCode(err, "M_NOT_FOUND") {
			return s.forget(ctx, before.User)
		}
		*failed = err != nil
	}
	// The rest must be written even if the time for asking is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxTimeout)
	defer cancel()
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		lists, err := keys.RemoteLists(ctx, &tx.Reader, []matrix.UserID{before.User})
		if err != nil || lists[before.User] != before {
			return err // an update came in the meantime, or nobody shares a room any more
		}
		if *failed {
			before := before
			before.At = s.now() + resyncRetry.Milliseconds()
			return keys.SetRemoteList(ctx, tx, before)
		}
		return s.replaceList(ctx, tx, list)
	})
	return err
}

func (s *Server) forget(ctx context.Context, user matrix.UserID) error {
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return keys.ForgetRemote(ctx, tx, []matrix.UserID{user})
	})
	return err
}

// fetchedList is the good part of what another server says of an account.
type fetchedList struct {
	keys.RemoteList
	devices []keys.RemoteDevice
	signing []keys.CrossSigningKey
}

// readDeviceList takes what is good of the answer of another server. A device
// whose keys are wrong is none.
func readDeviceList(raw json.RawMessage, user matrix.UserID) (fetchedList, error) {
	out := fetchedList{RemoteList: keys.RemoteList{User: user}}
	if len(raw) > maxListBytes {
		return out, matrix.TooLarge("the list of devices is too long")
	}
	canonical, err := canonicaljson.Canonicalise(raw, canonicaljson.Strict)
	if err != nil {
		return out, err
	}
	var list DeviceList
	if err := json.Unmarshal(canonical, &list); err != nil || list.User != user {
		return out, matrix.BadJSON("malformed list of devices")
	}
	for _, listed := range list.Devices[:min(len(list.Devices), maxRemoteDevices)] {
		d := keys.RemoteDevice{User: user, ID: listed.ID}
		if present(listed.Keys) {
			d, err = parseRemoteDevice(user, listed.ID, listed.Keys)
		}
		if err == nil && plain(string(listed.ID)) {
			d.DisplayName = displayName(listed.Name)
			out.devices = append(out.devices, d)
		}
		err = nil
	}
	out.StreamID, out.signing = list.StreamID, crossSigningOf(user, list.Master, list.SelfSigning)
	return out, nil
}

// replaceList stores a list that was fetched.
func (s *Server) replaceList(ctx context.Context, tx *storage.Tx, list fetchedList) error {
	if err := keys.ForgetRemote(ctx, tx, []matrix.UserID{list.User}); err != nil {
		return err
	}
	for _, d := range list.devices {
		if err := keys.SetRemoteDevice(ctx, tx, d); err != nil {
			return err
		}
	}
	if err := setCrossSigning(ctx, tx, list.User, list.signing); err != nil {
		return err
	}
	list.At = s.now()
	if err := keys.SetRemoteList(ctx, tx, list.RemoteList); err != nil {
		return err
	}
	return keys.Changed(ctx, tx, list.User, "")
}

// sweep removes what has expired, in steps that do not hold the log for long.
func (s *Server) sweep(ctx context.Context) error {
	var full []keys.DeviceAt
	var head storage.Position
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		if head, err = storage.Head(ctx, r); err != nil {
			return err
		}
		full, err = keys.FullQueues(ctx, r, maxQueued, resyncChunk)
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range full {
		_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			_, err := keys.DeleteMessages(ctx, tx, d.User, d.Device, d.Pos, sweepStep)
			return err
		})
		if err != nil {
			return err
		}
	}
	now := s.now()
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return keys.Sweep(ctx, tx, keys.Expired{
			Messages: now - messageLifetime.Milliseconds(),
			Done:     now - doneLifetime.Milliseconds(), Claimed: now - doneLifetime.Milliseconds(),
			KeyCounts: head - keptCounts,
		}, sweepStep)
	})
	return err
}
