package media

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"beffroi/matrix"
	"beffroi/media/thumbs"
	"beffroi/storage"
	"beffroi/storage/files"
)

const (
	// thumbnailWorkers bounds the thumbnails that are made at a time, and with
	// it the memory they take.
	thumbnailWorkers = 2
	// thumbnailTimeout bounds the wait for a worker and the work together.
	thumbnailTimeout = 60 * time.Second
	// maxThumbnails bounds how many sizes of one picture are kept.
	maxThumbnails = 24
	// maxPicture bounds the file of which a thumbnail is made.
	maxPicture = 100 << 20
)

// ThumbnailQuery says which thumbnail is wanted.
type ThumbnailQuery struct {
	Query
	Width, Height int
	Crop          bool
	Animated      bool
}

// standardSizes are those that are made whatever is asked for, if they are
// large enough: clients ask for many sizes that are nearly alike.
//
// https://spec.matrix.org/v1.19/client-server-api/#thumbnails
var standardSizes = map[bool][][2]int{
	true:  {{32, 32}, {96, 96}},
	false: {{320, 240}, {640, 480}, {800, 600}},
}

// sizeStep rounds other sizes up.
const sizeStep = 32

// spec returns the size that is made for a query.
func (q *ThumbnailQuery) spec() thumbs.Spec {
	out := thumbs.Spec{Width: min(q.Width, thumbs.MaxSide), Height: min(q.Height, thumbs.MaxSide), Crop: q.Crop, Animated: q.Animated}
	if q.Crop && q.Width != q.Height {
		return out // rounding would change the shape
	}
	for _, size := range standardSizes[q.Crop] {
		if out.Width <= size[0] && out.Height <= size[1] {
			out.Width, out.Height = size[0], size[1]
			return out
		}
	}
	out.Width = min((out.Width+sizeStep-1)/sizeStep*sizeStep, thumbs.MaxSide)
	out.Height = min((out.Height+sizeStep-1)/sizeStep*sizeStep, thumbs.MaxSide)
	return out
}

// Thumbnail opens a smaller picture of a file, or the file itself where it is
// not larger. What is no picture is M_UNKNOWN, and one that is too large to be
// made smaller M_TOO_LARGE.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid
func (s *Server) Thumbnail(ctx context.Context, q ThumbnailQuery) (_ *File, err error) {
	if q.Width < 1 || q.Height < 1 {
		return nil, matrix.InvalidParam("width and height must be at least 1")
	}
	f, err := s.find(ctx, q.Query)
	if err != nil {
		s.metrics.thumbnails.WithLabelValues(outcome(err)).Inc()
		return nil, err
	}
	made, err := s.thumbnail(ctx, f, q.spec())
	if err != nil {
		s.metrics.thumbnails.WithLabelValues(outcome(err)).Inc()
		return nil, s.noThumbnail(q.MXC, err)
	}
	s.served(f)
	out := &File{MXC: q.MXC, Hash: made.Hash, Size: made.Size, ContentType: made.ContentType, Created: time.UnixMilli(f.Created),
		Uploader: f.Uploader, Content: made.content}
	out.Name = "thumbnail." + strings.TrimPrefix(made.ContentType, "image/")
	if out.Content != nil {
		return out, nil
	}
	if out.Content, err = s.Store.Open(ctx, made.Name); err != nil {
		return nil, storeError("open thumbnail", err)
	}
	return out, nil
}

// noThumbnail is why there is none, as the peer may know it.
func (s *Server) noThumbnail(mxc matrix.MXC, err error) error {
	switch {
	case errors.Is(err, thumbs.ErrTooLarge) && s.own(mxc):
		return matrix.NewError(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "This picture is too large for a thumbnail")
	case errors.Is(err, thumbs.ErrTooLarge):
		return matrix.NewError(http.StatusBadGateway, "M_TOO_LARGE", "This picture is too large for a thumbnail")
	case errors.Is(err, thumbs.ErrFormat):
		return matrix.NewError(http.StatusBadRequest, "M_UNKNOWN", "Cannot make a thumbnail of this file: it is no JPEG, PNG, GIF or WebP picture")
	}
	return err
}

// thumbnail is one that can be served: content is nil where the store has it.
type thumbnail struct {
	files.Thumbnail
	content io.ReadSeekCloser
}

// thumbnail finds a thumbnail or makes it.
func (s *Server) thumbnail(ctx context.Context, f files.File, spec thumbs.Spec) (thumbnail, error) {
	key := files.Thumbnail{Hash: f.Hash, Width: spec.Width, Height: spec.Height, Method: "scale", Animated: spec.Animated}
	if spec.Crop {
		key.Method = "crop"
	}
	var known files.Thumbnail
	if err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		known, err = files.FindThumbnail(ctx, r, key)
		return err
	}); err != nil {
		return thumbnail{}, err
	}
	if known.Name != "" {
		s.metrics.thumbnails.WithLabelValues("kept").Inc()
		known.Hash += variant(key)
		return thumbnail{known, nil}, nil
	}
	done := s.flight.DoChan("thumbnail "+f.Hash+variant(key), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), thumbnailTimeout)
		defer cancel()
		return s.makeThumbnail(ctx, f, key, spec)
	})
	select {
	case <-ctx.Done():
		return thumbnail{}, ctx.Err()
	case result := <-done:
		if result.Err != nil {
			return thumbnail{}, result.Err
		}
		return s.finished(ctx, f, key, result.Val.(thumbs.Picture))
	}
}

// variant tells thumbnails of one picture apart.
func variant(t files.Thumbnail) string {
	out := "-" + t.Method + "-" + strconv.Itoa(t.Width) + "x" + strconv.Itoa(t.Height)
	if t.Animated {
		out += "-animated"
	}
	return out
}

// makeThumbnail makes a thumbnail once there is a worker, and keeps it.
func (s *Server) makeThumbnail(ctx context.Context, f files.File, key files.Thumbnail, spec thumbs.Spec) (thumbs.Picture, error) {
	if f.Size > maxPicture {
		return thumbs.Picture{}, thumbs.ErrTooLarge
	}
	select {
	case s.workers <- struct{}{}:
		defer func() { <-s.workers }()
	case <-ctx.Done():
		return thumbs.Picture{}, matrix.LimitExceeded(storeRetry)
	}
	content, err := s.Store.Open(ctx, f.Blob.Name)
	if err != nil {
		return thumbs.Picture{}, storeError("open picture", err)
	}
	defer func() { _ = content.Close() }()
	start := time.Now()
	made, err := thumbs.Make(ctx, content, spec)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = thumbs.ErrTooLarge
		}
		return made, err
	}
	if made.Bytes == nil {
		s.metrics.thumbnails.WithLabelValues("original").Inc()
		return made, nil
	}
	s.metrics.thumbnails.WithLabelValues("made").Inc()
	s.metrics.makeTime.Observe(time.Since(start).Seconds())
	if err := s.keepThumbnail(ctx, key, made); err != nil {
		s.log.WarnContext(ctx, "a thumbnail was not kept, and will be made again", "error", err)
	}
	return made, nil
}

// keepThumbnail keeps a thumbnail in the store.
func (s *Server) keepThumbnail(ctx context.Context, key files.Thumbnail, made thumbs.Picture) error {
	file, err := os.CreateTemp(s.Folder, tempPrefix)
	if err != nil {
		return err
	}
	got := &received{file: file}
	defer got.remove()
	if _, err := file.Write(made.Bytes); err != nil {
		return err
	}
	key.Name, key.Size, key.ContentType = strings.ToLower(rand.Text()), int64(len(made.Bytes)), made.ContentType
	if err := s.Store.Put(ctx, key.Name, file, key.Size); err != nil {
		return err
	}
	kept := false
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		kept, err = files.AddThumbnail(ctx, tx, key, maxThumbnails)
		return err
	})
	if err != nil || !kept {
		s.discard(ctx, key.Name)
	}
	return err
}

// finished turns what was made into what is served. Requests that shared the
// work share the bytes.
func (s *Server) finished(ctx context.Context, f files.File, key files.Thumbnail, made thumbs.Picture) (thumbnail, error) {
	key.Hash += variant(key)
	key.ContentType = made.ContentType
	if made.Bytes != nil {
		key.Size = int64(len(made.Bytes))
		return thumbnail{key, memory{bytes.NewReader(made.Bytes)}}, nil
	}
	content, err := s.Store.Open(ctx, f.Blob.Name)
	if err != nil {
		return thumbnail{}, storeError("open picture", err)
	}
	key.Size = f.Size
	return thumbnail{key, content}, nil
}

// memory is a file in memory.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// ReadThumbnailQuery reads what a request says of the thumbnail that it wants.
func ReadThumbnailQuery(q Query, values url.Values) (ThumbnailQuery, error) {
	out := ThumbnailQuery{Query: q}
	for name, into := range map[string]*int{"width": &out.Width, "height": &out.Height} {
		text := values.Get(name)
		if text == "" {
			return out, matrix.MissingParam("the query lacks %s", name)
		}
		n, err := strconv.Atoi(text)
		if err != nil && !errors.Is(err, strconv.ErrRange) || n < 1 {
			return out, matrix.InvalidParam("%s must be a number above 0", name)
		}
		*into = n
	}
	switch method := values.Get("method"); method {
	case "", "scale":
	case "crop":
		out.Crop = true
	default:
		return out, matrix.InvalidParam("method must be crop or scale")
	}
	switch animated := values.Get("animated"); animated {
	case "", "false":
	case "true":
		out.Animated = true
	default:
		return out, matrix.InvalidParam("animated must be true or false")
	}
	return out, nil
}
