package media

import (
	"context"
	"io"

	"beffroi/matrix"
	"beffroi/media/preview"
	"beffroi/media/thumbs"
	"beffroi/storage"
	"beffroi/storage/files"
)

// Picture keeps the picture of a page that a user looks at, as a file of theirs
// that counts for nobody's quota. What is no picture that is read here is an
// error, and what has malware in it.
func (s *Server) Picture(ctx context.Context, user matrix.UserID, _ string, body io.Reader) (p preview.Picture, err error) {
	got, err := s.receive(body, -1, s.MaxUpload)
	if err != nil {
		return p, err
	}
	defer got.remove()
	if p.ContentType, p.Width, p.Height, err = thumbs.Measure(got.file); err != nil {
		return p, s.noThumbnail(p.MXC, err)
	}
	blob, err := s.examine(ctx, got)
	if err != nil {
		return p, err
	}
	if blob.Verdict == files.Infected {
		return p, infected()
	}
	p.MXC, p.Size = s.newMXC(), got.size
	now := s.nowMS()
	f := files.File{MXC: p.MXC, Hash: got.hash, Size: got.size, ContentType: p.ContentType, Created: now, Used: now}
	s.log.DebugContext(ctx, "the picture of a page was kept", "user_id", user, "media_id", p.MXC.ID)
	return p, s.keep(ctx, got, blob, func(ctx context.Context, tx *storage.Tx) error { return files.Add(ctx, tx, f) })
}
