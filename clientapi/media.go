package clientapi

import (
	"context"
	"net/http"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/media"
)

// mediaConfig says how long a file may be.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediaconfig
func (s *Server) mediaConfig(context.Context, *caller, *http.Request, httpx.None) (map[string]int64, error) {
	return map[string]int64{"m.upload.size": s.Media.MaxUploadBytes()}, nil
}

type uploadResponse struct {
	ContentURI string `json:"content_uri"`
	Expires    int64  `json:"unused_expires_at,omitempty"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload
func (s *Server) uploadMedia(ctx context.Context, who *caller, r *http.Request, body httpx.Stream) (uploadResponse, error) {
	up, err := mediaUpload(who, r, body)
	if err != nil {
		return uploadResponse{}, err
	}
	mxc, err := s.Media.Upload(ctx, up)
	return uploadResponse{ContentURI: mxc.String()}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create
func (s *Server) createMedia(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (uploadResponse, error) {
	room, err := mediaRoom(r)
	if err != nil {
		return uploadResponse{}, err
	}
	mxc, expires, err := s.Media.Reserve(ctx, who.User, room)
	return uploadResponse{mxc.String(), expires.UnixMilli()}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid
func (s *Server) fillMedia(ctx context.Context, who *caller, r *http.Request, body httpx.Stream) (httpx.None, error) {
	mxc, err := mediaName(r)
	if err != nil {
		return httpx.None{}, err
	}
	up, err := mediaUpload(who, r, body)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Media.Fill(ctx, mxc, up)
}

func mediaUpload(who *caller, r *http.Request, body httpx.Stream) (media.Upload, error) {
	room, err := mediaRoom(r)
	return media.Upload{User: who.User, ContentType: body.ContentType, Name: r.URL.Query().Get("filename"),
		Room: room, Size: body.Size, Body: body}, err
}

// mediaRoom returns the room for which a file is uploaded, where the client
// says it: the server cannot see it in an encrypted event, and removes the file
// with its room.
func mediaRoom(r *http.Request) (matrix.RoomID, error) {
	room := r.URL.Query().Get("org.beffroi.room_id")
	if room == "" {
		return "", nil
	}
	return matrix.ParseRoomID(room)
}

// mediaName returns the file that a path names. A name that none can have is
// M_NOT_FOUND: it is not there.
func mediaName(r *http.Request) (matrix.MXC, error) {
	mxc, err := matrix.NewMXC(r.PathValue("serverName"), r.PathValue("mediaID"))
	if err != nil {
		return mxc, matrix.NotFound("There is no such file: %s", matrix.Answer(err).Text)
	}
	return mxc, nil
}

// mediaQuery returns which file a request wants.
func mediaQuery(who *caller, r *http.Request) (media.Query, error) {
	mxc, err := mediaName(r)
	if err != nil {
		return media.Query{}, err
	}
	const unbounded = 1 << 53
	ms, err := httpx.QueryInt(r, "timeout_ms", media.DefaultWait.Milliseconds(), 0, unbounded)
	if err != nil {
		return media.Query{}, err
	}
	remote, err := httpx.QueryBool(r, "allow_remote", true)
	return media.Query{MXC: mxc, Wait: time.Duration(min(ms, media.MaxWait.Milliseconds())) * time.Millisecond,
		Public: who.User == "", NoRemote: !remote}, err
}

// downloadMedia serves a file, under the name in the path if it has one.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid
func (s *Server) downloadMedia(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.File, error) {
	q, err := mediaQuery(who, r)
	if err != nil {
		return httpx.File{}, err
	}
	f, err := s.Media.Open(ctx, q)
	if err != nil {
		return httpx.File{}, err
	}
	if name := r.PathValue("fileName"); name != "" {
		f.Name = name
	}
	return mediaFile(f, q.Public), nil
}

// mediaPolicy is what a browser may do with a file: show it, and nothing else.
//
// https://spec.matrix.org/v1.19/client-server-api/#content-repository
const mediaPolicy = "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';"

// mediaFile is a file as it is served: an ID always means the same bytes, so
// nobody needs to ask twice. Only what strangers may have may be kept by caches
// that others use.
func mediaFile(f *media.File, public bool) httpx.File {
	cache := "private, max-age=31536000, immutable"
	if public {
		cache = "public, max-age=86400"
	}
	return httpx.File{ETag: `"` + f.Hash + `"`, Size: f.Size, Content: f.Content, Header: http.Header{
		"Content-Type":                 {f.ContentType},
		"Content-Disposition":          {media.Disposition(f.ContentType, f.Name)},
		"Content-Security-Policy":      {mediaPolicy},
		"Cross-Origin-Resource-Policy": {"cross-origin"},
		"Referrer-Policy":              {"no-referrer"},
		"Cache-Control":                {cache},
	}}
}

// thumbnailMedia serves a smaller picture of a file.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid
func (s *Server) thumbnailMedia(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.File, error) {
	base, err := mediaQuery(who, r)
	if err != nil {
		return httpx.File{}, err
	}
	q, err := media.ReadThumbnailQuery(base, r.URL.Query())
	if err != nil {
		return httpx.File{}, err
	}
	f, err := s.Media.Thumbnail(ctx, q)
	if err != nil {
		return httpx.File{}, err
	}
	return mediaFile(f, base.Public), nil
}

// previewURL says what stands behind a link. It is told anew after an hour,
// whatever time the client prefers.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url
func (s *Server) previewURL(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	if s.Previews == nil {
		return nil, matrix.Unrecognized()
	}
	address, err := httpx.QueryRequired(r, "url")
	if err != nil {
		return nil, err
	}
	out, err := s.Previews.Preview(ctx, who.User, address)
	return httpx.Raw(out), err
}
