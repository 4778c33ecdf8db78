package media

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/files"
)

// examine returns what is known of bytes that have just come, and has them
// scanned where nothing is. A scanner that does not answer leaves the verdict
// open: then they are scanned when somebody wants them.
func (s *Server) examine(ctx context.Context, got *received) (blob files.Blob, err error) {
	if err := s.DB.View(ctx, func(r *storage.Reader) error {
		blob, err = files.ByHash(ctx, r, got.hash)
		return err
	}); err != nil {
		return blob, err
	}
	if blob.Name == "" {
		blob = files.Blob{Hash: got.hash, Size: got.size, Stored: s.nowMS()}
	}
	if s.Scanner == nil || blob.Verdict != "" {
		return blob, nil
	}
	if _, err := got.file.Seek(0, io.SeekStart); err != nil {
		return blob, storeError("read file", err)
	}
	if err := s.scan(ctx, &blob, got.file); err != nil {
		if ctx.Err() != nil {
			return blob, ctx.Err()
		}
		return blob, nil
	}
	if blob.Name != "" { // others have it already
		err = s.note(ctx, blob)
	}
	return blob, err
}

// scan asks the scanner and puts its verdict into blob.
func (s *Server) scan(ctx context.Context, blob *files.Blob, content io.Reader) error {
	start := s.Now()
	threat, err := s.Scanner.Scan(ctx, content)
	s.metrics.scan(threat, err, s.Now().Sub(start))
	if err != nil {
		s.log.WarnContext(ctx, "a file could not be scanned", "error", err)
		return err
	}
	blob.Verdict, blob.Threat, blob.Scanned = files.Clean, "", start.UnixMilli()
	if threat != "" {
		blob.Verdict, blob.Threat = files.Infected, threat
		s.log.WarnContext(ctx, "malware was found in a file", "hash", blob.Hash, "threat", threat)
	}
	return nil
}

// note writes a verdict.
func (s *Server) note(ctx context.Context, b files.Blob) error {
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return files.SetVerdict(ctx, tx, b.Hash, b.Verdict, b.Threat, b.Scanned)
	})
	return err
}

// checkVerdict refuses a file with malware, and one of which nothing is known
// unless the server is set to fail open. What was not scanned is scanned now.
func (s *Server) checkVerdict(ctx context.Context, f *files.File) error {
	if f.Blob.Verdict == files.Infected {
		return infected()
	}
	if s.Scanner == nil || f.Blob.Verdict == files.Clean {
		return nil
	}
	err := s.scanStored(ctx, &f.Blob)
	switch {
	case err == nil && f.Blob.Verdict == files.Infected:
		return infected()
	case err == nil || s.FailOpen && ctx.Err() == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return unscanned()
}

// scanStored scans what is in the store; requests for the same bytes share it.
func (s *Server) scanStored(ctx context.Context, blob *files.Blob) error {
	done := s.flight.DoChan("scan "+blob.Hash, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scanTimeout)
		defer cancel()
		scanned := *blob
		content, err := s.Store.Open(ctx, scanned.Name)
		if err != nil {
			return scanned, storeError("open file", err)
		}
		err = s.scan(ctx, &scanned, content)
		if err = errors.Join(err, content.Close()); err != nil {
			return scanned, err
		}
		return scanned, s.note(ctx, scanned)
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case result := <-done:
		*blob = result.Val.(files.Blob)
		return result.Err
	}
}

// scanTimeout bounds a scan that several requests wait for. The scanner has a
// limit of its own, which is shorter.
const scanTimeout = 5 * time.Minute

func infected() error {
	return matrix.NewError(http.StatusForbidden, "M_FORBIDDEN", "Malware was found in this file").With("org.beffroi.scan", files.Infected)
}

func unscanned() error {
	return matrix.NewError(http.StatusServiceUnavailable, "M_UNKNOWN", "This file could not be scanned for malware: try again").
		With("org.beffroi.scan", "unscanned").With("retry_after_ms", storeRetry.Milliseconds())
}
