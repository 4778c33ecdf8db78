package policy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"crypto/tls"

	"beffroi/federation/keyring"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/matrix/signing"
)

const (
	fed1 = "/_matrix/federation/v1/"
	fed2 = "/_matrix/federation/v2/"
)

// pen is a scripted server: it signs whatever a test writes, and answers what
// the test told it to.
type pen struct {
	world *world
	name  matrix.ServerName
	key   signing.Key

	mu      sync.Mutex
	events  map[matrix.EventID]*event.Event                           // guarded by mu: what it gives to who asks for an event
	answers map[string]func(body []byte, query url.Values) (any, int) // guarded by mu: by call and room
}

// startPens starts the scripted servers on one listener and returns its address.
func (w *world) startPens(t *testing.T) string {
	t.Helper()
	var names []string
	for _, name := range scriptedServers {
		key, err := signing.NewKey(name, "e1")
		must(t, err)
		w.pens[name] = &pen{world: w, name: name, key: key, events: make(map[matrix.EventID]*event.Event),
			answers: make(map[string]func([]byte, url.Values) (any, int))}
		names = append(names, string(name))
	}
	s := w.ca.Serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		p := w.pens[matrix.ServerName(r.Host)]
		if p == nil {
			http.Error(rw, `{"errcode":"M_UNKNOWN"}`, http.StatusBadGateway)
			return
		}
		p.ServeHTTP(rw, r)
	}), names...)
	return s.Listener.Addr().String()
}

// ServeHTTP answers for the keys, for events, and what was scripted.
func (p *pen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.URL.Path == "/_matrix/key/v2/server" {
		answer, err := keyring.New(keyring.Options{Own: keyring.Own{Current: p.key}}).OwnAnswer()
		if err == nil {
			_, _ = w.Write(answer)
		}
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // _matrix federation v1 call room …
	if len(parts) < 5 {
		http.Error(w, `{"errcode":"M_NOT_FOUND"}`, http.StatusNotFound)
		return
	}
	call, about := parts[3], parts[4]
	switch call {
	case "send":
		_, _ = w.Write([]byte(`{"pdus":{}}`))
		return
	case "event":
		p.mu.Lock()
		e := p.events[matrix.EventID(about)]
		p.mu.Unlock()
		if e == nil {
			http.Error(w, `{"errcode":"M_NOT_FOUND"}`, http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(object{"origin": p.name, "origin_server_ts": 1, "pdus": []json.RawMessage{e.JSON()}})
		return
	case "invite":
		p.signInvite(w, body)
		return
	}
	p.mu.Lock()
	answer := p.answers[call+" "+about]
	p.mu.Unlock()
	if answer == nil {
		http.Error(w, `{"errcode":"M_NOT_FOUND"}`, http.StatusNotFound)
		return
	}
	content, status := answer(body, r.URL.Query())
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content)
}

// signInvite accepts every invitation.
func (p *pen) signInvite(w http.ResponseWriter, body []byte) {
	var in struct {
		Event   json.RawMessage    `json:"event"`
		Version matrix.RoomVersion `json:"room_version"`
	}
	err := json.Unmarshal(body, &in)
	if err != nil {
		http.Error(w, `{"errcode":"M_BAD_JSON"}`, http.StatusBadRequest)
		return
	}
	rules, err := in.Version.Rules()
	if err != nil {
		return
	}
	e, err := event.ParseUntrusted(in.Event, rules)
	if err == nil {
		e, err = e.AddSignature(p.key)
	}
	if err == nil {
		_ = json.NewEncoder(w).Encode(object{"event": json.RawMessage(e.JSON())})
	}
}

// answer scripts a call about a room.
func (p *pen) answer(call string, room matrix.RoomID, fn func(body []byte, query url.Values) (any, int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[call+" "+string(room)] = fn
}

// gives makes the server give an event to whoever asks for it.
func (p *pen) gives(events ...*event.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		p.events[e.ID()] = e
	}
}

// call asks a real server, signed, again where it has too much to do.
func (p *pen) call(t *testing.T, s *server, method, path string, body any) reply {
	t.Helper()
	for {
		r := p.callOnce(t, s, method, path, body)
		if r.status != http.StatusTooManyRequests {
			return r
		}
		rest(t)
	}
}

func (p *pen) callOnce(t *testing.T, s *server, method, path string, body any) reply {
	t.Helper()
	var raw []byte
	if body != nil {
		var err error
		raw, err = json.Marshal(body)
		must(t, err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.federation+path, bytes.NewReader(raw))
	must(t, err)
	header, err := signing.SignRequest(p.key, method, req.URL.RequestURI(), s.name, raw)
	must(t, err)
	req.Header.Set("Authorization", header)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.world.ca.Pool(), ServerName: string(s.name)}}
	defer transport.CloseIdleConnections()
	return ask(t, &http.Client{Transport: transport}, req)
}

// send pushes events to a real server in a transaction and waits until it is
// worked. A server that is refused as a whole is refused here.
func (p *pen) send(t *testing.T, s *server, events ...*event.Event) reply {
	t.Helper()
	pdus := make([]json.RawMessage, len(events))
	for i, e := range events {
		pdus[i] = e.JSON()
	}
	txn := fmt.Sprintf("t%d", p.world.last.Add(1))
	r := p.call(t, s, http.MethodPut, fed1+"send/"+txn, object{"origin": p.name, "origin_server_ts": 1, "pdus": pdus})
	if r.status == http.StatusOK {
		s.settled(t, p.name, txn)
	}
	return r
}

// forged says what an event says. What is left out is as a server would have
// it that follows the room.
type forged struct {
	typ, key string
	message  bool // no state
	content  any
	sender   matrix.UserID
	prev     []matrix.EventID
	auth     []matrix.EventID
	redacts  matrix.EventID
	depth    int64
}

// membership is the event by which an account says that of itself.
func membership(user matrix.UserID, membership string) forged {
	return forged{typ: "m.room.member", key: string(user), sender: user, content: object{"membership": membership}}
}

// forge builds an event on a room as a client sees it, or as f says.
func (p *pen) forge(t *testing.T, in *client, room matrix.RoomID, f forged) *event.Event {
	t.Helper()
	version := matrix.RoomVersion(in.get(t, v3+"rooms/"+esc(string(room), "state", "m.room.create")).Get("room_version").String())
	rules, err := version.Rules()
	must(t, err)
	content, err := json.Marshal(f.content)
	must(t, err)
	proto := event.Proto{RoomID: room, Sender: f.sender, Type: f.typ, Content: content, PrevEvents: f.prev, AuthEvents: f.auth,
		Depth: 1000 + p.world.last.Add(1), OriginServerTS: 1_700_000_000_000 + p.world.last.Add(1), Redacts: f.redacts}
	if f.depth > 0 {
		proto.Depth = f.depth
	}
	if !f.message {
		proto.StateKey = &f.key
	}
	if proto.PrevEvents == nil {
		proto.PrevEvents = []matrix.EventID{in.tip(t, room)}
	}
	if proto.AuthEvents == nil {
		state := in.state(t, room)
		for _, tuple := range eventauth.NeededFor(eventauth.SubjectOfProto(&proto), rules) {
			if id, ok := state[tuple]; ok {
				proto.AuthEvents = append(proto.AuthEvents, id)
			}
		}
	}
	e, err := proto.Build(rules, p.key)
	must(t, err)
	p.gives(e)
	return e
}

// enter joins an account of the scripted server as an honest server does, and
// returns the last answer and the join, nil where there was no template.
func (p *pen) enter(t *testing.T, s *server, room matrix.RoomID, user matrix.UserID, call, version string) (reply, *event.Event) {
	t.Helper()
	r := p.call(t, s, http.MethodGet, fed1+esc("make_"+call, string(room), string(user))+"?ver=6&ver=7&ver=8&ver=9&ver=10&ver=11&ver=12", nil)
	if r.status != http.StatusOK {
		return r, nil
	}
	rules, err := matrix.RoomVersion(r.Get("room_version").String()).Rules()
	must(t, err)
	proto, err := event.ParseTemplate([]byte(r.Get("event").Raw), rules)
	must(t, err)
	proto.Origin, proto.OriginServerTS = "", 1_700_000_000_000+p.world.last.Add(1)
	e, err := proto.Build(rules, p.key)
	must(t, err)
	return p.call(t, s, http.MethodPut, "/_matrix/federation/"+version+"/"+esc("send_"+call, string(room), string(e.ID())), json.RawMessage(e.JSON())), e
}
