package media

import (
	"context"
	"strings"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/media/blobs"
	"beffroi/storage"
)

// TestJobs does every job once, on rooms and files that give it something to do.
func TestJobs(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		store, err := blobs.NewDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		late := time.Duration(0)
		s, err := New(Options{DB: db, ServerName: "here.example", Store: store, Folder: t.TempDir(), MaxUpload: 1 << 20, MaxRemote: 1 << 20,
			LocalRetention: 24 * time.Hour, RemoteRetention: 24 * time.Hour, Now: func() time.Time { return time.Now().Add(late) }})
		if err != nil {
			t.Fatal(err)
		}
		upload := func(room matrix.RoomID, content string) matrix.MXC {
			mxc, err := s.Upload(ctx, Upload{User: "@a:here.example", Room: room, Size: -1, Body: strings.NewReader(content)})
			if err != nil {
				t.Fatal(err)
			}
			return mxc
		}
		there := func(mxc matrix.MXC) bool { _, err := s.row(ctx, mxc); return err == nil }
		gone, loose, kept := upload("!gone:here.example", "1"), upload("", "2"), upload("", "3")
		if _, err := Protect(ctx, db, Selection{MXC: kept}, true); err != nil {
			t.Fatal(err)
		}
		late = 2 * time.Hour
		for name, job := range map[string]func(context.Context) error{
			"follow rooms": s.followRooms, "rooms that are gone": s.dropRemoved, "housekeeping": s.housekeep, "retention": s.retire, "orphans": s.dropOrphans,
		} {
			if err := job(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if there(gone) || !there(loose) || !there(kept) {
			t.Error("not the files of the room alone are gone")
		}
		late = 48 * time.Hour
		for _, job := range []func(context.Context) error{s.retire, s.dropOrphans, s.sweepStore} {
			if err := job(ctx); err != nil {
				t.Error(err)
			}
		}
		if there(loose) || !there(kept) {
			t.Error("retention took the wrong files")
		}
		n := 0
		if err := store.Each(ctx, func(string, time.Time) error { n++; return nil }); err != nil || n != 1 {
			t.Errorf("%d left in the store: %v", n, err)
		}
	})
}
