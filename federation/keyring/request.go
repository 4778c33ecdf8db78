package keyring

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/signing"
)

// maxSignatures is how many Authorization headers a request may have: one for
// each key of its origin, which has one, or two while it changes it.
const maxSignatures = 4

// Credentials are who a request claims to be from, and its signatures.
type Credentials struct {
	Origin     matrix.ServerName
	signatures []signing.XMatrix
}

// ParseCredentials reads the Authorization headers of a request. Nothing is
// verified: the caller asks the policy about the origin first, and then
// [Ring.VerifyRequest], so that no key of an unwanted server is ever fetched.
// All mistakes are M_UNAUTHORIZED.
//
// https://spec.matrix.org/v1.19/server-server-api/#request-authentication
func ParseCredentials(r *http.Request) (Credentials, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 || len(headers) > maxSignatures {
		return Credentials{}, matrix.Unauthorized("a request between servers has 1 to %d X-Matrix headers", maxSignatures)
	}
	var c Credentials
	for _, header := range headers {
		x, err := signing.ParseXMatrix(header)
		if err != nil {
			return Credentials{}, err
		}
		if c.Origin != "" && c.Origin != x.Origin {
			return Credentials{}, matrix.Unauthorized("the X-Matrix headers have different origins")
		}
		c.Origin = x.Origin
		c.signatures = append(c.signatures, x)
	}
	return c, nil
}

// VerifyRequest checks that the origin of c signed the request, with a key
// that is valid now, and meant it for this server. The body is what was read
// of the request; empty means none. The error is an M_UNAUTHORIZED, also where
// the key could not be fetched, or that of a body which is not JSON.
//
// https://spec.matrix.org/v1.19/server-server-api/#request-authentication
func (r *Ring) VerifyRequest(ctx context.Context, c Credentials, req *http.Request, body []byte) error {
	uri := req.RequestURI // as it was signed; the parsed form may be escaped otherwise
	if !strings.HasPrefix(uri, "/") {
		uri = req.URL.RequestURI()
	}
	if len(body) == 0 {
		body = nil
	}
	own := r.own.Current.Server
	now := r.now().UnixMilli()
	err := error(matrix.Unauthorized("the request has no signature"))
	for _, x := range c.signatures {
		destination := own
		if x.Destination.Normalise() == own.Normalise() {
			destination = x.Destination // signed as it was written
		}
		var public []byte
		if public, err = r.requestKey(ctx, x, now); err != nil {
			continue
		}
		if err = signing.VerifyRequest(x, req.Method, uri, destination, body, public); err == nil {
			return nil
		}
	}
	return err
}

// requestKey returns the key of a signature that is made now. Old keys sign
// only events.
func (r *Ring) requestKey(ctx context.Context, x signing.XMatrix, now int64) ([]byte, error) {
	k, err := r.find(ctx, x.Origin, x.Key, now)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, errNotFetched):
		return nil, matrix.Unauthorized("the keys of %s cannot be fetched", x.Origin)
	case err != nil:
		return nil, err
	case k.Expired || k.ValidUntil < now:
		return nil, matrix.Unauthorized("the key %s of %s is no longer valid", x.Key, x.Origin)
	}
	return k.Public, nil
}
