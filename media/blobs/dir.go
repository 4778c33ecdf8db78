// Package blobs keeps the bytes of files under names of chance: in a folder, or
// in an object store.
package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Dir is a folder. Its files lie two folders deep, so that none of them has
// more entries than tools can show.
type Dir struct{ path string }

// NewDir returns a folder, which it makes if it is missing.
func NewDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("media folder: %w", err)
	}
	return &Dir{path}, nil
}

// minName is the shortest name that fills the two folders.
const minName = 8

// at returns where a name lies. Names are made here: what has anything but
// letters and digits is none of them, and never a path.
func (d *Dir) at(name string) (string, error) {
	if len(name) < minName {
		return "", fmt.Errorf("%q is no name of a blob", name)
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return "", fmt.Errorf("%q is no name of a blob", name)
		}
	}
	return filepath.Join(d.path, name[:2], name[2:4], name[4:]), nil
}

// Put keeps a file, which the caller goes on owning. Once it returns the bytes
// outlast a crash.
func (d *Dir) Put(_ context.Context, name string, file *os.File, _ int64) error {
	target, err := d.at(name)
	if err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	folder := filepath.Dir(target)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := os.Link(file.Name(), target); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := copyTo(target, file); err != nil {
			return errors.Join(err, os.Remove(target))
		}
	}
	for _, dir := range []string{folder, filepath.Dir(folder), d.path} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// copyTo is for a folder on another file system than the temporary one.
func copyTo(target string, file *os.File) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, file)
	return errors.Join(err, out.Sync(), out.Close())
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Open opens a file. One that is not there is fs.ErrNotExist.
func (d *Dir) Open(_ context.Context, name string) (io.ReadSeekCloser, error) {
	path, err := d.at(name)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// Delete removes a file. One that is not there is no error.
func (d *Dir) Delete(_ context.Context, name string) error {
	path, err := d.at(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Each calls fn for every file and when it was written, in no order.
func (d *Dir) Each(ctx context.Context, fn func(name string, written time.Time) error) error {
	return filepath.WalkDir(d.path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(d.path, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went while we walked
		}
		if err != nil {
			return err
		}
		name := flatten(rel)
		if at, err := d.at(name); err != nil || at != path {
			return ctx.Err() // somebody else's
		}
		if err := fn(name, info.ModTime()); err != nil {
			return err
		}
		return ctx.Err()
	})
}

// flatten turns the path of a file into its name.
func flatten(rel string) string {
	name := make([]byte, 0, len(rel))
	for i := range len(rel) {
		if rel[i] != filepath.Separator {
			name = append(name, rel[i])
		}
	}
	return string(name)
}
