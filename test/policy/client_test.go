package policy_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// client is a client of an account on a real server.
type client struct {
	server *server
	user   matrix.UserID
	token  string
}

// reply is an answer.
type reply struct {
	status int
	gjson.Result
}

const v3 = "/_matrix/client/v3/"

// esc joins and escapes the segments of a path.
func esc(segments ...string) string {
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}

// call asks the client API, again where a server has too much to do.
func (c *client) call(t *testing.T, method, path string, body any) reply {
	t.Helper()
	var raw []byte
	if body != nil {
		var err error
		raw, err = json.Marshal(body)
		must(t, err)
	}
	for {
		req, err := http.NewRequestWithContext(t.Context(), method, c.server.url+path, bytes.NewReader(raw))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+c.token)
		if r := ask(t, http.DefaultClient, req); r.status != http.StatusTooManyRequests {
			return r
		}
		rest(t)
	}
}

// rest waits as who was told that there is too much to do.
func rest(t *testing.T) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	case <-time.After(50 * time.Millisecond):
	}
}

func ask(t *testing.T, with *http.Client, req *http.Request) reply {
	t.Helper()
	res, err := with.Do(req)
	must(t, err)
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	must(t, err)
	if !gjson.ValidBytes(answer) {
		t.Fatalf("%s %s: %d %q is not JSON", req.Method, req.URL.Path, res.StatusCode, answer)
	}
	if res.StatusCode >= 500 && res.StatusCode != http.StatusBadGateway {
		t.Fatalf("%s %s: %d %s", req.Method, req.URL.Path, res.StatusCode, answer)
	}
	return reply{res.StatusCode, gjson.ParseBytes(answer)}
}

// get, put and post must succeed.
func (c *client) get(t *testing.T, path string) reply { return c.must(t, http.MethodGet, path, nil) }
func (c *client) put(t *testing.T, path string, body any) reply {
	return c.must(t, http.MethodPut, path, body)
}
func (c *client) post(t *testing.T, path string, body any) reply {
	return c.must(t, http.MethodPost, path, body)
}

func (c *client) must(t *testing.T, method, path string, body any) reply {
	t.Helper()
	r := c.call(t, method, path, body)
	if r.status != http.StatusOK {
		t.Fatalf("%s: %s %s: %d %s", c.user, method, path, r.status, r.Raw)
	}
	return r
}

// object is a JSON object.
type object = map[string]any

// setState sends a state event.
func (c *client) setState(t *testing.T, room matrix.RoomID, typ, key string, content any) reply {
	t.Helper()
	return c.call(t, http.MethodPut, v3+"rooms/"+esc(string(room), "state", typ, key), content)
}

// join joins by ID, by way of the server that has the rooms.
func (c *client) join(t *testing.T, room matrix.RoomID) reply {
	t.Helper()
	return c.call(t, http.MethodPost, v3+"join/"+esc(string(room))+"?via=one.example&server_name=one.example", object{})
}

func (c *client) invite(t *testing.T, room matrix.RoomID, user matrix.UserID) reply {
	t.Helper()
	return c.call(t, http.MethodPost, v3+"rooms/"+esc(string(room), "invite"), object{"user_id": user})
}

// member is what the client sees as the membership of a user, "" for none.
func (c *client) member(t *testing.T, room matrix.RoomID, user matrix.UserID) string {
	t.Helper()
	list := c.call(t, http.MethodGet, v3+"rooms/"+esc(string(room), "members"), nil)
	for _, e := range list.Get("chunk").Array() {
		if e.Get("state_key").String() == string(user) {
			return e.Get("content.membership").String()
		}
	}
	return ""
}

// state is the state of a room as the client sees it.
func (c *client) state(t *testing.T, room matrix.RoomID) map[event.StateTuple]matrix.EventID {
	t.Helper()
	out := make(map[event.StateTuple]matrix.EventID)
	for _, e := range c.get(t, v3+"rooms/"+esc(string(room), "state")).Array() {
		out[event.StateTuple{Type: e.Get("type").String(), StateKey: e.Get("state_key").String()}] = matrix.EventID(e.Get("event_id").String())
	}
	return out
}

// tip is the last event of a room that the client sees.
func (c *client) tip(t *testing.T, room matrix.RoomID) matrix.EventID {
	t.Helper()
	return matrix.EventID(c.get(t, v3+"rooms/"+esc(string(room), "messages")+"?dir=b&limit=1").Get("chunk.0.event_id").String())
}
