package media

import (
	"context"
	"io"
	"net/http"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/files"
)

const (
	// DefaultWait is how long a request waits for a file that is reserved and
	// not uploaded, and MaxWait the most that it may ask for.
	DefaultWait = 20 * time.Second
	// MaxWait is below the time after which proxies hang up.
	MaxWait = 50 * time.Second
	// pollWait is how soon a file is seen that was uploaded at another node.
	pollWait = time.Second
)

// Query says which file is wanted, and by whom.
type Query struct {
	MXC matrix.MXC
	// Wait is how long to wait for a file that is not uploaded yet.
	Wait time.Duration
	// Public is a request that shows no session.
	Public bool
	// NoRemote asks for what is here and fetches nothing.
	NoRemote bool
}

// File is a file that may be served. Its Content has to be closed.
type File struct {
	MXC         matrix.MXC
	Hash        string // in hexadecimal
	Size        int64
	ContentType string
	Name        string // "" for none
	Created     time.Time
	Uploader    matrix.UserID // "" for a copy
	Content     io.ReadSeekCloser
}

// Open opens a file. It is M_NOT_FOUND where there is none, or none for this
// request; M_NOT_YET_UPLOADED where it was waited for in vain; M_FORBIDDEN
// where malware was found in it; and 503 where it could not be looked at.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid
func (s *Server) Open(ctx context.Context, q Query) (_ *File, err error) {
	defer func() { s.metrics.download(s.own(q.MXC), err) }()
	f, err := s.find(ctx, q)
	if err != nil {
		return nil, err
	}
	content, err := s.Store.Open(ctx, f.Blob.Name)
	if err != nil {
		return nil, storeError("open file", err)
	}
	s.served(f)
	return &File{MXC: q.MXC, Hash: f.Hash, Size: f.Size, ContentType: f.ContentType, Name: f.Name,
		Created: time.UnixMilli(f.Created), Uploader: f.Uploader, Content: content}, nil
}

// find returns a file that may be served.
func (s *Server) find(ctx context.Context, q Query) (files.File, error) {
	f, err := s.lookUp(ctx, q)
	if err != nil {
		return f, err
	}
	if err := s.mayServe(f, q.Public); err != nil {
		return f, err
	}
	return f, s.checkVerdict(ctx, &f)
}

// lookUp returns a file with its bytes, wherever it is.
func (s *Server) lookUp(ctx context.Context, q Query) (f files.File, err error) {
	if f, err = s.await(ctx, q); err == nil || s.own(q.MXC) || q.NoRemote || q.Public || !matrix.IsCode(err, "M_NOT_FOUND") {
		return f, err
	}
	if err := s.fetch(ctx, q.MXC, q.Wait); err != nil {
		return f, err
	}
	return s.row(ctx, q.MXC)
}

func (s *Server) row(ctx context.Context, mxc matrix.MXC) (f files.File, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		f, err = files.ByMXC(ctx, r, mxc)
		return err
	})
	return f, err
}

// await returns the row of a file, once it has its bytes.
func (s *Server) await(ctx context.Context, q Query) (files.File, error) {
	deadline := time.NewTimer(q.Wait)
	defer deadline.Stop()
	poll := time.NewTicker(pollWait)
	defer poll.Stop()
	for {
		s.mu.Lock()
		filled := s.filled // before the row is read, so that nothing is missed between
		s.mu.Unlock()
		f, err := s.row(ctx, q.MXC)
		if err != nil || f.Hash != "" {
			return f, err
		}
		if f.Expires <= s.nowMS() {
			return f, matrix.NotFound("There is no such file: it was never uploaded")
		}
		select {
		case <-ctx.Done():
			return f, ctx.Err()
		case <-deadline.C:
			return f, notYet()
		case <-filled:
		case <-poll.C:
		}
	}
}

func notYet() error {
	return matrix.NewError(http.StatusGatewayTimeout, "M_NOT_YET_UPLOADED", "The file is not uploaded yet: ask again")
}

// mayServe refuses what is quarantined, as if it did not exist, and to those
// who show no session what came after the old endpoints were frozen.
func (s *Server) mayServe(f files.File, public bool) error {
	switch {
	case f.Quarantined != "":
		return matrix.NotFound("There is no such file")
	case public && !s.Public.All && !time.UnixMilli(f.Created).Before(s.Public.Before):
		return matrix.NotFound("This file is served by /_matrix/client/v1/media, to whoever is logged in")
	}
	return nil
}

// served notes that a file was served.
func (s *Server) served(f files.File) {
	hour := time.Hour.Milliseconds()
	now := s.nowMS() / hour * hour
	if f.Used >= now {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) < maxSeen {
		s.seen[f.MXC] = now
	}
}

// maxSeen bounds the memory of what was served in a minute. What is not noted
// then is noted an hour later.
const maxSeen = 10_000
