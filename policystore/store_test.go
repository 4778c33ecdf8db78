package policystore_test

import (
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
)

func TestRefusalIsFoundByItsID(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s, err := policystore.Open(t.Context(), policystore.Options{DB: db, Self: "a.example", Folder: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Check(t.Context(), &policy.Request{Action: policy.ActionFederateIn, Server: "evil.example"})
		if !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		trail, err := s.VerifyAudit(t.Context())
		if err != nil || trail.Entries != 2 {
			t.Error(trail, err)
		}
		for e, err := range s.Audit(t.Context(), policystore.Filter{}) {
			t.Log(e, err)
		}
	})
}
