package policystore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"beffroi/policy"
)

// watchedFile is the policy file as it was seen last. Only Open, Run and
// Reload look at it, one at a time.
type watchedFile struct {
	path    string
	stat    stamp
	content [sha256.Size]byte
	missing bool
	looks   int
}

// stamp is what a file system tells of a change without reading the file.
type stamp struct {
	modified time.Time
	size     int64
}

const (
	// unsettled is how long after a change a second one may have the same time
	// and size: file systems keep times no finer than two seconds.
	unsettled = 3 * time.Second
	// readEvery is after how many looks a file is read although nothing seems
	// to have changed: copies may keep the time of the original.
	readEvery = 30
	// settle is how long a file must stay as it is to be taken as complete.
	settle = 200 * time.Millisecond
)

// watchFile reloads the policy file after it changed.
func (s *Store) watchFile(ctx context.Context) {
	f := &s.file
	if f.path == "" {
		return
	}
	info, err := os.Stat(f.path)
	if err != nil {
		if !f.missing {
			s.log.Error("policy file cannot be read; the active document stays in force", "file", f.path, "err", err)
		}
		f.missing, f.stat = true, stamp{}
		return
	}
	f.missing = false
	now := stamp{info.ModTime(), info.Size()}
	f.looks++
	if now == f.stat && time.Since(now.modified).Abs() > unsettled && f.looks%readEvery != 0 {
		return
	}
	f.stat = now
	raw, err := readStable(ctx, f.path)
	if err != nil || sha256.Sum256(raw) == f.content {
		return // a file that is being written is looked at again
	}
	_ = s.reload(ctx, raw) // told by reload
}

// readStable reads a file that nobody is writing at this moment.
func readStable(ctx context.Context, path string) ([]byte, error) {
	before, err := readLimited(path)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(settle):
	}
	after, err := readLimited(path)
	if err == nil && !bytes.Equal(before, after) {
		err = errors.New("the file is being written")
	}
	return after, err
}

// readLimited reads one byte more than a document may have, and no more.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, policy.MaxDocumentBytes+1))
}

// Reload reads the policy file now and activates its document. It returns why
// that was refused, which is in the log too. Run must not run meanwhile.
func (s *Store) Reload(ctx context.Context) error {
	raw, err := readLimited(s.file.path)
	if err != nil {
		s.log.Error("policy file cannot be read", "file", s.file.path, "err", err)
		return fmt.Errorf("read policy file: %w", err)
	}
	return s.reload(ctx, raw)
}

func (s *Store) reload(ctx context.Context, raw []byte) error {
	by := Editor{Actor: ActorSystem, Way: WayFile}
	doc, err := policy.ParseDocument(raw)
	if err != nil {
		mistakes, _ := errors.AsType[policy.Mistakes](err)
		s.refusedDocument(0, "", by, mistakes)
	} else if err = s.guardFile(ctx, doc); err == nil {
		err = s.Activate(ctx, doc, by)
	} else if mistakes, ok := errors.AsType[policy.Mistakes](err); ok {
		s.refusedDocument(doc.Version, doc.Issuer, by, mistakes)
	}
	_, refused := errors.AsType[policy.Mistakes](err)
	switch {
	case err == nil:
		s.file.content = sha256.Sum256(raw)
		return nil
	case refused: // the database is not to blame: the same content is not tried again
		s.file.content = sha256.Sum256(raw)
	}
	s.tellRefusedFile(doc, err)
	return fmt.Errorf("%s: %w", s.file.path, err)
}

// tellRefusedFile says in the log what is wrong with the file and what to do.
func (s *Store) tellRefusedFile(doc *policy.Document, err error) {
	log := s.log.With("file", s.file.path)
	active := s.active.Load()
	switch {
	case active == nil:
		log.Error("policy file is refused and there is no other document", "err", err)
	case doc != nil && doc.Version <= active.Version:
		log.Error("policy file has changed but its version has not grown; the active document stays in force",
			"active", active.Version, "version", doc.Version, "err", err,
			"todo", fmt.Sprintf("write version: %d in the file and save it again", active.Version+1))
	default:
		log.Error("policy file is refused; the active document stays in force", "active", active.Version, "err", err,
			"todo", "correct the file and save it again; beffroi policy check FILE says the same")
	}
}

// fileHeader stands above the document that the server writes itself.
const fileHeader = `# The policy of this server: who may talk with whom. The server reads this file
# again within two seconds after it was saved. For a change to count, version
# must grow. What is wrong is in the log; beffroi policy check FILE tells it
# before.

`

// writeMissingFile writes the active document, or else the first one of a new
// server, to the policy file so that people can edit it.
func (s *Store) writeMissingFile() error {
	if _, err := os.Stat(s.file.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	doc := policy.Initial(s.self)
	if active := s.active.Load(); active != nil {
		doc = active.Document
	}
	text, err := doc.YAML()
	if err != nil {
		return err
	}
	if err := writeFile(s.file.path, append([]byte(fileHeader), text...)); err != nil {
		return fmt.Errorf("write the first policy file: %w", err)
	}
	s.log.Info("policy file is written", "file", s.file.path)
	return nil
}

// writeFile writes a new file completely or not at all.
func writeFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".policy-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // nothing after the rename
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o640)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
