package client

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"beffroi/matrix"
)

const (
	// mediaTimeout bounds the transfer of one file.
	mediaTimeout = 5 * time.Minute
	// mediaOverhead is what surrounds a file in an answer.
	mediaOverhead = 128 << 10
	// maxMetadata bounds the part before the file. It is an empty object today.
	maxMetadata = 64 << 10
	// maxMediaRedirects bounds how often one is sent on for a file.
	maxMediaRedirects = 3
)

// Media fetches a file and gives it to save, once. A file that is still to be
// uploaded is waited for. An answer with another place is followed: over HTTPS,
// to public addresses, without a signature. An error of save comes back as it
// is; a file of more than maxBytes is M_TOO_LARGE with status 502.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid
func (c *Client) Media(ctx context.Context, file matrix.MXC, wait time.Duration, maxBytes int64,
	save func(contentType, disposition string, body io.Reader) error) error {
	m := &mediaAnswer{client: c, file: file, maxBytes: maxBytes, save: save}
	waits := url.Values{"timeout_ms": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	err := c.do(ctx, call{
		destination: file.Server, method: http.MethodGet, path: withQuery(path(federationV1, "media", "download", file.ID), waits),
		maxBytes: maxBytes + mediaOverhead, timeout: mediaTimeout, answer: m.parts,
	})
	if matrix.IsCode(err, "M_UNRECOGNIZED") {
		// An old server. It must not fetch it from a third one for us.
		waits.Set("allow_remote", "false")
		waits.Set("allow_redirect", "true")
		err = c.do(ctx, call{
			destination: file.Server, method: http.MethodGet, unsigned: true, maxBytes: maxBytes, timeout: mediaTimeout, answer: m.whole,
			path: withQuery(path("/_matrix/media/v3", "download", string(file.Server), file.ID), waits), redirects: true,
		})
	}
	switch {
	case m.failed != nil:
		return m.failed
	case err == nil && m.location != "":
		return c.follow(ctx, m)
	}
	return err
}

// mediaAnswer is a file under way.
type mediaAnswer struct {
	client   *Client
	file     matrix.MXC
	maxBytes int64
	save     func(contentType, disposition string, body io.Reader) error
	failed   error  // of save
	location string // where the file is instead
}

// take gives the file to save, and tells an error of save from one of the peer.
func (m *mediaAnswer) take(header interface{ Get(string) string }, body io.Reader) error {
	from := &limitedReader{r: body, left: m.maxBytes}
	err := m.save(header.Get("Content-Type"), header.Get("Content-Disposition"), from)
	switch {
	case errors.Is(from.err, errTooLong):
		return matrix.NewError(http.StatusBadGateway, "M_TOO_LARGE", "The file of %s is longer than %d bytes, which is the most that this server fetches", m.file.Server, m.maxBytes)
	case from.err != nil:
		return from.err
	}
	m.failed = err
	return err
}

// whole is the answer of an old server: the file itself.
func (m *mediaAnswer) whole(header http.Header, body io.Reader) error {
	return m.take(header, body)
}

// parts reads an answer of two parts: something about the file, and the file or
// where it is.
func (m *mediaAnswer) parts(header http.Header, body io.Reader) error {
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" || params["boundary"] == "" {
		return errNoParts
	}
	parts := multipart.NewReader(body, params["boundary"])
	about, err := parts.NextRawPart()
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, &limitedReader{r: about, left: maxMetadata}); err != nil {
		return err
	}
	part, err := parts.NextRawPart()
	if err != nil {
		return err
	}
	if location := part.Header.Get("Location"); location != "" {
		m.location = location
		return nil
	}
	return m.take(part.Header, part) // a file that was cut off lacks the boundary after it
}

var errNoParts = errors.New("the answer is not two parts")

// follow fetches a file from where its server says that it is.
func (c *Client) follow(ctx context.Context, m *mediaAnswer) error {
	bad := matrix.NewError(http.StatusBadGateway, "M_UNKNOWN", "The server %s sends this file from a place that is not fetched from", m.file.Server)
	u, err := url.Parse(m.location)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Port() == discoverPort {
		return bad
	}
	ctx, cancel := context.WithTimeout(ctx, mediaTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return bad
	}
	req.Header.Set("User-Agent", "Beffroi")
	res, err := c.redirected().Do(req)
	if err != nil {
		return &UnreachableError{Destination: m.file.Server, Err: err}
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return &UnreachableError{Destination: m.file.Server, Err: errors.New("the place of the file answered " + res.Status)}
	}
	err = m.take(res.Header, res.Body)
	if m.failed != nil || err == nil {
		return m.failed
	}
	if _, told := errors.AsType[*matrix.Error](err); told {
		return err
	}
	return &UnreachableError{Destination: m.file.Server, Err: err}
}

// redirected is the client for files that may be elsewhere: it signs nothing,
// and each address is checked when it is dialled.
func (c *Client) redirected() *http.Client {
	return &http.Client{Transport: c.transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > maxMediaRedirects {
			return errors.New("too many redirects")
		}
		return checkRedirect(req, via)
	}}
}
