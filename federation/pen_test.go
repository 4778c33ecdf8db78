package federation_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"

	"beffroi/federation/keyring"
	"beffroi/matrix"
	"beffroi/matrix/signing"
)

// pen writes requests in the name of a server, good or bad.
type pen struct {
	net *network
	key signing.Key
	// change spoils a request after it was signed.
	change func(*http.Request)
	// destination is whom the signature names; "" is the host.
	destination matrix.ServerName
}

// scribe is a server that answers for its keys and for nothing else, and whose
// requests a test writes itself. fetched counts how often its keys were asked
// for.
func (n *network) scribe(t *testing.T, name matrix.ServerName) (p *pen, fetched *atomic.Int64) {
	t.Helper()
	key, err := signing.NewKey(name, "e1")
	must(t, err)
	ring := keyring.New(keyring.Options{Own: keyring.Own{Current: key}})
	fetched = new(atomic.Int64)
	n.serve(t, name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_matrix/key/v2/server" {
			http.Error(w, "{}", http.StatusBadGateway)
			return
		}
		fetched.Add(1)
		answer, err := ring.OwnAnswer()
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(answer)
	}))
	return &pen{net: n, key: key}, fetched
}

// reply is an answer.
type reply struct {
	status int
	gjson.Result
}

// wants fails the test unless the answer has a status and errcode.
func (r reply) wants(t *testing.T, status int, code string) reply {
	t.Helper()
	if got := r.Get("errcode").String(); r.status != status || got != code {
		t.Fatalf("%d %s, want %d %s", r.status, r.Raw, status, code)
	}
	return r
}

// call sends a request to a host. body is nil, text, or a value to marshal.
func (p *pen) call(t *testing.T, h *host, method, path string, body any) reply {
	t.Helper()
	var raw []byte
	switch b := body.(type) {
	case nil:
	case string:
		raw = []byte(b)
	default:
		var err error
		raw, err = json.Marshal(b)
		must(t, err)
	}
	destination := p.destination
	if destination == "" {
		destination = h.name
	}
	req, err := http.NewRequestWithContext(t.Context(), method, h.server.URL+path, bytes.NewReader(raw))
	must(t, err)
	req.Header.Set("Authorization", p.sign(req, raw, destination))
	if p.change != nil {
		p.change(req)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.net.ca.Pool(), ServerName: string(h.name)}}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	must(t, err)
	defer func() { _ = res.Body.Close() }()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	if !gjson.ValidBytes(answer.Bytes()) {
		t.Fatalf("%s %s: %d %q is not JSON", method, path, res.StatusCode, answer.Bytes())
	}
	return reply{res.StatusCode, gjson.ParseBytes(answer.Bytes())}
}

// sign returns the header of a request.
func (p *pen) sign(r *http.Request, body []byte, destination matrix.ServerName) string {
	header, err := signing.SignRequest(p.key, r.Method, r.URL.RequestURI(), destination, body)
	if err != nil { // what is not JSON cannot be signed
		return signing.XMatrix{Origin: p.key.Server, Key: p.key.ID, Sig: "AAAA"}.String()
	}
	return header
}

// send puts a transaction.
func (p *pen) send(t *testing.T, h *host, txnID string, pdus, edus []json.RawMessage) reply {
	t.Helper()
	if pdus == nil {
		pdus = []json.RawMessage{}
	}
	return p.call(t, h, http.MethodPut, "/_matrix/federation/v1/send/"+txnID,
		map[string]any{"origin": p.key.Server, "origin_server_ts": 1, "pdus": pdus, "edus": edus})
}
