package e2ee

import (
	"context"
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/keys"
)

const (
	// maxRemoteDevices bounds what is kept of the devices of one remote account.
	maxRemoteDevices = 1000
	// maxDisplayNameBytes bounds the name of a remote device; a longer one is cut off.
	maxDisplayNameBytes = 255
)

// parseRemoteDevice checks the keys of a remote device. Its own signature must
// be good; of others only those by its own account are kept, for the client to
// check.
func parseRemoteDevice(user matrix.UserID, device matrix.DeviceID, raw json.RawMessage) (keys.RemoteDevice, error) {
	d := keys.RemoteDevice{User: user, ID: device}
	if !plain(string(device)) {
		return d, matrix.InvalidParam("malformed device ID")
	}
	id, err := parseIdentity(raw, user, device)
	if err != nil {
		return d, err
	}
	var fields struct {
		Signatures map[matrix.UserID]map[matrix.KeyID]string `json:"signatures"`
		Unsigned   struct {
			Name string `json:"device_display_name"`
		} `json:"unsigned"`
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return d, matrix.BadJSON("malformed device keys")
	}
	d.JSON = string(withSignatures(id.json, map[matrix.UserID]map[matrix.KeyID]string{user: fields.Signatures[user]}))
	d.DisplayName = displayName(fields.Unsigned.Name)
	return d, nil
}

// displayName returns the name of a remote device, "" for one that cannot be kept.
func displayName(name string) string {
	if !plain(name) || len(name) > maxDisplayNameBytes {
		return ""
	}
	return name
}

// crossSigningOf returns what is good of the cross-signing keys of a remote
// account: a master key, and a self-signing key that it signed.
func crossSigningOf(user matrix.UserID, master, selfSigning json.RawMessage) (list []keys.CrossSigningKey) {
	if len(master) == 0 {
		return nil
	}
	m, _, err := parseCrossSigning(master, user, keys.Master)
	if err != nil {
		return nil
	}
	list = append(list, m)
	if len(selfSigning) == 0 {
		return list
	}
	k, object, err := parseCrossSigning(selfSigning, user, keys.SelfSigning)
	if err != nil {
		return list
	}
	sig, err := signedBy(object, user, m.PublicKey)
	if err != nil {
		return list
	}
	k.JSON = string(addSignature([]byte(k.JSON), user, matrix.KeyID("ed25519:"+m.PublicKey), sig))
	return append(list, k)
}

// shared returns those of remote accounts that share a room with us: their
// servers tell us of changes.
func (s *Server) shared(ctx context.Context, r *storage.Reader, list []matrix.UserID) ([]matrix.UserID, error) {
	return keys.SharingRoom(ctx, r, s.ServerName, list)
}

// track begins to keep the lists of remote accounts that share a room with us:
// they are marked, and [Server.Run] fetches them.
func (s *Server) track(ctx context.Context, list []matrix.UserID) error {
	_, remote := s.split(list)
	var begin []matrix.UserID
	err := s.DB.View(ctx, func(r *storage.Reader) error {
		known, err := keys.RemoteLists(ctx, r, remote)
		if err != nil {
			return err
		}
		remote = slices.DeleteFunc(remote, func(user matrix.UserID) bool { _, ok := known[user]; return ok })
		begin, err = s.shared(ctx, r, remote)
		return err
	})
	if err != nil || len(begin) == 0 {
		return err
	}
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		known, err := keys.RemoteLists(ctx, &tx.Reader, begin)
		if err != nil {
			return err
		}
		for _, user := range begin {
			if _, ok := known[user]; ok {
				continue
			}
			if err := keys.SetRemoteList(ctx, tx, keys.RemoteList{User: user, Stale: true, At: s.now()}); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// deviceUpdate is the content of an m.device_list_update.
type deviceUpdate struct {
	User     matrix.UserID   `json:"user_id"`
	Device   matrix.DeviceID `json:"device_id"`
	Name     string          `json:"device_display_name,omitempty"`
	StreamID int64           `json:"stream_id"`
	Previous []int64         `json:"prev_id"`
	Deleted  bool            `json:"deleted,omitempty"`
	Keys     json.RawMessage `json:"keys,omitempty"`
}

// maxPrevious bounds the updates that one can refer to.
const maxPrevious = 100

// ReceiveDeviceList takes an m.device_list_update of another server. An update
// that does not follow on what we have makes the list be fetched anew. One
// about an account that shares no room with us is dropped, and one that is
// malformed is an error that hurts only itself.
//
// https://spec.matrix.org/v1.19/server-server-api/#device-management
func (s *Server) ReceiveDeviceList(ctx context.Context, origin matrix.ServerName, content json.RawMessage) error {
	u, d, err := s.readDeviceUpdate(origin, content)
	if err != nil {
		return err
	}
	if shares, err := s.sharesRoom(ctx, u.User); err != nil || !shares {
		return err
	}
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		lists, err := keys.RemoteLists(ctx, &tx.Reader, []matrix.UserID{u.User})
		if err != nil {
			return err
		}
		list, known := lists[u.User]
		if known && !list.Stale && list.StreamID == u.StreamID {
			return nil // it came before
		}
		if known && !list.Stale && u.follows(list.StreamID) && d != nil {
			list.StreamID, list.At = u.StreamID, s.now()
			if err := applyDevice(ctx, tx, u, *d); err != nil {
				return err
			}
		} else {
			list = keys.RemoteList{User: u.User, StreamID: u.StreamID, Stale: true, At: s.now()}
		}
		if err := keys.SetRemoteList(ctx, tx, list); err != nil {
			return err
		}
		return keys.Changed(ctx, tx, u.User, u.Device)
	})
	return err
}

// follows reports whether the update is the next one after what we have.
func (u deviceUpdate) follows(have int64) bool {
	return u.StreamID > have && len(u.Previous) > 0 && slices.Max(u.Previous) <= have
}

// readDeviceUpdate checks an update. Keys that are wrong give no device: the
// list is then fetched.
func (s *Server) readDeviceUpdate(origin matrix.ServerName, content json.RawMessage) (deviceUpdate, *keys.RemoteDevice, error) {
	var u deviceUpdate
	canonical, err := canonicaljson.Canonicalise(content, canonicaljson.Strict)
	if err != nil {
		return u, nil, err
	}
	if err := json.Unmarshal(canonical, &u); err != nil {
		return u, nil, matrix.BadJSON("malformed m.device_list_update")
	}
	if err := ofOrigin(u.User, origin); err != nil {
		return u, nil, err
	}
	if !plain(string(u.Device)) || len(u.Previous) > maxPrevious {
		return u, nil, matrix.InvalidParam("malformed m.device_list_update")
	}
	d := keys.RemoteDevice{User: u.User, ID: u.Device, DisplayName: displayName(u.Name)}
	if len(u.Keys) > 0 && string(u.Keys) != "null" && !u.Deleted {
		if d, err = parseRemoteDevice(u.User, u.Device, u.Keys); err != nil {
			return u, nil, nil //nolint:nilerr // a list that is fetched leaves the device out
		}
		d.DisplayName = displayName(u.Name)
	}
	return u, &d, nil
}

// ofOrigin refuses what a server says of accounts that are not its own.
func ofOrigin(user matrix.UserID, origin matrix.ServerName) error {
	if _, err := matrix.ParseUserID(string(user)); err != nil {
		return err
	}
	if user.Server().Normalise() != origin.Normalise() {
		return matrix.Forbidden("%s is not an account of %s", user, origin)
	}
	return nil
}

func (s *Server) sharesRoom(ctx context.Context, user matrix.UserID) (shares bool, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		found, err := s.shared(ctx, r, []matrix.UserID{user})
		shares = len(found) > 0
		return err
	})
	return shares, err
}

func applyDevice(ctx context.Context, tx *storage.Tx, u deviceUpdate, d keys.RemoteDevice) error {
	if u.Deleted {
		return keys.DeleteRemoteDevice(ctx, tx, u.User, u.Device)
	}
	have, err := keys.RemoteDevices(ctx, &tx.Reader, []matrix.UserID{u.User})
	if err != nil {
		return err
	}
	if len(have) >= maxRemoteDevices && !slices.ContainsFunc(have, func(h keys.RemoteDevice) bool { return h.ID == d.ID }) {
		return nil // more than any person has
	}
	return keys.SetRemoteDevice(ctx, tx, d)
}

// ReceiveSigningKeys takes an m.signing_key_update of another server.
//
// https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
func (s *Server) ReceiveSigningKeys(ctx context.Context, origin matrix.ServerName, content json.RawMessage) error {
	var u struct {
		User        matrix.UserID   `json:"user_id"`
		Master      json.RawMessage `json:"master_key"`
		SelfSigning json.RawMessage `json:"self_signing_key"`
	}
	if err := json.Unmarshal(content, &u); err != nil {
		return matrix.BadJSON("malformed m.signing_key_update")
	}
	if err := ofOrigin(u.User, origin); err != nil {
		return err
	}
	list := crossSigningOf(u.User, u.Master, u.SelfSigning)
	if len(list) == 0 {
		return matrix.InvalidParam("m.signing_key_update without a valid master key")
	}
	if shares, err := s.sharesRoom(ctx, u.User); err != nil || !shares {
		return err
	}
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := setCrossSigning(ctx, tx, u.User, list); err != nil {
			return err
		}
		return keys.Changed(ctx, tx, u.User, "")
	})
	return err
}

// setCrossSigning stores the cross-signing keys of a remote account in place
// of those it had.
func setCrossSigning(ctx context.Context, tx *storage.Tx, user matrix.UserID, list []keys.CrossSigningKey) error {
	fresh := map[string]string{}
	for _, k := range list {
		fresh[k.Usage] = k.PublicKey
		if err := keys.SetCrossSigningKey(ctx, tx, k); err != nil {
			return err
		}
	}
	for _, usage := range []string{keys.Master, keys.SelfSigning} {
		if err := keys.DeleteCrossSigningKey(ctx, tx, user, usage, fresh[usage]); err != nil {
			return err
		}
	}
	return nil
}
