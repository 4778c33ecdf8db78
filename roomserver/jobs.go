package roomserver

import (
	"context"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// PurgeRequest says what of the history of a room is removed: its messages up
// to an event, or all that their senders date before a time, or both at once.
// State is kept, and the last events, which the next one follows.
type PurgeRequest struct {
	Room   matrix.RoomID
	Event  matrix.EventID // the last that goes; "" for no bound
	Before time.Time      // zero for no bound
}

// PurgeHistory queues the removal of old messages and returns the number of
// the job. What is removed is gone: it is not asked of other servers again.
func (s *Server) PurgeHistory(ctx context.Context, req PurgeRequest) (job int64, err error) {
	j := rooms.Job{Kind: rooms.JobPurge, Room: req.Room, CreatedAt: s.nowMS()}
	if req.Event == "" && req.Before.IsZero() {
		return 0, matrix.InvalidParam("a purge needs an event or a time")
	}
	if !req.Before.IsZero() {
		j.BeforeTS = req.Before.UnixMilli()
	}
	err = s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, req.Room)
		if err != nil || req.Event == "" {
			j.UpTo = row.HeadPos
			return err
		}
		e, err := rooms.EventIn(ctx, r, req.Room, req.Event)
		if err == nil && e.Pos == 0 {
			err = matrix.InvalidParam("the event has no place in the room")
		}
		if err == nil {
			j.UpTo = e.Pos
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return s.queue(ctx, j, nil)
}

// DeleteRoom hides a room from everybody at once, as if all who are in it had
// left, and queues its removal. It returns the number of the job. A room that
// this server has not heard of is M_NOT_FOUND.
//
// Other servers are not told: whoever shall leave it there must leave before.
func (s *Server) DeleteRoom(ctx context.Context, room matrix.RoomID) (job int64, err error) {
	job, err = s.queue(ctx, rooms.Job{Kind: rooms.JobDelete, Room: room, CreatedAt: s.nowMS()},
		func(ctx context.Context, tx *storage.Tx) error {
			_, ok, err := rooms.Hide(ctx, tx, room, s.self)
			if err == nil && !ok {
				err = matrix.NotFound("no such room")
			}
			return err
		})
	s.forgetRoom(room)
	return job, err
}

func (s *Server) queue(ctx context.Context, j rooms.Job, also func(context.Context, *storage.Tx) error) (id int64, err error) {
	_, err = s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		if also != nil {
			if err := also(ctx, tx); err != nil {
				return err
			}
		}
		id, err = rooms.AddJob(ctx, tx, j)
		return err
	})
	if err != nil {
		return 0, err
	}
	select {
	case s.work.wake <- struct{}{}:
	default:
	}
	return id, nil
}

// forgetRoom drops a room from memory. Who has it still finds that it is gone
// when they read it, or when they commit.
func (s *Server) forgetRoom(id matrix.RoomID) {
	if rm, ok := s.rooms.GetIfPresent(id); ok {
		rm.mu.Lock()
		rm.drop()
		rm.mu.Unlock()
	}
	s.rooms.Invalidate(id)
}

// Job returns how far a job came, or M_NOT_FOUND.
func (s *Server) Job(ctx context.Context, id int64) (j rooms.Job, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		j, err = rooms.JobByID(ctx, r, id)
		return err
	})
	return j, err
}

// doJobs does the jobs that wait, one after the other.
func (s *Server) doJobs(ctx context.Context) error {
	var ids []int64
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		ids, err = rooms.WaitingJobs(ctx, r, roundJobs)
		return err
	}); err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.doJob(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// doJob does a job to its end. What cannot be done, because the room is not
// there, ends it as well.
func (s *Server) doJob(ctx context.Context, id int64) error {
	for {
		start := time.Now()
		j, err := s.stepJob(ctx, id)
		if answer := matrix.Answer(err); err != nil && answer.Status < 500 {
			_, err = s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
				j.ID, j.FinishedAt, j.Error = id, s.nowMS(), answer.Error()
				return rooms.SaveJob(ctx, tx, j)
			})
			return err
		}
		if err != nil {
			return err
		}
		if j.FinishedAt > 0 {
			s.log.InfoContext(ctx, "job done", "job", id, "kind", j.Kind, "room_id", j.Room, "rows", j.Removed,
				"took", time.UnixMilli(j.FinishedAt).Sub(time.UnixMilli(j.CreatedAt)))
			return nil
		}
		if err := giveWay(ctx, start); err != nil {
			return err
		}
	}
}

// stepJob does one step of a job and writes how far it came, in one commit.
func (s *Server) stepJob(ctx context.Context, id int64) (j rooms.Job, err error) {
	var gone []matrix.EventID
	_, err = s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		gone = nil
		r, err := tx.Snapshot(ctx)
		if err != nil {
			return err
		}
		if j, err = rooms.JobByID(ctx, r, id); err != nil || j.FinishedAt > 0 {
			return err
		}
		var done bool
		switch j.Kind {
		case rooms.JobPurge:
			gone, done, err = purgeStep(ctx, tx, r, &j)
		case rooms.JobDelete:
			gone, done, err = s.deleteStep(ctx, tx, r, &j)
		default:
			return matrix.InvalidParam("%q is no kind of job", j.Kind)
		}
		if err != nil {
			return err
		}
		if done {
			j.FinishedAt = s.nowMS()
		}
		return rooms.SaveJob(ctx, tx, j)
	})
	if err != nil {
		return j, err
	}
	s.forget(gone)
	if j.Kind == rooms.JobDelete {
		s.forgetRoom(j.Room)
	}
	return j, nil
}

func purgeStep(ctx context.Context, tx *storage.Tx, r *storage.Reader, j *rooms.Job) (gone []matrix.EventID, done bool, err error) {
	row, err := rooms.ByID(ctx, r, j.Room)
	if err != nil {
		return nil, false, err
	}
	step, err := rooms.PurgeStep(ctx, tx, rooms.Purge{RoomNID: row.NID, After: j.Reached, UpTo: j.UpTo, BeforeTS: j.BeforeTS}, stepRows)
	j.Reached = step.Reached
	j.Removed += int64(len(step.Events))
	return step.Events, step.Done, err
}

func (s *Server) deleteStep(ctx context.Context, tx *storage.Tx, r *storage.Reader, j *rooms.Job) (gone []matrix.EventID, done bool, err error) {
	nid, err := rooms.Hidden(ctx, r, j.Room)
	if err != nil {
		return nil, false, err
	}
	if nid == 0 { // it was queued by a command
		_, ok, err := rooms.Hide(ctx, tx, j.Room, s.self)
		if err == nil && !ok {
			err = matrix.NotFound("no such room")
		}
		return nil, false, err
	}
	step, err := rooms.Sweep(ctx, tx, nid, s.self, stepRows)
	j.Removed += step.Rows
	return step.Events, step.Done, err
}
