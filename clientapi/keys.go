package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/e2ee"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// uploadKeys publishes keys of the caller's device. Old clients name the
// device in the path, and could only name their own.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload
func (s *Server) uploadKeys(ctx context.Context, who *caller, r *http.Request, up e2ee.Upload) (e2ee.UploadResult, error) {
	if id := deviceID(r); id != "" && id != who.Device {
		return e2ee.UploadResult{}, matrix.Forbidden("This is not your device")
	}
	return s.Keys.Upload(ctx, who.User, who.Device, up)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
func (s *Server) queryKeys(ctx context.Context, who *caller, _ *http.Request, q e2ee.Query) (e2ee.QueryResult, error) {
	if q.DeviceKeys == nil {
		return e2ee.QueryResult{}, matrix.BadJSON("device_keys is missing")
	}
	return s.Keys.Query(ctx, who.User, q)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim
func (s *Server) claimKeys(ctx context.Context, _ *caller, _ *http.Request, c e2ee.Claim) (e2ee.ClaimResult, error) {
	if c.OneTimeKeys == nil {
		return e2ee.ClaimResult{}, matrix.BadJSON("one_time_keys is missing")
	}
	return s.Keys.Claim(ctx, c)
}

type signingRequest struct {
	Auth json.RawMessage `json:"auth"`
	e2ee.CrossSigning
}

// opSigningKeys is what a proof for new cross-signing keys is good for.
const opSigningKeys = "signing_keys"

// uploadSigningKeys stores the cross-signing keys of the caller. The first ones
// need no authentication: there is nothing yet that a thief could replace.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload
func (s *Server) uploadSigningKeys(ctx context.Context, who *caller, _ *http.Request, req signingRequest) (httpx.None, error) {
	needs, err := s.Keys.NeedsAuth(ctx, who.User, req.CrossSigning)
	if err != nil {
		return httpx.None{}, err
	}
	if needs {
		proof, err := s.prove(ctx, who, opSigningKeys, "", req.Auth)
		if err != nil {
			return httpx.None{}, err
		}
		if err := s.Accounts.Spend(ctx, proof); err != nil {
			return httpx.None{}, err
		}
	}
	return httpx.None{}, s.Keys.UploadCrossSigning(ctx, who.User, req.CrossSigning, needs)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload
func (s *Server) uploadSignatures(ctx context.Context, who *caller, _ *http.Request, up e2ee.SignatureUpload) (map[string]any, error) {
	failures, err := s.Keys.UploadSignatures(ctx, who.User, up)
	if failures == nil {
		failures = e2ee.SignatureFailures{}
	}
	return map[string]any{"failures": failures}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid
func (s *Server) sendToDevice(ctx context.Context, who *caller, r *http.Request, req struct {
	Messages e2ee.Messages `json:"messages"`
}) (httpx.None, error) {
	if req.Messages == nil {
		return httpx.None{}, matrix.MissingParam("messages is missing")
	}
	return httpx.None{}, s.Keys.Send(ctx, who.User, who.Device, r.PathValue("type"), r.PathValue("txnID"), req.Messages)
}
