package e2ee

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/keys"
)

// maxSignatures bounds the signatures of one upload.
const maxSignatures = 500

// SignatureUpload is signed keys, by account and by device ID or public key.
type SignatureUpload map[matrix.UserID]map[string]json.RawMessage

// SignatureFailures says which signatures were refused and why.
type SignatureFailures map[matrix.UserID]map[string]Failure

// UploadSignatures stores signatures that an account made: with its
// self-signing key on its devices, with a device on its master key, or with
// its user-signing key on the master key of somebody else. Each is verified
// before it is stored, and one that is wrong hurts only itself.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload
func (s *Server) UploadSignatures(ctx context.Context, user matrix.UserID, up SignatureUpload) (SignatureFailures, error) {
	count := 0
	for target, list := range up {
		if _, err := matrix.ParseUserID(string(target)); err != nil {
			return nil, err
		}
		count += len(list)
	}
	if count > maxSignatures {
		return nil, matrix.TooLarge("an upload has at most %d signatures", maxSignatures)
	}
	if err := s.fetchMasters(ctx, user, up); err != nil {
		return nil, err
	}
	for range maxAttempts {
		failures, err := s.trySignatures(ctx, user, up)
		if !errors.Is(err, storage.ErrConflict) {
			return failures, err
		}
	}
	return nil, storage.ErrConflict
}

// trySignatures verifies outside of the commit, which everybody waits for, and
// stores if the keys are still the same then.
func (s *Server) trySignatures(ctx context.Context, user matrix.UserID, up SignatureUpload) (SignatureFailures, error) {
	targets := slices.Sorted(maps.Keys(up))
	var ring keyring
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		ring, err = loadKeyring(ctx, r, user, targets)
		return err
	})
	if err != nil {
		return nil, err
	}
	failures, good := SignatureFailures{}, []keys.Signature{}
	for _, target := range targets {
		for name, raw := range up[target] {
			list, err := ring.verify(target, name, raw)
			if err != nil {
				if failures[target] == nil {
					failures[target] = map[string]Failure{}
				}
				failures[target][name] = failure(err)
			}
			good = append(good, list...)
		}
	}
	if len(good) == 0 {
		return failures, nil
	}
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		now, err := loadKeyring(ctx, &tx.Reader, user, targets)
		if err != nil {
			return err
		}
		if !now.equal(ring) {
			return storage.ErrConflict
		}
		return ring.store(ctx, tx, good)
	})
	return failures, err
}

// fetchMasters asks for the master keys of remote accounts that are signed.
func (s *Server) fetchMasters(ctx context.Context, user matrix.UserID, up SignatureUpload) error {
	q := Query{DeviceKeys: map[matrix.UserID][]matrix.DeviceID{}}
	for target := range up {
		if !s.isLocal(target) {
			q.DeviceKeys[target] = nil
		}
	}
	if len(q.DeviceKeys) == 0 {
		return nil
	}
	result, err := s.Query(ctx, user, q)
	if err != nil {
		return err
	}
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		for target := range q.DeviceKeys {
			k, _, err := parseCrossSigning(result.MasterKeys[target], target, keys.Master)
			if err != nil {
				continue // there is none; the signature will be refused
			}
			if err := keys.SetCrossSigningKey(ctx, tx, k); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// keyring is the keys that signatures of one account are about.
type keyring struct {
	user       matrix.UserID
	identities map[matrix.DeviceID]string                        // of the devices of the account
	signing    map[matrix.UserID]map[string]keys.CrossSigningKey // of it and the others, by usage
}

func loadKeyring(ctx context.Context, r *storage.Reader, user matrix.UserID, targets []matrix.UserID) (keyring, error) {
	ring := keyring{user, map[matrix.DeviceID]string{}, map[matrix.UserID]map[string]keys.CrossSigningKey{}}
	devices, err := keys.AllDeviceKeys(ctx, r, []matrix.UserID{user})
	if err != nil {
		return ring, err
	}
	for _, d := range devices {
		ring.identities[d.Device] = d.JSON
	}
	all, err := keys.CrossSigningKeys(ctx, r, append([]matrix.UserID{user}, targets...))
	for _, k := range all {
		if ring.signing[k.User] == nil {
			ring.signing[k.User] = map[string]keys.CrossSigningKey{}
		}
		ring.signing[k.User][k.Usage] = k
	}
	return ring, err
}

func (k keyring) equal(other keyring) bool {
	return maps.Equal(k.identities, other.identities) &&
		maps.EqualFunc(k.signing, other.signing, maps.Equal[map[string]keys.CrossSigningKey, map[string]keys.CrossSigningKey])
}

// devices returns the public keys of the devices of the account.
func (k keyring) devices() map[matrix.KeyID]string {
	list := make(map[matrix.KeyID]string, len(k.identities))
	for device, json := range k.identities {
		id := "ed25519:" + string(device)
		key, _ := canonicaljson.Unquote(canonicaljson.Field(canonicaljson.Field([]byte(json), "keys"), id))
		list[matrix.KeyID(id)] = key
	}
	return list
}

// find returns a key that may be signed: a device of one's own, or a master
// key.
func (k keyring) find(target matrix.UserID, name string) (object []byte, device bool) {
	if master := k.signing[target][keys.Master]; master.PublicKey == name {
		return []byte(master.JSON), false
	}
	if target == k.user {
		return []byte(k.identities[matrix.DeviceID(name)]), true
	}
	return nil, false
}

// signers returns the keys that may sign a key of target.
func (k keyring) signers(target matrix.UserID, device bool) map[matrix.KeyID]string {
	usage := keys.UserSigning
	switch {
	case target == k.user && !device:
		return k.devices() // they vouch for the master key
	case target == k.user:
		usage = keys.SelfSigning
	}
	public := k.signing[k.user][usage].PublicKey
	if public == "" {
		return nil
	}
	return map[matrix.KeyID]string{matrix.KeyID("ed25519:" + public): public}
}

// verify returns the good signatures on a key. The error is for the client.
//
// https://spec.matrix.org/v1.19/client-server-api/#key-and-signature-security
func (k keyring) verify(target matrix.UserID, name string, raw json.RawMessage) ([]keys.Signature, error) {
	object, err := canonicalObject(raw, maxDeviceKeysBytes)
	if err != nil {
		return nil, err
	}
	stored, device := k.find(target, name)
	if len(stored) == 0 {
		return nil, matrix.NotFound("there is no such key to be signed")
	}
	if string(withSignatures(object, nil)) != string(withSignatures(stored, nil)) {
		return nil, matrix.InvalidParam("this is not the key that was published")
	}
	var list []keys.Signature
	for id, key := range k.signers(target, device) {
		sig, ok := signing.Signature(canonicaljson.Field(object, "signatures"), string(k.user), id)
		if !ok {
			continue
		}
		pub, err := publicKey(key)
		if err != nil || signing.Verify(object, string(k.user), id, pub) != nil {
			return nil, invalidSignature("the signature by %s is wrong", clip(string(id)))
		}
		list = append(list, keys.Signature{TargetUser: target, TargetKey: name, Signer: k.user, SignerKey: id, Signature: sig})
	}
	if len(list) == 0 {
		return nil, invalidSignature("there is no signature by a key of %s that may sign this", k.user)
	}
	return list, nil
}

// store stores signatures and tells those who can see them.
func (k keyring) store(ctx context.Context, tx *storage.Tx, list []keys.Signature) error {
	type place struct {
		user   matrix.UserID
		device matrix.DeviceID
	}
	changed := map[place]bool{}
	for _, sig := range list {
		added, err := keys.AddSignature(ctx, tx, sig)
		if err != nil {
			return err
		}
		if !added {
			continue
		}
		at := place{user: sig.TargetUser}
		if _, device := k.find(sig.TargetUser, sig.TargetKey); device {
			at.device = matrix.DeviceID(sig.TargetKey)
		}
		changed[at] = true
	}
	for at := range changed {
		var err error
		if at.user == k.user {
			err = keys.Changed(ctx, tx, at.user, at.device)
		} else {
			err = keys.ChangedFor(ctx, tx, at.user, k.user)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
