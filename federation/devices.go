package federation

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"beffroi/e2ee"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// queryDeviceKeys returns the keys of devices of accounts of ours.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery
func (s *Server) queryDeviceKeys(ctx context.Context, who peer, _ *http.Request, q e2ee.Query) (e2ee.QueryResult, error) {
	if q.DeviceKeys == nil {
		return e2ee.QueryResult{}, matrix.MissingParam("the body lacks device_keys")
	}
	allowed := s.gate.among(ctx, who, slices.Collect(maps.Keys(q.DeviceKeys)))
	maps.DeleteFunc(q.DeviceKeys, func(user matrix.UserID, _ []matrix.DeviceID) bool { return !allowed[user] })
	return s.Devices.AnswerQuery(ctx, q)
}

// claimKeys takes one-time keys of devices of accounts of ours.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim
func (s *Server) claimKeys(ctx context.Context, who peer, _ *http.Request, c e2ee.Claim) (e2ee.ClaimResult, error) {
	if c.OneTimeKeys == nil {
		return e2ee.ClaimResult{}, matrix.MissingParam("the body lacks one_time_keys")
	}
	allowed := s.gate.among(ctx, who, slices.Collect(maps.Keys(c.OneTimeKeys)))
	maps.DeleteFunc(c.OneTimeKeys, func(user matrix.UserID, _ map[matrix.DeviceID]string) bool { return !allowed[user] })
	return s.Devices.AnswerClaim(ctx, c)
}

// userDevices returns the devices of an account of ours.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
func (s *Server) userDevices(ctx context.Context, who peer, r *http.Request, _ httpx.None) (e2ee.DeviceList, error) {
	user, err := pathUser(r)
	if err != nil {
		return e2ee.DeviceList{}, err
	}
	if err := s.gate.may(ctx, who, "", user); err != nil {
		return e2ee.DeviceList{}, err
	}
	return s.Devices.AnswerDevices(ctx, user)
}
