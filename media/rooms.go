package media

import (
	"context"
	"regexp"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/files"
)

const (
	// roomCursor names this follower of the log.
	roomCursor = "media_rooms"
	// followEvery is how often it looks: nobody waits for it.
	followEvery = 5 * time.Second
	// followBatch bounds the events that are read at a time.
	followBatch = 500
	// maxMentions bounds the files that one event is taken to speak of.
	maxMentions = 50
	// removedEvery is how often files of removed rooms are looked for.
	removedEvery = time.Hour
	// minRoomAge is how old a file is before it is taken for one of a room that
	// is gone: its event may be under way.
	minRoomAge = time.Hour
)

var mxcPattern = regexp.MustCompile(`mxc://[A-Za-z0-9.:\[\]-]{1,253}/[A-Za-z0-9_-]{1,255}`)

// followRooms keeps in which rooms events speak of files, up to the head of
// the log.
func (s *Server) followRooms(ctx context.Context) error {
	for {
		var list []files.Mention
		var head storage.Position
		if err := s.DB.View(ctx, func(r *storage.Reader) error {
			at, err := storage.Cursor(ctx, r, roomCursor)
			if err != nil {
				return err
			}
			if head, err = storage.Head(ctx, r); err != nil || head == at {
				head = 0
				return err
			}
			list, err = files.Mentions(ctx, r, at, head, followBatch)
			return err
		}); err != nil || head == 0 {
			return err
		}
		if len(list) == followBatch {
			head = list[followBatch-1].Pos
		}
		if _, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			for _, m := range list {
				for _, uri := range mxcPattern.FindAllString(m.JSON, maxMentions) {
					if mxc, err := matrix.ParseMXC(uri); err == nil {
						files.AddRoom(tx, m.Room, mxc)
					}
				}
			}
			return storage.SetCursor(ctx, tx, roomCursor, head)
		}); err != nil || len(list) < followBatch {
			return err
		}
	}
}

// dropRemoved removes files of rooms that are gone.
func (s *Server) dropRemoved(ctx context.Context) error {
	before := s.Now().Add(-minRoomAge).UnixMilli()
	_, err := s.dropAll(ctx, func(ctx context.Context, r *storage.Reader) ([]matrix.MXC, error) {
		return files.OfRemovedRooms(ctx, r, before, stepFiles)
	})
	return err
}
