package policystore_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beffroi/internal/httpx"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
)

// refuse asks for something that is refused and returns the decision ID.
func refuse(t testing.TB, s *policystore.Store, req *policy.Request) string {
	t.Helper()
	err := s.Check(context.Background(), req)
	if !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Fatalf("%v", err)
	}
	return body(t, err, "").Policy.Decision
}

type answer struct {
	Errcode string `json:"errcode"`
	Error   string `json:"error"`
	Policy  struct {
		Reason   string `json:"reason"`
		Version  int64  `json:"version"`
		Contact  string `json:"contact"`
		Decision string `json:"decision"`
	} `json:"org.beffroi.policy"`
}

// body returns what a client with these languages reads.
func body(t testing.TB, err error, languages string) (out answer) {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept-Language", languages)
	w := httptest.NewRecorder()
	httpx.Fail(w, r, err)
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 403 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return out
}

func stranger(name string) *policy.Request {
	return &policy.Request{
		Action: policy.ActionFederateIn, Server: matrix.ServerName(name), Source: policy.SourceFederation,
	}
}

func TestRefusalSpeaksToThePeer(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := open(t, policystore.Options{DB: db})
		err := s.Check(t.Context(), stranger("evil.example"))
		reason := policy.ReasonUnknownServer
		for languages, want := range map[string]string{
			"": reason.Text()["en"], "fr-FR, en;q=0.5": reason.Text()["fr"], "en": reason.Text()["en"], "de": reason.Text()["en"],
		} {
			got := body(t, err, languages)
			if got.Error != want || got.Policy.Reason != string(reason) || got.Policy.Version != 1 || len(got.Policy.Decision) != 26 {
				t.Errorf("%q: %+v", languages, got)
			}
		}
	})
}

func TestARefusedEventIsAudited(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := open(t, policystore.Options{DB: db})
		rules, err := matrix.RoomVersion("12").Rules()
		if err != nil {
			t.Fatal(err)
		}
		key, err := signing.NewKey("evil.example", "1")
		if err != nil {
			t.Fatal(err)
		}
		user := "@mallory:evil.example"
		proto := event.Proto{
			RoomID: "!x", Sender: matrix.UserID(user), Type: "m.room.member", StateKey: &user,
			Content: json.RawMessage(`{"membership":"join"}`), PrevEvents: []matrix.EventID{"$p"},
			AuthEvents: []matrix.EventID{"$a"}, Depth: 2, OriginServerTS: 1,
		}
		e, err := proto.Build(rules, key)
		if err != nil {
			t.Fatal(err)
		}
		refused := s.AdmitEvent(t.Context(), &policy.EventRequest{
			Event: e, Facts: &policy.RoomFacts{JoinRule: "public"}, Source: policy.SourceFederation,
		})
		got := body(t, refused, "fr")
		line := find(t, s, got.Policy.Decision)
		if line.Action != "join" || line.Subject != user || line.Server != "evil.example" || line.Room != "!x" ||
			!strings.Contains(line.Detail, string(e.ID())) {
			t.Errorf("%+v", line)
		}
	})
}

func TestToAllowCostsNothing(t *testing.T) {
	s := open(t, policystore.Options{DB: testkit.OpenDB(t, "sqlite")})
	req := &policy.Request{Action: policy.ActionSendMessage, Actor: "@alice:a.example", Room: &policy.RoomFacts{ID: "!x"}}
	if n := testing.AllocsPerRun(1000, func() {
		if err := s.Check(context.Background(), req); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMetricsTellTheDocument(t *testing.T) {
	t.Parallel()
	reg, c := prometheus.NewRegistry(), newClock()
	path := t.TempDir() + "/p.yaml"
	write(t, path, document(41)+"expires: 2027-02-01T00:00:00Z\n")
	s := open(t, policystore.Options{DB: testkit.OpenDB(t, "sqlite"), File: path, Metrics: reg, Now: c.now})
	c.advance(48 * time.Hour)
	write(t, path, "version: none")
	if s.Reload(t.Context()) == nil {
		t.Error("a bad file was taken")
	}
	for name, want := range map[string]float64{
		"beffroi_policy_document_version": 41, "beffroi_policy_document_age_seconds": 48 * 3600,
		"beffroi_policy_document_freshness": 1, "beffroi_policy_activations_total": 2,
	} {
		if got := metric(t, reg, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
