// Package httpx turns functions that return a value or an error into HTTP
// handlers. It is the only package that reads a JSON request body, the only
// one that writes a response body, and the only one that logs a failed
// request.
package httpx

import (
	"context"
	"net/http"
	"time"
)

// MaxBody is the largest JSON body that is read unless a route says otherwise.
// An event has at most 65,536 bytes; the largest ordinary bodies are uploads
// of device keys.
const MaxBody = 1 << 20

// bodyTimeout bounds how long a peer may take to send a JSON body, and how
// long it may take to accept a piece of an answer.
const bodyTimeout = 60 * time.Second

// None is the In of a call whose body is not looked at, and the Out of a call
// that has nothing to say but {}.
type None struct{}

// Func is what a handler does: it gets who calls, the request for its path
// and query, and the decoded body.
type Func[Who, In, Out any] = func(ctx context.Context, who Who, r *http.Request, in In) (Out, error)

// JSON adapts fn to net/http. It asks auth who is calling, then reads the
// body, then calls fn. Out is the whole success body; an error becomes the
// Matrix error body that [matrix.Answer] gives for it.
//
// An absent body is the zero In. A body is not read at all when In is [None]
// or the method is GET or HEAD. Anything else has to be one JSON object of at
// most [MaxBody] bytes: M_NOT_JSON where it is not JSON, M_BAD_JSON where it
// is not an object, has a duplicate key or is nested too deeply, or has a
// field of the wrong type, M_TOO_LARGE where it is too long. In may be
// json.RawMessage, which gets the object in canonical form, or [Stream], which
// is not read before fn does it.
//
// Out may be [Raw], [Status], [Content] or [File]; all else is marshalled.
//
// A route therefore says in one line who may call it and what it does.
func JSON[Who, In, Out any](auth func(*http.Request) (Who, error), fn Func[Who, In, Out]) http.Handler {
	return JSONWithLimit(MaxBody, auth, fn)
}

// JSONWithLimit is [JSON] with another limit of the body, in bytes.
func JSONWithLimit[Who, In, Out any](maxBytes int64, auth func(*http.Request) (Who, error),
	fn Func[Who, In, Out]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := call(w, r, maxBytes, auth, fn)
		if err != nil {
			Fail(w, r, err)
			return
		}
		respond(w, r, out)
	})
}

func call[Who, In, Out any](w http.ResponseWriter, r *http.Request, maxBytes int64,
	auth func(*http.Request) (Who, error), fn Func[Who, In, Out]) (out Out, err error) {
	// A slow sender must not hold the request for ever. The deadline is lifted
	// before fn runs: one that expires in a long poll would end the connection.
	control := http.NewResponseController(w)
	hasBody := r.ContentLength != 0
	if hasBody {
		_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // a test recorder has none
	}
	who, err := auth(r)
	if err != nil {
		return out, err
	}
	in, err := decode[In](r, maxBytes)
	if err != nil {
		return out, err
	}
	if stream, ok := any(&in).(*Stream); ok {
		*stream = newStream(r, control)
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	}
	if hasBody {
		_ = control.SetReadDeadline(time.Time{})
	}
	return fn(r.Context(), who, r, in)
}

// Anyone is the auth of a route that everybody may call.
func Anyone(*http.Request) (None, error) { return None{}, nil }
