package e2ee

import (
	"context"
	"encoding/json"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/users"
)

// CrossSigning is the cross-signing keys that an account publishes.
type CrossSigning struct {
	Master      json.RawMessage `json:"master_key"`
	SelfSigning json.RawMessage `json:"self_signing_key"`
	UserSigning json.RawMessage `json:"user_signing_key"`
}

// checkedCrossSigning is such keys with good signatures.
type checkedCrossSigning struct {
	list   []keys.CrossSigningKey // the master key, if it is there, first
	object []byte                 // the master key as it was sent
}

// NeedsAuth reports whether an upload needs user-interactive authentication:
// it does if it would replace or add a key where there is a master key. Wrong
// keys are refused here already.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload
func (s *Server) NeedsAuth(ctx context.Context, user matrix.UserID, up CrossSigning) (needs bool, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		c, have, err := checkCrossSigning(ctx, r, user, up)
		needs = c.needsAuth(have)
		return err
	})
	return needs, err
}

// UploadCrossSigning stores the cross-signing keys of an account. authorised
// says that the client has authenticated for it; where that is needed and did
// not happen it is M_FORBIDDEN. Keys that the old master key signed and that
// are not replaced with it go.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload
func (s *Server) UploadCrossSigning(ctx context.Context, user matrix.UserID, up CrossSigning, authorised bool) error {
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		c, have, err := checkCrossSigning(ctx, &tx.Reader, user, up)
		if err != nil {
			return err
		}
		if !authorised && c.needsAuth(have) {
			return matrix.Forbidden("replacing cross-signing keys needs authentication")
		}
		fresh := c.fresh(have)
		if len(fresh) == 0 {
			return nil
		}
		return c.write(ctx, tx, user, fresh)
	})
	return err
}

// checkCrossSigning verifies an upload against the keys that are stored.
func checkCrossSigning(ctx context.Context, r *storage.Reader, user matrix.UserID, up CrossSigning) (c checkedCrossSigning, have map[string]keys.CrossSigningKey, err error) {
	stored, err := keys.CrossSigningKeys(ctx, r, []matrix.UserID{user})
	if err != nil {
		return c, nil, err
	}
	have = map[string]keys.CrossSigningKey{}
	for _, k := range stored {
		have[k.Usage] = k
	}
	master, known := have[keys.Master]
	if present(up.Master) {
		if master, c.object, err = parseCrossSigning(up.Master, user, keys.Master); err != nil {
			return c, nil, err
		}
		known = true
		c.list = append(c.list, master)
	}
	for _, other := range []struct {
		usage string
		raw   json.RawMessage
	}{{keys.SelfSigning, up.SelfSigning}, {keys.UserSigning, up.UserSigning}} {
		if !present(other.raw) {
			continue
		}
		k, object, err := parseCrossSigning(other.raw, user, other.usage)
		if err != nil {
			return c, nil, err
		}
		if !known {
			return c, nil, matrix.MissingParam("there is no master key")
		}
		sig, err := signedBy(object, user, master.PublicKey)
		if err != nil {
			return c, nil, err
		}
		k.JSON = string(addSignature([]byte(k.JSON), user, matrix.KeyID("ed25519:"+master.PublicKey), sig))
		c.list = append(c.list, k)
	}
	return c, have, c.distinct(ctx, r, user)
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// distinct refuses keys that are called like a device: clients could not tell
// them apart.
func (c *checkedCrossSigning) distinct(ctx context.Context, r *storage.Reader, user matrix.UserID) error {
	devices, err := users.Devices(ctx, r, user)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, d := range devices {
		names[string(d.ID)] = true
	}
	for _, k := range c.list {
		if names[k.PublicKey] {
			return matrix.Forbidden("Key ID in use")
		}
		names[k.PublicKey] = true // and each usage has a key of its own
	}
	return nil
}

func (c *checkedCrossSigning) needsAuth(have map[string]keys.CrossSigningKey) bool {
	_, master := have[keys.Master]
	return master && len(c.fresh(have)) > 0
}

// fresh returns the keys that are not stored yet.
func (c *checkedCrossSigning) fresh(have map[string]keys.CrossSigningKey) (list []keys.CrossSigningKey) {
	for _, k := range c.list {
		if have[k.Usage].PublicKey != k.PublicKey {
			list = append(list, k)
		}
	}
	return list
}

func (c *checkedCrossSigning) write(ctx context.Context, tx *storage.Tx, user matrix.UserID, fresh []keys.CrossSigningKey) error {
	masterSignatures, err := deviceSignatures(ctx, tx, user, c.object)
	if err != nil {
		return err
	}
	if fresh[0].Usage == keys.Master {
		for _, usage := range []string{keys.SelfSigning, keys.UserSigning} {
			if err := keys.DeleteCrossSigningKey(ctx, tx, user, usage, ""); err != nil {
				return err
			}
		}
		fresh = c.list
	}
	for _, k := range fresh {
		if err := keys.SetCrossSigningKey(ctx, tx, k); err != nil {
			return err
		}
	}
	for _, sig := range masterSignatures {
		if _, err := keys.AddSignature(ctx, tx, sig); err != nil {
			return err
		}
	}
	return keys.Changed(ctx, tx, user, "")
}

// deviceSignatures returns the good signatures of the account's own devices on
// a master key. What others signed is stored nowhere.
func deviceSignatures(ctx context.Context, tx *storage.Tx, user matrix.UserID, object []byte) (list []keys.Signature, err error) {
	if object == nil {
		return nil, nil
	}
	ring, err := loadKeyring(ctx, &tx.Reader, user, nil)
	if err != nil {
		return nil, err
	}
	for id, key := range ring.devices() {
		sig, ok := signing.Signature(canonicaljson.Field(object, "signatures"), string(user), id)
		pub, err := publicKey(key)
		if !ok || err != nil || signing.Verify(object, string(user), id, pub) != nil {
			continue
		}
		list = append(list, keys.Signature{TargetUser: user, TargetKey: publicOf(object), Signer: user, SignerKey: id, Signature: sig})
	}
	return list, nil
}
