package media

import (
	"context"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/files"
)

// Selection says which files an administrator means.
type Selection = files.Selection

// Listed is a file as administrators see it: never what is in it.
type Listed = files.File

// What administrators do with files works on the database alone: commands do it
// beside a running server, which serves what is there when it is asked.

// List returns files after one, in the order of their names.
func List(ctx context.Context, db *storage.DB, s Selection, after matrix.MXC, limit int) (list []Listed, err error) {
	err = db.View(ctx, func(r *storage.Reader) error {
		list, err = files.Select(ctx, r, s, after, limit)
		return err
	})
	return list, err
}

// Quarantine hides files, and all with the same bytes, from everybody; what is
// uploaded again is hidden too. It returns how many are hidden.
func Quarantine(ctx context.Context, db *storage.DB, s Selection, by string) (int64, error) {
	return change(ctx, db, s, func(ctx context.Context, tx *storage.Tx) (int64, error) { return files.Quarantine(ctx, tx, s, by) })
}

// Release shows files again.
func Release(ctx context.Context, db *storage.DB, s Selection) (int64, error) {
	return change(ctx, db, s, func(ctx context.Context, tx *storage.Tx) (int64, error) { return files.Quarantine(ctx, tx, s, "") })
}

// Protect has files kept whatever happens to others, or ends that.
func Protect(ctx context.Context, db *storage.DB, s Selection, on bool) (int64, error) {
	return change(ctx, db, s, func(ctx context.Context, tx *storage.Tx) (int64, error) { return files.Protect(ctx, tx, s, on) })
}

// Rescan is [Rescan], which also forgets what was found in encrypted files.
func (s *Server) Rescan(ctx context.Context, which Selection) (int64, error) {
	s.clean.forget()
	return Rescan(ctx, s.DB, which)
}

// Rescan has files scanned again before they are served. A selection of nothing
// is all files: signatures have changed.
func Rescan(ctx context.Context, db *storage.DB, s Selection) (n int64, err error) {
	_, err = db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		n, err = files.ForgetVerdicts(ctx, tx, s)
		return err
	})
	return n, err
}

func change(ctx context.Context, db *storage.DB, s Selection, fn func(context.Context, *storage.Tx) (int64, error)) (n int64, err error) {
	if s == (Selection{}) {
		return 0, matrix.InvalidParam("Say which files: by name, account, room, server or age")
	}
	_, err = db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		n, err = fn(ctx, tx)
		return err
	})
	return n, err
}

// Purge removes files in steps, but not protected ones, and returns how many. A
// running server removes their bytes within minutes, another one when it starts.
func Purge(ctx context.Context, db *storage.DB, s Selection) (purged int64, err error) {
	if s == (Selection{}) {
		return 0, matrix.InvalidParam("Say which files: by name, account, room, server or age")
	}
	var after matrix.MXC
	for {
		list, err := List(ctx, db, s, after, stepFiles)
		if err != nil || len(list) == 0 {
			return purged, err
		}
		var drop []matrix.MXC
		for _, f := range list {
			after = f.MXC
			if !f.Protected {
				drop = append(drop, f.MXC)
			}
		}
		if _, err := db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			n, err := files.Drop(ctx, tx, drop)
			purged += n
			return err
		}); err != nil {
			return purged, err
		}
	}
}

// Usage is what all files take.
type Usage struct {
	Local, Remote, Stored files.Usage
	Largest               []files.Owned
}

// UsageOf returns what files take, and the accounts with the most bytes.
func UsageOf(ctx context.Context, db *storage.DB, self matrix.ServerName, accounts int) (u Usage, err error) {
	err = db.View(ctx, func(r *storage.Reader) error {
		if u.Local, u.Remote, u.Stored, err = files.Totals(ctx, r, self); err != nil {
			return err
		}
		u.Largest, err = files.Largest(ctx, r, accounts)
		return err
	})
	return u, err
}
