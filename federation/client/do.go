package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/policy"
)

// maxAnswerBytes is the longest answer of a call that has no limit of its
// own: a hundred events of the largest size, and room for their envelope.
const maxAnswerBytes = 8 << 20

// call is one request.
type call struct {
	destination matrix.ServerName
	method      string
	path        string // escaped, with its query
	body        any    // nil: none
	unsigned    bool   // the few paths that ask for no signature
	maxBytes    int64
	timeout     time.Duration
	redirects   bool                               // follows them; only for what is not signed
	read        func(io.Reader) error              // nil: the answer is not looked at
	answer      func(http.Header, io.Reader) error // instead of read, for what is no JSON
}

// Do sends a signed request and decodes the answer into out, unless that is
// nil. The path is escaped and has its query. The body is nil, JSON as a
// json.RawMessage, or a value to marshal.
//
// What the policy refuses and what the peer answers with an error are
// *matrix.Error values. A peer that does not answer is an
// *[UnreachableError], one that answers nonsense a *matrix.Error with status
// 502; a session code (M_UNKNOWN_TOKEN, 401) of a peer never comes through,
// since it would log out the user whose request this was for.
//
// https://spec.matrix.org/v1.19/server-server-api/#request-authentication
func (c *Client) Do(ctx context.Context, destination matrix.ServerName, method, path string, body, out any) error {
	return c.do(ctx, call{destination: destination, method: method, path: path, body: body, read: into(out)})
}

func (c *Client) do(ctx context.Context, call call) error {
	started := time.Now()
	err := c.send(ctx, call)
	c.metrics.count(err, time.Since(started))
	return err
}

func (c *Client) send(ctx context.Context, call call) error {
	if call.destination.Normalise() == c.name.Normalise() {
		return fmt.Errorf("federation request to this server itself: %s %s", call.method, call.path)
	}
	if err := c.Check(ctx, call.destination); err != nil {
		return &deniedError{err}
	}
	if call.timeout == 0 {
		call.timeout = c.timeout
	}
	if call.maxBytes == 0 {
		call.maxBytes = maxAnswerBytes
	}
	ctx, cancel := context.WithTimeout(ctx, call.timeout)
	defer cancel()
	req, err := c.request(ctx, call)
	if err != nil {
		return err
	}
	through := &c.http
	if call.redirects && call.unsigned {
		through = c.redirected()
	}
	res, err := through.Do(req)
	if err != nil {
		return &UnreachableError{Destination: call.destination, Err: err}
	}
	defer func() { _ = res.Body.Close() }()
	body := &limitedReader{r: res.Body, left: call.maxBytes}
	if res.StatusCode != http.StatusOK {
		return remoteError(call.destination, res.StatusCode, body)
	}
	if call.answer != nil {
		return badAnswer(call.destination, body, call.answer(res.Header, body))
	}
	if call.read == nil {
		return nil
	}
	return badAnswer(call.destination, body, call.read(body))
}

// Check asks the policy whether this server speaks with another. Every request
// asks it; a caller that has something to queue may ask before.
func (c *Client) Check(ctx context.Context, destination matrix.ServerName) error {
	return c.gate.Check(ctx, &policy.Request{
		Action: policy.ActionFederateOut, Server: destination, Source: policy.SourceSystem, Now: time.Now(),
	})
}

// request resolves the destination and signs the request.
func (c *Client) request(ctx context.Context, call call) (*http.Request, error) {
	body, err := encodeBody(call.body)
	if err != nil {
		return nil, fmt.Errorf("marshal request body: %w", err)
	}
	at, err := c.resolve(ctx, call.destination)
	if err != nil {
		return nil, &UnreachableError{Destination: call.destination, Err: err}
	}
	u, err := url.Parse("https://" + at.addr + call.path)
	if err != nil {
		return nil, fmt.Errorf("federation path: %w", err)
	}
	req := &http.Request{Method: call.method, URL: u, Host: at.host, Header: http.Header{"User-Agent": {"Beffroi"}}}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
	}
	if call.method == http.MethodPut {
		// Every PUT of the specification may be repeated. This tells the
		// transport, which sends a header without values to nobody.
		req.Header["Idempotency-Key"] = []string{}
	}
	if !call.unsigned {
		header, err := signing.SignRequest(c.key, call.method, u.RequestURI(), call.destination, body)
		if err != nil {
			return nil, fmt.Errorf("sign request: %w", err)
		}
		req.Header.Set("Authorization", header)
	}
	return req.WithContext(ctx), nil
}

func encodeBody(body any) ([]byte, error) {
	switch b := body.(type) {
	case nil:
		return nil, nil
	case json.RawMessage:
		return b, nil
	case []byte:
		return b, nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(body)
	return buf.Bytes(), err
}

// into returns the reader of an answer that is decoded as a whole.
func into(out any) func(io.Reader) error {
	if out == nil {
		return nil
	}
	return func(r io.Reader) error {
		raw, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, out)
	}
}

// errTooLong says that an answer is over its limit, after decompression.
var errTooLong = errors.New("the answer is too long")

// limitedReader is an [io.LimitedReader] that tells a long answer from one
// that ends.
type limitedReader struct {
	r    io.Reader
	left int64
	err  error // of r or of the limit, so that it can be told from what a decoder made of it
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, l.err
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		n, err = n-1, errTooLong
	}
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}
