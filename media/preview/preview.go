// Package preview says what stands behind a link, for those who read the
// message with it. It asks no address that is not public, unless the operator
// has said so, and reads no more of a page than it needs.
package preview

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/html/charset"
	"golang.org/x/sync/singleflight"

	"beffroi/matrix"
)

// Keeper keeps the picture of a page. media.Server does.
type Keeper interface {
	// Picture keeps a picture and returns its name, size and measures, or an
	// error where it is none.
	Picture(ctx context.Context, user matrix.UserID, contentType string, body io.Reader) (Picture, error)
}

// Picture is one that was kept.
type Picture struct {
	MXC           matrix.MXC
	Size          int64
	ContentType   string
	Width, Height int
}

// Options is what a [Server] is made of.
type Options struct {
	// Dial opens connections to public addresses only.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Pictures keeps the pictures of pages. nil leaves them out.
	Pictures Keeper
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

const (
	// timeout bounds one preview with all it needs.
	timeout = 20 * time.Second
	// maxPage bounds what is read of a page: what describes it stands at its
	// beginning.
	maxPage = 1 << 20
	// maxPicture bounds the picture of a page.
	maxPicture = 10 << 20
	// maxURL bounds an address.
	maxURL = 2048
	// maxRedirects bounds a chain of redirects, and so a loop.
	maxRedirects = 5
	// maxFlights bounds the previews that are made at a time.
	maxFlights = 8
	// keptFor is how long a preview is kept, and failedFor how long it is known
	// that there is none.
	keptFor, failedFor = time.Hour, 5 * time.Minute
	// maxKept bounds the memory of both.
	maxKept = 2000
)

// Server makes previews. It is safe for concurrent use.
type Server struct {
	Options
	http   *http.Client
	flight singleflight.Group
	slots  chan struct{}

	mu   sync.Mutex
	kept map[string]kept // guarded by mu; by address
}

type kept struct {
	preview json.RawMessage
	err     error
	until   time.Time
}

// New returns a server of previews.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	transport := &http.Transport{DialContext: o.Dial, MaxIdleConns: 16, IdleConnTimeout: 30 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true}
	return &Server{Options: o, slots: make(chan struct{}, maxFlights), kept: make(map[string]kept), http: &http.Client{
		Transport: transport, Timeout: timeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return errors.New("too many redirects")
			}
			_, err := parse(req.URL.String())
			return err
		}}}
}

// Close ends the connections that wait for the next request.
func (s *Server) Close() { s.http.CloseIdleConnections() }

// Preview returns what a page says about itself, as a JSON object of OpenGraph
// properties. What is no address that is asked is M_INVALID_PARAM, and a page
// that does not answer M_UNKNOWN with status 502. Of what is no page there is
// nothing to say.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url
func (s *Server) Preview(ctx context.Context, user matrix.UserID, address string) (json.RawMessage, error) {
	u, err := parse(address)
	if err != nil {
		return nil, err
	}
	u.Fragment = ""
	key := u.String()
	s.mu.Lock()
	known, ok := s.kept[key]
	s.mu.Unlock()
	if ok && s.Now().Before(known.until) {
		return known.preview, known.err
	}
	done := s.flight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			return nil, matrix.LimitExceeded(timeout)
		}
		preview, err := s.make(ctx, user, u)
		s.keep(key, preview, err)
		return preview, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-done:
		preview, _ := result.Val.(json.RawMessage)
		return preview, result.Err
	}
}

// parse accepts the addresses of the web at large.
func parse(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || len(address) > maxURL || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		return nil, matrix.InvalidParam("url must be an http:// or https:// address without a password")
	}
	if port := u.Port(); port != "" && port != "80" && port != "443" && port != "8080" && port != "8443" {
		return nil, matrix.InvalidParam("url has a port at which no pages are looked at")
	}
	return u, nil
}

func (s *Server) keep(key string, preview json.RawMessage, err error) {
	now, age := s.Now(), keptFor
	if err != nil {
		age = failedFor
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, was := range s.kept {
		if len(s.kept) < maxKept && now.Before(was.until) {
			break
		}
		delete(s.kept, old)
	}
	s.kept[key] = kept{preview, err, now.Add(age)}
}

// make asks for a page and reads it.
func (s *Server) make(ctx context.Context, user matrix.UserID, u *url.URL) (json.RawMessage, error) {
	res, err := s.get(ctx, u)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	at := res.Request.URL // after redirects
	var found page
	switch {
	case strings.HasPrefix(kind, "image/"):
		found = page{"og:title": fileName(at)}
		s.picture(ctx, user, found, kind, res.Body)
	case kind == "text/html" || kind == "application/xhtml+xml":
		raw, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
		if err != nil && len(raw) == 0 {
			return nil, unreachable(u)
		}
		text, err := charset.NewReader(bytes.NewReader(raw), res.Header.Get("Content-Type"))
		if err != nil {
			text = bytes.NewReader(raw)
		}
		var more links
		found, more = read(text)
		s.embed(ctx, at, found, more.oEmbed)
		s.pictureAt(ctx, user, at, found)
	default:
		found = page{}
	}
	return json.Marshal(found)
}

func unreachable(u *url.URL) error {
	return matrix.NewError(http.StatusBadGateway, "M_UNKNOWN", "%s does not answer, or is not looked at", u.Hostname())
}

func (s *Server) get(ctx context.Context, u *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, matrix.InvalidParam("url is no address")
	}
	req.Header.Set("User-Agent", "Beffroi (Matrix link preview bot)")
	req.Header.Set("Accept", "text/html, application/xhtml+xml, image/*;q=0.9, */*;q=0.1")
	res, err := s.http.Do(req)
	if err != nil {
		return nil, unreachable(u)
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close() // nothing of it is read
		return nil, unreachable(u)
	}
	return res, nil
}

// follow fetches what a page links to. "" is no link.
func (s *Server) follow(ctx context.Context, base *url.URL, link string) (*http.Response, error) {
	ref, err := url.Parse(link)
	if err == nil && link == "" {
		err = errors.New("no link")
	}
	if err != nil {
		return nil, err
	}
	u, err := parse(base.ResolveReference(ref).String())
	if err != nil {
		return nil, err
	}
	return s.get(ctx, u)
}

// pictureAt fetches the picture that a page names.
func (s *Server) pictureAt(ctx context.Context, user matrix.UserID, base *url.URL, found page) {
	name, _ := found["og:image"].(string)
	found.dropImage()
	res, err := s.follow(ctx, base, name)
	if err != nil {
		return
	}
	defer func() { _ = res.Body.Close() }()
	s.picture(ctx, user, found, res.Header.Get("Content-Type"), res.Body)
}

// picture keeps a picture. A page without one is a page all the same.
func (s *Server) picture(ctx context.Context, user matrix.UserID, found page, contentType string, body io.Reader) {
	if s.Pictures == nil {
		return
	}
	p, err := s.Pictures.Picture(ctx, user, contentType, io.LimitReader(body, maxPicture+1))
	if err != nil || p.Size > maxPicture {
		return
	}
	found["og:image"], found["og:image:type"], found["matrix:image:size"] = p.MXC.String(), p.ContentType, p.Size
	found["og:image:width"], found["og:image:height"] = p.Width, p.Height
}

func fileName(u *url.URL) string {
	return clip(u.Path[strings.LastIndexByte(u.Path, '/')+1:])
}
