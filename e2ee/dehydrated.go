package e2ee

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/users"
)

const (
	// maxDehydratedBytes bounds what a client stores of a dehydrated device.
	// Real ones have a few kB.
	maxDehydratedBytes = 256 << 10
	// maxDeviceName bounds the display name of a device.
	maxDeviceName = 255
	// dehydratedPage is how many messages one answer has.
	dehydratedPage = 100
)

// Dehydration is a device that a client leaves behind, so that messages to it
// are kept until another client takes it over.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3814
type Dehydration struct {
	Device matrix.DeviceID `json:"device_id"`
	Data   json.RawMessage `json:"device_data"`
	Name   string          `json:"initial_device_display_name"`
	Upload
}

// Dehydrated is the device as a client gets it back.
type Dehydrated struct {
	Device matrix.DeviceID `json:"device_id"`
	Data   json.RawMessage `json:"device_data"`
}

// Dehydrate stores a dehydrated device with its keys, in one commit. It
// replaces the one that the account had. The name of a device that somebody
// uses is 400 M_INVALID_PARAM, and one bad key refuses the whole.
func (s *Server) Dehydrate(ctx context.Context, user matrix.UserID, d Dehydration) error {
	if !plain(string(d.Device)) {
		return matrix.InvalidParam("device_id is missing, too long, or has characters that no name has")
	}
	if d.Data == nil || d.DeviceKeys == nil || string(d.DeviceKeys) == "null" {
		return matrix.MissingParam("device_data and device_keys are needed")
	}
	if len(d.Name) > maxDeviceName || !utf8.ValidString(d.Name) {
		return matrix.InvalidParam("the name of a device has at most %d bytes", maxDeviceName)
	}
	if len(d.OneTimeKeys)+len(d.FallbackKeys) > maxUploaded {
		return matrix.TooLarge("an upload has at most %d keys", maxUploaded)
	}
	data, err := canonicalObject(d.Data, maxDehydratedBytes)
	if err != nil {
		return err
	}
	if d.FallbackKeys == nil {
		d.FallbackKeys = d.FallbackKeysUnstable
	}
	c := checked{user: user, device: d.Device, failures: map[string]Failure{}}
	if err := c.check(d.Upload); err != nil {
		return err
	}
	if c.first != nil {
		return c.first
	}
	for range maxAttempts {
		if _, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			return s.writeDehydrated(ctx, tx, &c, d.Name, string(data))
		}); !errors.Is(err, storage.ErrConflict) {
			break
		}
	}
	if err != nil {
		return err
	}
	// The client has signed it as one of its own, where it has cross-signing:
	// what is no such signature is left out.
	_, err = s.UploadSignatures(ctx, user, SignatureUpload{user: {string(d.Device): d.DeviceKeys}})
	return err
}

func (s *Server) writeDehydrated(ctx context.Context, tx *storage.Tx, c *checked, name, data string) error {
	if err := removeDehydrated(ctx, tx, c.user); err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
		return err
	}
	switch _, err := users.DeviceByID(ctx, &tx.Reader, c.user, c.device); {
	case err == nil:
		return matrix.InvalidParam("there is a device %s already", c.device)
	case !matrix.IsCode(err, "M_NOT_FOUND"):
		return err
	}
	if err := users.AddDevice(ctx, tx, c.user, users.Device{ID: c.device, DisplayName: name, Created: s.now()}); err != nil {
		return err
	}
	if err := c.write(ctx, tx, &UploadResult{Failures: map[string]Failure{}}); err != nil {
		return err
	}
	return keys.SetDehydrated(ctx, tx, c.user, keys.Dehydrated{Device: c.device, Data: data})
}

// removeDehydrated removes the dehydrated device of an account with all that
// belongs to it, or returns M_NOT_FOUND.
func removeDehydrated(ctx context.Context, tx *storage.Tx, user matrix.UserID) error {
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return err
	}
	old, err := keys.DehydratedOf(ctx, r, user)
	if err != nil {
		return err
	}
	if err := users.DeleteDevices(ctx, tx, user, []matrix.DeviceID{old.Device}); err != nil {
		return err
	}
	if err := keys.DeleteDevices(ctx, tx, user, []matrix.DeviceID{old.Device}); err != nil {
		return err
	}
	return keys.DeleteDehydrated(ctx, tx, user)
}

// Dehydrated returns the dehydrated device of an account, or M_NOT_FOUND.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3814
func (s *Server) Dehydrated(ctx context.Context, user matrix.UserID) (out Dehydrated, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		d, err := keys.DehydratedOf(ctx, r, user)
		out = Dehydrated{d.Device, json.RawMessage(d.Data)}
		return err
	})
	return out, err
}

// RemoveDehydrated removes the dehydrated device of an account and returns
// which it was, or M_NOT_FOUND.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3814
func (s *Server) RemoveDehydrated(ctx context.Context, user matrix.UserID) (matrix.DeviceID, error) {
	d, err := s.Dehydrated(ctx, user)
	if err != nil {
		return "", err
	}
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error { return removeDehydrated(ctx, tx, user) })
	return d.Device, err
}

// DehydratedEvents returns messages to the dehydrated device after a token, ""
// for the beginning, and the token after them; more says whether others
// follow. It deletes none: a client that fails half-way leaves them to another
// one. A device that is not the dehydrated one is 403 M_FORBIDDEN.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3814
func (s *Server) DehydratedEvents(ctx context.Context, user matrix.UserID, device matrix.DeviceID, from string) (
	list []keys.Message, next string, more bool, err error) {
	var after int64
	if from != "" {
		if after, err = strconv.ParseInt(from, 10, 64); err != nil || after < 0 {
			return nil, "", false, matrix.InvalidParam("this is no token of this server")
		}
	}
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		d, err := keys.DehydratedOf(ctx, r, user)
		if err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
			return err
		}
		if err != nil || d.Device != device {
			return matrix.Forbidden("%s is not the dehydrated device", device)
		}
		head, err := storage.Head(ctx, r)
		if err == nil {
			list, err = keys.Messages(ctx, r, user, device, storage.Position(after), head, dehydratedPage+1)
		}
		return err
	})
	if more = len(list) > dehydratedPage; more {
		list = list[:dehydratedPage]
	}
	if len(list) > 0 {
		after = int64(list[len(list)-1].Pos)
	}
	return list, strconv.FormatInt(after, 10), more, err
}
