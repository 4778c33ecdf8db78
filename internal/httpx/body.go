package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// readBody is a body that is already in memory, so that the one who
// authenticates a request (a signature covers its body) and the one who
// decodes it read it once.
type readBody struct {
	bytes.Reader
	raw []byte
}

func (*readBody) Close() error { return nil }

// Body reads the whole body of at most maxBytes bytes, or returns
// M_TOO_LARGE. It can be called again, and the request can still be decoded.
func Body(r *http.Request, maxBytes int64) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	if known, ok := r.Body.(*readBody); ok {
		if int64(len(known.raw)) > maxBytes {
			return nil, tooLarge(maxBytes)
		}
		return known.raw, nil
	}
	if r.ContentLength > maxBytes {
		return nil, tooLarge(maxBytes)
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBytes+1))
	switch {
	case err != nil:
		return nil, matrix.NotJSON("the body ended before its time")
	case int64(len(raw)) > maxBytes:
		return nil, tooLarge(maxBytes)
	}
	known := &readBody{raw: raw}
	known.Reset(raw)
	r.Body = known
	return raw, nil
}

func tooLarge(maxBytes int64) error {
	return matrix.TooLarge("the body is longer than %d bytes", maxBytes)
}

// decode reads the body into In, as [JSON] promises.
func decode[In any](r *http.Request, maxBytes int64) (in In, err error) {
	if _, stream := any(in).(Stream); stream {
		return in, nil
	}
	if _, none := any(in).(None); none || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return in, nil
	}
	raw, err := Body(r, maxBytes)
	if err != nil || len(bytes.TrimSpace(raw)) == 0 { // many clients send no body where {} is meant
		return in, err
	}
	return in, Unmarshal(raw, &in)
}

// Unmarshal reads one JSON object that somebody else wrote into out, which
// may be a *json.RawMessage. It returns M_NOT_JSON or M_BAD_JSON, and the
// latter names the field. The nesting may be as deep as that of a request
// that carries the deepest event.
func Unmarshal(raw []byte, out any) error {
	object, err := canonicaljson.CanonicaliseEnvelope(raw, canonicaljson.Lenient)
	if err != nil {
		return err
	}
	if len(object) == 0 || object[0] != '{' {
		return matrix.BadJSON("the body must be a JSON object")
	}
	if rawOut, ok := out.(*json.RawMessage); ok {
		*rawOut = object
		return nil
	}
	return badField(json.Unmarshal(object, out))
}

// badField turns an error of encoding/json into what the peer may know.
func badField(err error) error {
	if err == nil {
		return nil
	}
	if answer, ok := errors.AsType[*matrix.Error](err); ok { // of an UnmarshalJSON of ours
		return answer
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := wrong.Field
		if field == "" {
			field = "the body"
		}
		return matrix.BadJSON("%s must not be %s", field, article(wrong.Value))
	}
	return matrix.BadJSON("the body has a field of the wrong form")
}

// article names a JSON value such as "string" or "number 1.5" in a sentence.
func article(value string) string {
	if value == "" {
		return "of this type"
	}
	if strings.HasPrefix(value, "array") || strings.HasPrefix(value, "object") {
		return fmt.Sprintf("an %s", value)
	}
	return fmt.Sprintf("a %s", value)
}
