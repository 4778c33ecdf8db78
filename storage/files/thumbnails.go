package files

import (
	"context"

	"beffroi/storage"
)

// Thumbnail is a smaller picture of bytes.
type Thumbnail struct {
	Hash          string // of the picture it was made of
	Width, Height int
	Method        string
	Animated      bool
	Name          string // in the store; "" where there is none
	Size          int64
	ContentType   string
}

// FindThumbnail returns t with its Name, Size and ContentType, if it was made.
func FindThumbnail(ctx context.Context, r *storage.Reader, t Thumbnail) (Thumbnail, error) {
	const q = `SELECT name, size, content_type FROM media_thumbnails
		WHERE hash = $1 AND width = $2 AND height = $3 AND method = $4 AND animated = $5`
	err := r.QueryRow(ctx, q, t.Hash, t.Width, t.Height, t.Method, flag(t.Animated)).Scan(&t.Name, &t.Size, &t.ContentType)
	if storage.NoRows(err) {
		err = nil
	}
	return t, err
}

// AddThumbnail keeps a thumbnail, unless the picture is gone, has it already, or
// has most of them: it reports whether it did.
func AddThumbnail(ctx context.Context, tx *storage.Tx, t Thumbnail, most int) (bool, error) {
	const q = `INSERT INTO media_thumbnails (hash, width, height, method, animated, name, size, content_type)
		SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS TEXT), CAST($5 AS SMALLINT), CAST($6 AS TEXT),
			CAST($7 AS BIGINT), CAST($8 AS TEXT)
		WHERE EXISTS (SELECT 1 FROM media_blobs WHERE hash = $9)
			AND (SELECT COUNT(*) FROM media_thumbnails WHERE hash = $10) < $11
		ON CONFLICT DO NOTHING`
	n, err := tx.Exec(ctx, q, t.Hash, t.Width, t.Height, t.Method, flag(t.Animated), t.Name, t.Size, t.ContentType, t.Hash, t.Hash, most)
	return n > 0, err
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
