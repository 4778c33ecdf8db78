package media

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/files"
)

const (
	// maxFetches bounds the files of other servers that come at a time.
	maxFetches = 32
	// fetchTimeout bounds one of them.
	fetchTimeout = 5 * time.Minute
	// absentFor is how long a server is believed that it has no such file, and
	// awayFor how long one that does not answer is not asked again.
	absentFor = 10 * time.Minute
	awayFor   = 30 * time.Second
	// maxAbsences bounds the memory of both.
	maxAbsences = 10_000
)

// fetch gets a file of another server. Requests for the same file share it,
// and it goes on when the first of them has gone.
func (s *Server) fetch(ctx context.Context, mxc matrix.MXC, wait time.Duration) error {
	if s.Remote == nil {
		return matrix.NotFound("There is no such file")
	}
	if err := s.absent.known(mxc); err != nil {
		return err
	}
	done := s.flight.DoChan("fetch "+mxc.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		select {
		case s.fetches <- struct{}{}:
			defer func() { <-s.fetches }()
		case <-ctx.Done():
			return nil, matrix.LimitExceeded(awayFor)
		}
		err := s.fetchNow(ctx, mxc, wait)
		s.metrics.fetch(err)
		s.absent.note(mxc, err)
		return nil, err
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case result := <-done:
		return result.Err
	}
}

func (s *Server) fetchNow(ctx context.Context, mxc matrix.MXC, wait time.Duration) error {
	return s.Remote.Media(ctx, mxc, wait, s.MaxRemote, func(contentType, disposition string, body io.Reader) error {
		got, err := s.receive(body, -1, s.MaxRemote)
		if err != nil {
			if matrix.IsCode(err, "M_TOO_LARGE") {
				err = tooLongThere(s.MaxRemote)
			}
			return err
		}
		defer got.remove()
		blob, err := s.examine(ctx, got)
		if err != nil {
			return err
		}
		now := s.nowMS()
		f := files.File{MXC: mxc, Hash: got.hash, Size: got.size, ContentType: cleanType(contentType),
			Name: nameIn(disposition), Created: now, Used: now}
		return s.keep(ctx, got, blob, func(ctx context.Context, tx *storage.Tx) error { return files.Add(ctx, tx, f) })
	})
}

func tooLongThere(limit int64) error {
	return matrix.NewError(http.StatusBadGateway, "M_TOO_LARGE", "The file is longer than %d bytes, which is the most that this server fetches", limit)
}

// absences remembers for a while which files could not be had.
type absences struct {
	now func() time.Time

	mu    sync.Mutex
	until map[matrix.MXC]absence // guarded by mu
}

type absence struct {
	err   error
	until time.Time
}

func newAbsences(now func() time.Time) *absences {
	return &absences{now: now, until: make(map[matrix.MXC]absence)}
}

// known returns why a file could not be had lately, or nil.
func (a *absences) known(mxc matrix.MXC) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if was, ok := a.until[mxc]; ok && a.now().Before(was.until) {
		return was.err
	}
	return nil
}

// note keeps how a fetch ended. What our own server could not do, what its
// policy refuses, and a file that is still to come say nothing of the next try.
func (a *absences) note(mxc matrix.MXC, err error) {
	answer := matrix.Answer(err)
	age := awayFor
	switch {
	case err == nil, answer.Code == "M_NOT_YET_UPLOADED", answer.Code == "M_LIMIT_EXCEEDED",
		answer.Status == http.StatusInternalServerError, answer.Status == http.StatusServiceUnavailable,
		answer.Status == http.StatusForbidden:
		return
	case answer.Status == http.StatusNotFound, answer.Code == "M_TOO_LARGE":
		age = absentFor
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if len(a.until) >= maxAbsences {
		for key, was := range a.until {
			if len(a.until) < maxAbsences*9/10 && now.Before(was.until) {
				break
			}
			delete(a.until, key)
		}
	}
	a.until[mxc] = absence{answer, now.Add(age)}
}
