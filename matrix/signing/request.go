package signing

import (
	"crypto/ed25519"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// SignRequest returns the Authorization header of a federation request. The
// uri is the path and query as they are sent; a nil body means that there is
// none. The error is that of a body which is not JSON.
//
// https://spec.matrix.org/v1.19/server-server-api/#request-authentication
func SignRequest(key Key, method, uri string, destination matrix.ServerName, body []byte) (header string, err error) {
	message, err := requestMessage(key.Server, method, uri, destination, body)
	if err != nil {
		return "", err
	}
	x := XMatrix{
		Origin: key.Server, Destination: destination, Key: key.ID,
		Sig: EncodeBase64(ed25519.Sign(key.Private, message)),
	}
	return x.String(), nil
}

// VerifyRequest checks that the origin of x signed this request with pub, and
// that it was meant for destination. What is wrong with the signature is an
// M_UNAUTHORIZED; a body that is not JSON gives M_NOT_JSON or M_BAD_JSON.
//
// https://spec.matrix.org/v1.19/server-server-api/#request-authentication
func VerifyRequest(x XMatrix, method, uri string, destination matrix.ServerName, body []byte, pub ed25519.PublicKey) error {
	if x.Destination != "" && x.Destination != destination {
		return matrix.Unauthorized("the request is meant for %s", x.Destination)
	}
	message, err := requestMessage(x.Origin, method, uri, destination, body)
	if err != nil {
		return err
	}
	return VerifyBytes(message, x.Sig, string(x.Origin), x.Key, pub)
}

// requestMessage returns what is signed of a request. Events of old rooms
// travel in its body, so the text of numbers is kept.
func requestMessage(origin matrix.ServerName, method, uri string, destination matrix.ServerName, body []byte) ([]byte, error) {
	message := make([]byte, 0, len(body)+len(uri)+len(origin)+len(destination)+80)
	message = append(message, '{')
	if body != nil {
		content, err := canonicaljson.CanonicaliseEnvelope(body, canonicaljson.Lenient)
		if err != nil {
			return nil, err
		}
		message = append(message, `"content":`...)
		message = append(append(message, content...), ',')
	}
	message = append(message, `"destination":`...)
	message = canonicaljson.AppendString(message, string(destination))
	message = append(message, `,"method":`...)
	message = canonicaljson.AppendString(message, method)
	message = append(message, `,"origin":`...)
	message = canonicaljson.AppendString(message, string(origin))
	message = append(message, `,"uri":`...)
	message = canonicaljson.AppendString(message, uri)
	return append(message, '}'), nil
}
