package policystore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
)

// issuer signs national documents.
type issuer struct {
	key   signing.Key
	trust *policystore.Trust
}

func newIssuer(t testing.TB) issuer {
	t.Helper()
	key, err := signing.NewKey("unused.example", "a1")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := policystore.ParseTrust("dinum.example", []string{string(key.ID) + " " + signing.EncodeBase64(key.Public())})
	if err != nil {
		t.Fatal(err)
	}
	return issuer{key, trust}
}

// floor returns a bundle with this server and ministries.
func (i issuer) floor(t testing.TB, version int64, servers ...string) []byte {
	t.Helper()
	doc, err := policy.ParseDocument([]byte(document(version, servers...)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := policystore.SignBundle(doc, i.key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func local(t testing.TB, text string) *policy.Document {
	t.Helper()
	doc, err := policy.ParseDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

var byImport = policystore.Editor{Actor: "@root:a.example", Way: policystore.WayImport}

func TestAFloorIsEnforcedWithTheLocalDocument(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		from := newIssuer(t)
		s := open(t, policystore.Options{DB: db, Trust: from.trust})
		if err := s.Import(t.Context(), from.floor(t, 7, "b.example", "c.example"), byImport); err != nil {
			t.Fatal(err)
		}
		if !speaksWith(s, "b.example") || s.Active().Floor.Version != 7 || s.Active().Version != 1 {
			t.Errorf("%+v", s.Active().Floor)
		}
		by := policystore.Editor{Actor: "@root:a.example", Way: policystore.WayAPI}
		err := s.Activate(t.Context(), local(t, document(2, "x.example")), by)
		if err == nil || !strings.Contains(err.Error(), "not one that") {
			t.Errorf("a local document adds a server: %v", err)
		}
		if err := s.Activate(t.Context(), local(t, "version: 2\nfederation: {deny: [b.example]}\n"), by); err != nil {
			t.Fatal(err)
		}
		if speaksWith(s, "b.example") || !speaksWith(s, "c.example") || !speaksWith(s, self) {
			t.Error("the local document does not tighten the floor")
		}
		again := open(t, policystore.Options{DB: db}) // the journal is the last good copy
		if speaksWith(again, "b.example") || !speaksWith(again, "c.example") || speaksWith(again, "x.example") || again.Active().Floor.Version != 7 {
			t.Error("another node enforces something else")
		}
		if err := s.Import(t.Context(), from.floor(t, 8, "b.example"), byImport); err != nil {
			t.Fatal(err)
		}
		if speaksWith(s, "c.example") {
			t.Error("what left the floor is still admitted")
		}
	})
}

func TestBundlesThatAreRefusedChangeNothing(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		from, stranger := newIssuer(t), newIssuer(t)
		s := open(t, policystore.Options{DB: db, Trust: from.trust})
		good := from.floor(t, 7, "b.example")
		if err := s.Import(t.Context(), good, byImport); err != nil {
			t.Fatal(err)
		}
		other := local(t, strings.Replace(document(9), "issuer: dinum.example", "issuer: evil.example", 1))
		foreign, err := policystore.SignBundle(other, from.key)
		if err != nil {
			t.Fatal(err)
		}
		failing, err := policystore.SignBundle(local(t, document(9)+"tests: [{server: a.example, action: federate_in, expect: deny}]\n"), from.key)
		if err != nil {
			t.Fatal(err)
		}
		without, err := policystore.SignBundle(local(t, "version: 9\nissuer: dinum.example\norganisations: [{id: x, class: government, homeservers: [{name: x.example}]}]\n"), from.key)
		if err != nil {
			t.Fatal(err)
		}
		for name, tc := range map[string]struct {
			raw  []byte
			want string
		}{
			"an older one":       {from.floor(t, 6, "c.example"), "can only grow"},
			"the same version":   {from.floor(t, 7, "c.example"), "can only grow"},
			"another key":        {stranger.floor(t, 8, "c.example"), "signature"},
			"another issuer":     {foreign, "no pinned key of dinum.example"},
			"altered":            {[]byte(strings.Replace(string(from.floor(t, 8, "c.example")), "c.example", "d.example", 1)), "signature of dinum.example is wrong"},
			"unsigned":           {[]byte(`{"type":"org.beffroi.policy.bundle.v1"}`), "no pinned key"},
			"not JSON":           {[]byte("version: 8"), "no pinned key"},
			"a test fails":       {failing, "expected deny"},
			"without own server": {without, "no organisation has this server"},
			"too large":          {make([]byte, policystore.MaxBundleBytes+1), "larger than"},
		} {
			err := s.Import(t.Context(), tc.raw, byImport)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v, want %q", name, err, tc.want)
			}
			if a := s.Active(); a.Floor.Version != 7 || !speaksWith(s, "b.example") {
				t.Errorf("%s: floor %+v", name, a.Floor)
			}
		}
		if err := s.Import(t.Context(), good, byImport); err != nil {
			t.Errorf("the one in force: %v", err)
		}
		blind := open(t, policystore.Options{DB: db})
		if err := blind.Import(t.Context(), from.floor(t, 8), byImport); err != policystore.ErrNoTrust {
			t.Errorf("nobody is trusted: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		refused := 0
		for range s.Audit(t.Context(), policystore.Filter{Kind: policystore.KindFloorRefused}) {
			refused++
		}
		if refused != 10 {
			t.Errorf("%d refused bundles are in the audit trail", refused)
		}
	})
}

func TestAFeedIsFollowed(t *testing.T) {
	t.Parallel()
	from := newIssuer(t)
	publisher := open(t, policystore.Options{DB: testkit.OpenDB(t, "sqlite"), Sign: &from.key, Publish: true})
	by := policystore.Editor{Actor: "@root:a.example", Way: policystore.WayAPI}
	if err := publisher.Activate(t.Context(), local(t, document(5, "b.example")), by); err != nil {
		t.Fatal(err)
	}
	var answers, down atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() > 0 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if r.Header.Get("If-None-Match") == "" {
			answers.Add(1)
		}
		publisher.Handler().ServeHTTP(w, r)
	}))
	defer server.Close()
	s := open(t, policystore.Options{DB: testkit.OpenDB(t, "sqlite"), Trust: from.trust, Feed: policystore.Feed{URL: server.URL + policystore.BundlePath}, Publish: true})
	for range 3 {
		if err := s.LookAtFeed(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !speaksWith(s, "b.example") || s.Active().Floor.Version != 5 || answers.Load() != 1 {
		t.Errorf("floor %+v after %d answers", s.Active().Floor, answers.Load())
	}
	down.Store(1)
	if err := s.LookAtFeed(t.Context()); err == nil || !speaksWith(s, "b.example") {
		t.Errorf("a feed that is down: %v", err)
	}
	down.Store(0)
	if err := publisher.Activate(t.Context(), local(t, document(6, "c.example")), by); err != nil {
		t.Fatal(err)
	}
	if err := s.LookAtFeed(t.Context()); err != nil || speaksWith(s, "b.example") || !speaksWith(s, "c.example") {
		t.Errorf("the new floor is not enforced: %v", err)
	}
	first, _, err := publisher.Bundle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second, _, err := s.Bundle(t.Context()); err != nil || string(first) != string(second) {
		t.Errorf("the bundle is not passed on as it came: %v", err)
	}
}

func TestWhatPeersEnforceIsKept(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		var down atomic.Bool
		ask := func(_ context.Context, name matrix.ServerName) (policystore.Enforced, error) {
			if name == "c.example" || down.Load() {
				return policystore.Enforced{}, fmt.Errorf("%s does not answer", name)
			}
			return policystore.Enforced{Version: 3, SHA256: "aa", Floor: &policystore.EnforcedFloor{Version: 6, SHA256: "bb"}, Freshness: "stale"}, nil
		}
		s := open(t, policystore.Options{DB: db, Feed: policystore.Feed{Ask: ask}})
		if err := s.Activate(t.Context(), local(t, document(5, "b.example", "c.example")), byImport); err != nil {
			t.Fatal(err)
		}
		for _, now := range []bool{false, true} {
			down.Store(now)
			if err := s.AskPeers(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		peers, err := policystore.Peers(t.Context(), db)
		if err != nil || len(peers) != 2 {
			t.Fatal(peers, err)
		}
		if b := peers[0]; b.Version != 3 || b.FloorVersion != 6 || b.Freshness != "stale" || b.AnsweredTS == 0 || b.Failure == "" {
			t.Errorf("%+v", b)
		}
		if c := peers[1]; c.Version != 0 || c.AnsweredTS != 0 || !strings.Contains(c.Failure, "does not answer") {
			t.Errorf("%+v", c)
		}
	})
}

func TestThePolicyIsPublishedOnlyWhereItIsMeant(t *testing.T) {
	t.Parallel()
	from := newIssuer(t)
	get := func(s *policystore.Store, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	private := open(t, policystore.Options{DB: testkit.OpenDB(t, "sqlite"), Sign: &from.key})
	if w := get(private, policystore.BundlePath); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "M_NOT_FOUND") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	var said policystore.Enforced
	if w := get(private, policystore.VersionPath); w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &said) != nil ||
		said.Version != 1 || said.SHA256 != private.Active().SHA256 || said.Freshness != "fresh" || said.Floor != nil {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	keyless := open(t, policystore.Options{DB: testkit.OpenDB(t, "sqlite"), Publish: true})
	if w := get(keyless, policystore.BundlePath); w.Code != http.StatusNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestParseTrust(t *testing.T) {
	t.Parallel()
	for name, pins := range map[string][]string{
		"none": nil, "no key": {"ed25519:a1"}, "short": {"ed25519:a1 AAAA"}, "algorithm": {"rsa:a1 " + strings.Repeat("A", 43)}, "no id": {strings.Repeat("A", 43)},
	} {
		if _, err := policystore.ParseTrust("dinum.example", pins); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := policystore.ParseTrust("", []string{"ed25519:a1 " + strings.Repeat("A", 43)}); err == nil {
		t.Error("no issuer is accepted")
	}
}
