package e2ee

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/users"
)

const (
	// maxUploaded bounds the keys of one upload; clients send some fifty.
	maxUploaded = 500
	// maxStored bounds the one-time keys of a device and an algorithm.
	maxStored = 500
	// maxAttempts bounds how often an upload is checked anew because the
	// identity of the device changed under it.
	maxAttempts = 4
)

// Upload is the keys that a device publishes.
type Upload struct {
	DeviceKeys   json.RawMessage            `json:"device_keys"`
	OneTimeKeys  map[string]json.RawMessage `json:"one_time_keys"`
	FallbackKeys map[string]json.RawMessage `json:"fallback_keys"`
	// FallbackKeysUnstable is what clients called FallbackKeys before v1.2.
	FallbackKeysUnstable map[string]json.RawMessage `json:"org.matrix.msc2732.fallback_keys"`
}

// UploadResult says how many one-time keys a device has now, by algorithm, and
// which keys were refused and why.
type UploadResult struct {
	Counts   map[string]int     `json:"one_time_key_counts"`
	Failures map[string]Failure `json:"org.beffroi.failures,omitempty"`
}

// Upload publishes keys of a device. Wrong identity keys refuse the upload as a
// whole. Each one-time and fallback key stands for itself: one that is
// malformed, badly signed, or another key under an ID that is in use, is in
// Failures and the others are stored. Only if everything in the upload is
// malformed is it refused. The same upload again changes nothing, and brings
// no key back that was claimed in the meantime.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload
func (s *Server) Upload(ctx context.Context, user matrix.UserID, device matrix.DeviceID, up Upload) (UploadResult, error) {
	if string(up.DeviceKeys) == "null" {
		up.DeviceKeys = nil
	}
	if up.FallbackKeys == nil {
		up.FallbackKeys = up.FallbackKeysUnstable
	}
	if len(up.OneTimeKeys)+len(up.FallbackKeys) > maxUploaded {
		return UploadResult{}, matrix.TooLarge("an upload has at most %d keys", maxUploaded)
	}
	if up.DeviceKeys == nil && len(up.OneTimeKeys)+len(up.FallbackKeys) == 0 {
		return s.counts(ctx, user, device)
	}
	for range maxAttempts {
		result, err := s.tryUpload(ctx, user, device, up)
		if !errors.Is(err, storage.ErrConflict) {
			return result, err
		}
	}
	return UploadResult{}, storage.ErrConflict
}

func (s *Server) counts(ctx context.Context, user matrix.UserID, device matrix.DeviceID) (result UploadResult, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		result.Counts, err = keys.CountOneTimeKeys(ctx, r, user, device)
		return err
	})
	return result, err
}

// checked is an upload whose signatures are good.
type checked struct {
	user     matrix.UserID
	device   matrix.DeviceID
	before   string    // the identity that is stored
	identity *identity // the new one, nil for none
	replaces bool      // the new one is of another key than the old one
	oneTime  []keys.OneTimeKey
	fallback []keys.OneTimeKey
	failures map[string]Failure
	first    error // of the failures
}

func (s *Server) tryUpload(ctx context.Context, user matrix.UserID, device matrix.DeviceID, up Upload) (UploadResult, error) {
	c := checked{user: user, device: device, failures: map[string]Failure{}}
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		c.before, err = keys.DeviceKeysOf(ctx, r, user, device)
		return err
	})
	if err != nil {
		return UploadResult{}, err
	}
	if err := c.check(up); err != nil { // outside of the commit: it takes milliseconds
		return UploadResult{}, err
	}
	result := UploadResult{}
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		result = UploadResult{Failures: maps.Clone(c.failures)}
		return c.write(ctx, tx, &result)
	})
	return result, err
}

// check verifies the upload.
func (c *checked) check(up Upload) error {
	var signer identity
	if c.before != "" {
		var err error
		if signer, err = parseIdentity(json.RawMessage(c.before), c.user, c.device); err != nil {
			return err
		}
	}
	if up.DeviceKeys != nil {
		fresh, err := parseIdentity(up.DeviceKeys, c.user, c.device)
		if err != nil {
			return err
		}
		c.identity, c.replaces = &fresh, c.before != "" && fresh.public != signer.public
		signer = fresh
	}
	parse := func(from map[string]json.RawMessage) (list []keys.OneTimeKey) {
		for _, name := range slices.Sorted(maps.Keys(from)) { // clients number their keys
			key, err := parseOneTimeKey(name, from[name], c.user, c.device, signer.ed25519)
			if err != nil {
				c.failures[name] = failure(err)
				if c.first == nil {
					c.first = err
				}
				continue
			}
			list = append(list, key)
		}
		return list
	}
	c.oneTime, c.fallback = parse(up.OneTimeKeys), parse(up.FallbackKeys)
	if c.identity == nil && len(c.oneTime)+len(c.fallback) == 0 {
		return c.first
	}
	return nil
}

// write stores what was checked, if the identity it was checked against still
// holds.
func (c *checked) write(ctx context.Context, tx *storage.Tx, result *UploadResult) error {
	if _, err := users.DeviceByID(ctx, &tx.Reader, c.user, c.device); err != nil {
		if matrix.IsCode(err, "M_NOT_FOUND") {
			return matrix.UnknownToken(false) // it was logged out in the meantime
		}
		return err
	}
	stored, err := keys.DeviceKeysOf(ctx, &tx.Reader, c.user, c.device)
	if err != nil {
		return err
	}
	if stored != c.before {
		return storage.ErrConflict
	}
	if err := c.writeIdentity(ctx, tx); err != nil {
		return err
	}
	added, err := c.writeOneTime(ctx, tx, result)
	if err != nil {
		return err
	}
	for _, key := range c.fallback {
		if err := keys.SetFallbackKey(ctx, tx, key); err != nil {
			return err
		}
	}
	if added > 0 || len(c.fallback) > 0 {
		keys.CountsChanged(tx, c.user, c.device)
	}
	return nil
}

func (c *checked) writeIdentity(ctx context.Context, tx *storage.Tx) error {
	if c.identity == nil || string(c.identity.json) == c.before {
		return nil
	}
	if c.replaces { // what the old identity signed is worth nothing
		if _, err := tx.Snapshot(ctx); err != nil {
			return err
		}
		if err := keys.DeleteKeys(ctx, tx, c.user, []matrix.DeviceID{c.device}); err != nil {
			return err
		}
	}
	err := keys.SetDeviceKeys(ctx, tx, keys.DeviceKeys{User: c.user, Device: c.device, JSON: string(c.identity.json)})
	if err != nil {
		return err
	}
	return keys.Changed(ctx, tx, c.user, c.device)
}

// writeOneTime adds the keys that are new and returns how many there were.
func (c *checked) writeOneTime(ctx context.Context, tx *storage.Tx, result *UploadResult) (added int, err error) {
	r, err := tx.Snapshot(ctx) // keys and claims of the same commit count
	if err != nil {
		return 0, err
	}
	if result.Counts, err = keys.CountOneTimeKeys(ctx, r, c.user, c.device); err != nil {
		return 0, err
	}
	slots := map[keys.Slot][]keys.OneTimeKey{}
	for _, key := range c.oneTime {
		slots[key.Slot] = append(slots[key.Slot], key)
	}
	for slot, list := range slots { // one for each algorithm
		_, _, algorithm := slot.Parts()
		ids := make([]string, len(list))
		for i, key := range list {
			ids[i] = key.ID
		}
		have, claimed, err := keys.OneTimeKeysByID(ctx, r, slot, ids)
		if err != nil {
			return added, err
		}
		for _, key := range list {
			old, known := have[key.ID]
			switch {
			case known && !sameKey(old, key.JSON):
				result.Failures[algorithm+":"+key.ID] = Failure{"M_UNKNOWN", "Another key was published under this ID"}
			case known, claimed[key.ID]:
			case result.Counts[algorithm] >= maxStored:
				result.Failures[algorithm+":"+key.ID] = Failure{"M_RESOURCE_LIMIT_EXCEEDED", "The device has too many keys"}
			default:
				keys.AddOneTimeKey(tx, key)
				result.Counts[algorithm]++
				added++
			}
		}
	}
	return added, nil
}
