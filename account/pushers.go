package account

import (
	"context"
	"encoding/json"
	"net/url"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

const (
	// maxPushKey and maxAppID are the specification's.
	maxPushKey = 512
	maxAppID   = 64
	// maxPusherText and maxPusherData bound the rest of a pusher, and maxPushers
	// how many an account has: one for each application on each device.
	maxPusherText = 255
	maxPusherData = 4 << 10
	maxPushers    = 100
	// notifyPath is where a push gateway listens.
	notifyPath = "/_matrix/push/v1/notify"
)

// Pusher is where an application wants to hear of notifications.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
type Pusher struct {
	PushKey           string          `json:"pushkey"`
	Kind              string          `json:"kind"`
	AppID             string          `json:"app_id"`
	AppDisplayName    string          `json:"app_display_name"`
	DeviceDisplayName string          `json:"device_display_name"`
	ProfileTag        string          `json:"profile_tag,omitempty"`
	Lang              string          `json:"lang"`
	Data              json.RawMessage `json:"data"`
}

// Pushers returns the pushers of an account.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
func (s *Server) Pushers(ctx context.Context, user matrix.UserID) (list []json.RawMessage, err error) {
	list = []json.RawMessage{}
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		found, err := users.Pushers(ctx, r, user)
		for _, p := range found {
			list = append(list, json.RawMessage(p.Content))
		}
		return err
	})
	return list, err
}

// SetPusher adds or replaces a pusher of a device; the end of the device is its
// end, too. appended leaves those of other accounts with the same key.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
func (s *Server) SetPusher(ctx context.Context, user matrix.UserID, device matrix.DeviceID, p Pusher, appended bool) error {
	if err := s.checkPusher(&p); err != nil {
		return err
	}
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		there, err := users.HasPusher(ctx, &tx.Reader, user, p.AppID, p.PushKey)
		if err != nil {
			return err
		}
		list, err := users.Pushers(ctx, &tx.Reader, user)
		if err != nil {
			return err
		}
		if !there && len(list) >= maxPushers {
			return matrix.InvalidParam("an account has at most %d pushers", maxPushers)
		}
		return users.SetPusher(ctx, tx, users.Pusher{User: user, AppID: p.AppID, PushKey: p.PushKey, Device: device,
			Content: string(content), Created: s.now()}, !appended)
	})
}

// DeletePusher removes a pusher. One that is not there is no error.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
func (s *Server) DeletePusher(ctx context.Context, user matrix.UserID, appID, pushKey string) error {
	return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		return users.DeletePusher(ctx, tx, user, appID, pushKey)
	})
}

func (s *Server) checkPusher(p *Pusher) error {
	data, err := object(p.Data, maxPusherData)
	switch {
	case err != nil:
		return err
	case p.Kind != "http":
		return matrix.InvalidParam("pushers of kind %q are not offered: use http", p.Kind)
	case !plain(p.AppID, maxAppID) || !plain(p.PushKey, maxPushKey):
		return matrix.InvalidParam("app_id has at most %d bytes, and pushkey %d", maxAppID, maxPushKey)
	}
	for _, text := range []string{p.AppDisplayName, p.DeviceDisplayName, p.ProfileTag, p.Lang} {
		if !plain(text, maxPusherText) {
			return matrix.InvalidParam("names, profile_tag and lang have at most %d bytes", maxPusherText)
		}
	}
	p.Data = json.RawMessage(data)
	var gateway struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(p.Data, &gateway); err != nil {
		return matrix.BadJSON("data.url must be a string")
	}
	if gateway.URL == "" {
		return matrix.MissingParam("data.url is missing")
	}
	u, err := url.Parse(gateway.URL)
	if err != nil || u.Host == "" || u.Path != notifyPath || u.Scheme != "https" && (u.Scheme != "http" || !s.Development) {
		return matrix.InvalidParam("data.url must be an https URL with the path %s", notifyPath)
	}
	return nil
}
