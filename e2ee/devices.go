package e2ee

import (
	"context"
	"encoding/json"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/users"
)

// DeviceList is the devices of an account, for other servers.
type DeviceList struct {
	User        matrix.UserID   `json:"user_id"`
	StreamID    int64           `json:"stream_id"`
	Devices     []listedDevice  `json:"devices"`
	Master      json.RawMessage `json:"master_key,omitempty"`
	SelfSigning json.RawMessage `json:"self_signing_key,omitempty"`
}

type listedDevice struct {
	ID   matrix.DeviceID `json:"device_id"`
	Name string          `json:"device_display_name,omitempty"`
	Keys json.RawMessage `json:"keys"`
}

// AnswerDevices answers another server about an account of ours, or with
// M_NOT_FOUND. Devices without keys are of no use to others and left out.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
func (s *Server) AnswerDevices(ctx context.Context, user matrix.UserID) (list DeviceList, err error) {
	if _, err := matrix.ParseUserID(string(user)); err != nil {
		return list, err
	}
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		exist, err := users.Existing(ctx, r, []matrix.UserID{user})
		if err != nil {
			return err
		}
		if !exist[user] || !s.isLocal(user) {
			return matrix.NotFound("there is no account %s", user)
		}
		list, err = s.deviceList(ctx, r, user)
		return err
	})
	return list, err
}

func (s *Server) deviceList(ctx context.Context, r *storage.Reader, user matrix.UserID) (DeviceList, error) {
	list := DeviceList{User: user, Devices: []listedDevice{}}
	pos, err := keys.LastChange(ctx, r, user)
	if err != nil {
		return list, err
	}
	list.StreamID = int64(pos)
	found := newQueryResult()
	if err := s.localKeys(ctx, r, "", []matrix.UserID{user}, nil, &found, false); err != nil {
		return list, err
	}
	names := map[matrix.DeviceID]string{}
	if s.ShareDeviceNames {
		err := users.DevicesOf(ctx, r, []matrix.UserID{user}, func(_ matrix.UserID, d users.Device) {
			names[d.ID] = d.DisplayName
		})
		if err != nil {
			return list, err
		}
	}
	for id, object := range found.DeviceKeys[user] {
		list.Devices = append(list.Devices, listedDevice{id, names[id], object})
	}
	list.Master, list.SelfSigning = found.MasterKeys[user], found.SelfSigningKeys[user]
	return list, nil
}
