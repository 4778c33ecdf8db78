package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

type device struct {
	ID          matrix.DeviceID `json:"device_id"`
	DisplayName string          `json:"display_name,omitempty"`
	LastSeenIP  string          `json:"last_seen_ip,omitempty"`
	LastSeenTS  int64           `json:"last_seen_ts,omitempty"`
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices
func (s *Server) devices(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (map[string][]device, error) {
	list, err := s.Accounts.Devices(ctx, who.User)
	out := make([]device, 0, len(list))
	for _, d := range list {
		out = append(out, device{d.ID, d.DisplayName, d.SeenIP, d.Seen})
	}
	return map[string][]device{"devices": out}, err
}

func deviceID(r *http.Request) matrix.DeviceID { return matrix.DeviceID(r.PathValue("deviceID")) }

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid
func (s *Server) device(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (device, error) {
	d, err := s.Accounts.Device(ctx, who.User, deviceID(r))
	return device{d.ID, d.DisplayName, d.SeenIP, d.Seen}, err
}

type renameRequest struct {
	DisplayName *string `json:"display_name"`
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid
func (s *Server) renameDevice(ctx context.Context, who *caller, r *http.Request, req renameRequest) (httpx.None, error) {
	if req.DisplayName == nil { // nothing to change, if the device exists
		_, err := s.Accounts.Device(ctx, who.User, deviceID(r))
		return httpx.None{}, err
	}
	return httpx.None{}, s.Accounts.RenameDevice(ctx, who.User, deviceID(r), *req.DisplayName)
}

type deleteDevicesRequest struct {
	Auth    json.RawMessage   `json:"auth"`
	Devices []matrix.DeviceID `json:"devices"`
}

// opDeleteDevices is what a proof for the removal of devices is good for.
const opDeleteDevices = "delete_devices"

// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid
func (s *Server) deleteDevice(ctx context.Context, who *caller, r *http.Request, req deleteDevicesRequest) (httpx.None, error) {
	req.Devices = []matrix.DeviceID{deviceID(r)}
	return s.deleteDevices(ctx, who, r, req)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices
func (s *Server) deleteDevices(ctx context.Context, who *caller, _ *http.Request, req deleteDevicesRequest) (httpx.None, error) {
	if req.Devices == nil {
		return httpx.None{}, matrix.MissingParam("devices is missing")
	}
	for _, id := range req.Devices {
		if !storable(string(id)) {
			return httpx.None{}, matrix.InvalidParam("a device ID has a NUL")
		}
	}
	proof, err := s.prove(ctx, who, opDeleteDevices, subjectOf(req.Devices), req.Auth)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Accounts.DeleteDevices(ctx, who.User, req.Devices, proof)
}

// subjectOf is the subject of a proof about devices: in one order, so that a
// client may list them in another.
func subjectOf(ids []matrix.DeviceID) string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = string(id)
	}
	slices.Sort(list)
	return strings.Join(list, "\x1f")
}

// prove asks a caller for the password before an operation.
func (s *Server) prove(ctx context.Context, who *caller, operation, subject string, auth json.RawMessage) (*account.Proof, error) {
	return s.Accounts.Prove(ctx, account.Challenge{
		Operation: operation, User: who.User, Subject: subject, Flows: passwordFlows, Source: who.addr}, auth)
}
