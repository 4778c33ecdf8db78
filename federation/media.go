package federation

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/media"
)

// downloadMedia gives a file of this server to another one. A copy of a file of
// a third server is none: whoever wants it asks that server, whose policy may
// be another.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid
func (s *Server) downloadMedia(ctx context.Context, who peer, r *http.Request, _ httpx.None) (httpx.Content, error) {
	q, err := s.mediaQuery(r)
	if err != nil {
		return httpx.Content{}, err
	}
	f, err := s.Media.Open(ctx, q)
	return s.mediaAnswer(ctx, who, f, err)
}

// thumbnailMedia gives a smaller picture of a file of this server.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediathumbnailmediaid
func (s *Server) thumbnailMedia(ctx context.Context, who peer, r *http.Request, _ httpx.None) (httpx.Content, error) {
	base, err := s.mediaQuery(r)
	if err != nil {
		return httpx.Content{}, err
	}
	q, err := media.ReadThumbnailQuery(base, r.URL.Query())
	if err != nil {
		return httpx.Content{}, err
	}
	f, err := s.Media.Thumbnail(ctx, q)
	return s.mediaAnswer(ctx, who, f, err)
}

// mediaQuery returns which file of this server a request wants.
func (s *Server) mediaQuery(r *http.Request) (media.Query, error) {
	mxc, err := matrix.NewMXC(string(s.Name), r.PathValue("mediaID"))
	if err != nil {
		return media.Query{}, matrix.NotFound("There is no such file: %s", matrix.Answer(err).Text)
	}
	const unbounded = 1 << 53
	ms, err := httpx.QueryInt(r, "timeout_ms", media.DefaultWait.Milliseconds(), 0, unbounded)
	return media.Query{MXC: mxc, NoRemote: true,
		Wait: time.Duration(min(ms, media.MaxWait.Milliseconds())) * time.Millisecond}, err
}

// mediaAnswer puts a file into an answer of two parts, if the policy lets the
// server have what this account has uploaded.
func (s *Server) mediaAnswer(ctx context.Context, who peer, f *media.File, err error) (httpx.Content, error) {
	if err != nil {
		return httpx.Content{}, err
	}
	if err := s.gate.may(ctx, who, "", f.Uploader); err != nil {
		_ = f.Content.Close() // it was only read
		return httpx.Content{}, err
	}
	var head bytes.Buffer
	parts := multipart.NewWriter(&head)
	for _, part := range []struct {
		header map[string]string
		body   string
	}{
		{map[string]string{"Content-Type": "application/json"}, "{}"},
		{map[string]string{"Content-Type": f.ContentType, "Content-Disposition": media.Disposition(f.ContentType, f.Name)}, ""},
	} {
		header := make(textproto.MIMEHeader)
		for name, value := range part.header {
			header.Set(name, value)
		}
		w, err := parts.CreatePart(header)
		if err == nil {
			_, err = io.WriteString(w, part.body)
		}
		if err != nil {
			_ = f.Content.Close() // it was only read
			return httpx.Content{}, err
		}
	}
	tail := "\r\n--" + parts.Boundary() + "--\r\n"
	return httpx.Content{
		Header: http.Header{"Content-Type": {"multipart/mixed; boundary=" + parts.Boundary()}, "Cache-Control": {"no-store"}},
		Size:   int64(head.Len()) + f.Size + int64(len(tail)),
		Body: struct {
			io.Reader
			io.Closer
		}{io.MultiReader(&head, io.LimitReader(f.Content, f.Size), bytes.NewReader([]byte(tail))), f.Content},
	}, nil
}
