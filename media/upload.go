package media

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/files"
)

const (
	// reserved is for how long a reserved name can be used: the specification
	// recommends a day.
	reserved = 24 * time.Hour
	// maxPending bounds how many names one account has reserved at a time: a
	// camera roll that is sent at once.
	maxPending = 50
)

// Upload is a file that somebody sends.
type Upload struct {
	User        matrix.UserID
	ContentType string
	Name        string // "" for none
	Room        matrix.RoomID
	Size        int64 // -1 where it is not known yet
	Body        io.Reader
}

// Upload keeps a file and returns its name. A file that is too long is
// M_TOO_LARGE, one over the quota of its uploader or with malware M_FORBIDDEN.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload
func (s *Server) Upload(ctx context.Context, up Upload) (matrix.MXC, error) {
	mxc := s.newMXC()
	return mxc, s.upload(ctx, up, mxc, func(ctx context.Context, tx *storage.Tx, f files.File) error {
		return files.Add(ctx, tx, f)
	})
}

func (s *Server) newMXC() matrix.MXC {
	return matrix.MXC{Server: s.ServerName, ID: strings.ToLower(rand.Text())}
}

// Reserve makes a name for a file that its user uploads before expires. Who has
// reserved too many is told to wait.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create
func (s *Server) Reserve(ctx context.Context, user matrix.UserID, room matrix.RoomID) (mxc matrix.MXC, expires time.Time, err error) {
	mxc, now := s.newMXC(), s.Now()
	expires = now.Add(reserved)
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		r, err := tx.Snapshot(ctx)
		if err != nil {
			return err
		}
		n, err := files.Pending(ctx, r, user, now.UnixMilli())
		if err == nil && n >= maxPending {
			err = matrix.LimitExceeded(time.Minute)
		}
		if err != nil {
			return err
		}
		return files.Add(ctx, tx, files.File{MXC: mxc, Uploader: user, Room: room, Created: now.UnixMilli(),
			Expires: expires.UnixMilli(), Used: now.UnixMilli()})
	})
	return mxc, expires, err
}

// Fill uploads the file of a name that its user reserved. A name that is not
// reserved is M_NOT_FOUND, one of somebody else M_FORBIDDEN, and one that has
// its file M_CANNOT_OVERWRITE_MEDIA.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid
func (s *Server) Fill(ctx context.Context, mxc matrix.MXC, up Upload) error {
	if !s.own(mxc) {
		return matrix.NotFound("%s is not of this server", mxc)
	}
	var f files.File
	if err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		f, err = files.ByMXC(ctx, r, mxc)
		return err
	}); err != nil {
		return err
	}
	switch {
	case f.Uploader != up.User:
		return matrix.Forbidden("%s was reserved by somebody else", mxc)
	case f.Hash != "":
		return overwrite(mxc)
	case f.Expires <= s.nowMS():
		return matrix.NotFound("%s has expired: reserve another name", mxc)
	}
	err := s.upload(ctx, up, mxc, func(ctx context.Context, tx *storage.Tx, f files.File) error {
		done, err := files.Fill(ctx, tx, f)
		if err == nil && !done {
			err = overwrite(mxc)
		}
		return err
	})
	if err == nil {
		s.announce()
	}
	return err
}

func overwrite(mxc matrix.MXC) error {
	return matrix.NewError(http.StatusConflict, "M_CANNOT_OVERWRITE_MEDIA", "%s has its file already", mxc)
}

// upload receives a file, and writes with write that there is one.
func (s *Server) upload(ctx context.Context, up Upload, mxc matrix.MXC,
	write func(context.Context, *storage.Tx, files.File) error) (err error) {
	defer func() { s.metrics.upload(err) }()
	if err := s.quota(ctx, up.User, max(up.Size, 0)); err != nil {
		return err
	}
	got, err := s.receive(up.Body, up.Size, s.MaxUpload)
	if err != nil {
		return err
	}
	defer got.remove()
	now := s.nowMS()
	f := files.File{MXC: mxc, Uploader: up.User, Room: up.Room, Hash: got.hash, Size: got.size,
		ContentType: cleanType(up.ContentType), Name: cleanName(up.Name), Created: now, Used: now}
	blob, err := s.examine(ctx, got)
	if err != nil {
		return err
	}
	if blob.Verdict == files.Infected {
		return infected()
	}
	return s.keep(ctx, got, blob, func(ctx context.Context, tx *storage.Tx) error {
		r, err := tx.Snapshot(ctx)
		if err != nil {
			return err
		}
		if err := s.withinQuota(ctx, r, up.User, got.size); err != nil { // others may have come first
			return err
		}
		return write(ctx, tx, f)
	})
}

// quota refuses what would be too much for an account before it is received.
func (s *Server) quota(ctx context.Context, user matrix.UserID, more int64) error {
	if more > s.MaxUpload {
		return tooLong(s.MaxUpload)
	}
	return s.DB.View(ctx, func(r *storage.Reader) error { return s.withinQuota(ctx, r, user, more) })
}

func (s *Server) withinQuota(ctx context.Context, r *storage.Reader, user matrix.UserID, more int64) error {
	if s.UserQuota <= 0 {
		return nil
	}
	used, err := files.UsageOf(ctx, r, user)
	if err == nil && used.Bytes+more > s.UserQuota {
		err = matrix.Forbidden("Your files would take more than the %d bytes that an account may have: delete some", s.UserQuota)
	}
	return err
}

// keepTries bounds how often bytes are kept again that others have removed
// since.
const keepTries = 3

// keep puts bytes into the store, unless it has the same already, and writes in
// one commit whose they are.
func (s *Server) keep(ctx context.Context, got *received, blob files.Blob, write func(context.Context, *storage.Tx) error) error {
	for range keepTries {
		err := s.keepOnce(ctx, got, blob, write)
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
		blob.Name = "" // it was removed: put it again
	}
	return matrix.Unavailable(time.Second)
}

func (s *Server) keepOnce(ctx context.Context, got *received, blob files.Blob, write func(context.Context, *storage.Tx) error) error {
	put := ""
	if blob.Name == "" {
		put = strings.ToLower(rand.Text())
		if err := s.Store.Put(ctx, put, got.file, got.size); err != nil {
			return storeError("keep file", err)
		}
	}
	used := false
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		used = false
		r, err := tx.Snapshot(ctx)
		if err != nil {
			return err
		}
		there, err := files.ByHash(ctx, r, got.hash)
		if err != nil {
			return err
		}
		if there.Name == "" && put == "" {
			return storage.ErrConflict
		}
		if err := write(ctx, tx); err != nil {
			return err
		}
		if there.Name != "" {
			return nil
		}
		used, blob.Name = true, put
		return files.AddBlob(ctx, tx, blob)
	})
	if put != "" && (err != nil || !used) {
		s.discard(ctx, put)
	}
	return err
}

// discard removes bytes that nobody has. Where that fails the sweep of the
// store does it later.
func (s *Server) discard(ctx context.Context, name string) {
	if err := s.Store.Delete(context.WithoutCancel(ctx), name); err != nil {
		s.log.WarnContext(ctx, "a file that nobody has was not removed; the sweep will", "error", err)
	}
}

// storeError is what a store that does not answer means for the peer.
func storeError(doing string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%s: %w: %w", doing, matrix.Unavailable(storeRetry), err)
}

// storeRetry is when a peer may try again after the store failed.
const storeRetry = 5 * time.Second

func (s *Server) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.filled)
	s.filled = make(chan struct{})
}
