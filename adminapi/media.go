package adminapi

import (
	"context"
	"net/http"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/media"
)

// mediaFile is a file as operators see it: never what is in it.
type mediaFile struct {
	URI         string `json:"uri"`
	Uploader    string `json:"uploader,omitempty"`
	Room        string `json:"room_id,omitempty"`
	SHA256      string `json:"sha256,omitempty"`
	Size        int64  `json:"size"`
	ContentType string `json:"content_type"`
	CreatedTS   int64  `json:"created_ts"`
	UsedTS      int64  `json:"used_ts"`
	Verdict     string `json:"verdict,omitempty"`
	Threat      string `json:"threat,omitempty"`
	Quarantined string `json:"quarantined_by,omitempty"`
	Protected   bool   `json:"protected"`
}

type mediaAnswer struct {
	Files     []mediaFile `json:"files"`
	NextBatch string      `json:"next_batch,omitempty"`
}

// mediaSelection is which files are meant: those for which all holds.
type mediaSelection struct {
	URI      string            `json:"uri"`
	User     matrix.UserID     `json:"user_id"`
	Room     matrix.RoomID     `json:"room_id"`
	Server   matrix.ServerName `json:"server"`
	BeforeTS int64             `json:"before_ts"`
}

func (in mediaSelection) read() (s media.Selection, err error) {
	s = media.Selection{MXC: matrix.MXC{Server: in.Server}, User: in.User, Room: in.Room, Before: in.BeforeTS}
	if in.URI != "" {
		s.MXC, err = matrix.ParseMXC(in.URI)
	}
	return s, err
}

func (s *Server) listMedia(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (out mediaAnswer, err error) {
	limit, err := httpx.QueryLimit(r, "limit", 100, 1000)
	if err != nil {
		return out, err
	}
	q := r.URL.Query()
	which, err := mediaSelection{URI: q.Get("uri"), User: matrix.UserID(q.Get("user_id")), Room: matrix.RoomID(q.Get("room_id")),
		Server: matrix.ServerName(q.Get("server"))}.read()
	if err != nil {
		return out, err
	}
	var after matrix.MXC
	if from := q.Get("from"); from != "" {
		if after, err = matrix.ParseMXC(from); err != nil {
			return out, matrix.InvalidParam("from is no next_batch of this API")
		}
	}
	list, err := media.List(ctx, s.Media.DB, which, after, limit)
	out.Files = make([]mediaFile, 0, len(list))
	for _, f := range list {
		out.Files = append(out.Files, mediaFile{f.MXC.String(), string(f.Uploader), string(f.Room), f.Hash, f.Size, f.ContentType,
			f.Created, f.Used, f.Blob.Verdict, f.Blob.Threat, f.Quarantined, f.Protected})
	}
	if len(list) == limit && limit > 0 {
		out.NextBatch = list[limit-1].MXC.String()
	}
	return out, err
}

type changed struct {
	Files int64 `json:"files"`
}

func (s *Server) quarantineMedia(ctx context.Context, who *caller, _ *http.Request, in mediaSelection) (out changed, err error) {
	which, err := in.read()
	if err == nil {
		out.Files, err = media.Quarantine(ctx, s.Media.DB, which, who.Name)
	}
	return out, err
}

func (s *Server) releaseMedia(ctx context.Context, _ *caller, _ *http.Request, in mediaSelection) (out changed, err error) {
	which, err := in.read()
	if err == nil {
		out.Files, err = media.Release(ctx, s.Media.DB, which)
	}
	return out, err
}

func (s *Server) protectMedia(ctx context.Context, _ *caller, _ *http.Request, in mediaSelection) (out changed, err error) {
	which, err := in.read()
	if err == nil {
		out.Files, err = media.Protect(ctx, s.Media.DB, which, true)
	}
	return out, err
}

func (s *Server) unprotectMedia(ctx context.Context, _ *caller, _ *http.Request, in mediaSelection) (out changed, err error) {
	which, err := in.read()
	if err == nil {
		out.Files, err = media.Protect(ctx, s.Media.DB, which, false)
	}
	return out, err
}

// purgeTimeout bounds a purge, which goes on when its caller has gone.
const purgeTimeout = 10 * time.Minute

func (s *Server) purgeMedia(ctx context.Context, _ *caller, _ *http.Request, in mediaSelection) (out changed, err error) {
	which, err := in.read()
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), purgeTimeout)
	defer cancel()
	out.Files, err = media.Purge(ctx, s.Media.DB, which)
	return out, err
}

func (s *Server) rescanMedia(ctx context.Context, _ *caller, _ *http.Request, in mediaSelection) (out changed, err error) {
	which, err := in.read()
	if err == nil {
		out.Files, err = s.Media.Rescan(ctx, which)
	}
	return out, err
}

type mediaUsage struct {
	Local   sum          `json:"local"`
	Remote  sum          `json:"remote"`
	Stored  sum          `json:"stored"`
	Largest []accountSum `json:"largest"`
}

type sum struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

type accountSum struct {
	User matrix.UserID `json:"user_id"`
	sum
}

func (s *Server) mediaUsage(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (out mediaUsage, err error) {
	limit, err := httpx.QueryLimit(r, "limit", 20, 1000)
	if err != nil {
		return out, err
	}
	u, err := media.UsageOf(ctx, s.Media.DB, s.Media.ServerName, limit)
	out = mediaUsage{sum(u.Local), sum(u.Remote), sum(u.Stored), make([]accountSum, 0, len(u.Largest))}
	for _, o := range u.Largest {
		out.Largest = append(out.Largest, accountSum{o.User, sum(o.Usage)})
	}
	return out, err
}
