package e2ee

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/signing"
	"beffroi/storage/keys"
)

const (
	// maxDeviceKeysBytes bounds the identity keys of a device. Real ones have
	// 800 bytes.
	maxDeviceKeysBytes = 16 << 10
	// maxCrossSigningBytes bounds a cross-signing key. Real ones have 500 bytes.
	maxCrossSigningBytes = 16 << 10
	// maxOneTimeKeyBytes bounds a one-time key. Real ones have 300 bytes.
	maxOneTimeKeyBytes = 4 << 10
	// maxAlgorithms and maxDeviceKeyCount bound the lists in identity keys.
	maxAlgorithms     = 32
	maxDeviceKeyCount = 16
)

// identity is the checked identity keys of a device.
type identity struct {
	json    []byte // canonical, without unsigned and with the signatures that count
	ed25519 ed25519.PublicKey
	public  string // the ed25519 and curve25519 keys, to compare
}

// parseIdentity checks the identity keys of a device, its own signature
// included.
//
// https://spec.matrix.org/v1.19/client-server-api/#device-keys
func parseIdentity(raw json.RawMessage, user matrix.UserID, device matrix.DeviceID) (identity, error) {
	canonical, err := canonicalObject(raw, maxDeviceKeysBytes)
	if err != nil {
		return identity{}, err
	}
	var fields struct {
		UserID     matrix.UserID                             `json:"user_id"`
		DeviceID   matrix.DeviceID                           `json:"device_id"`
		Algorithms []string                                  `json:"algorithms"`
		Keys       map[string]string                         `json:"keys"`
		Signatures map[matrix.UserID]map[matrix.KeyID]string `json:"signatures"`
	}
	if err := json.Unmarshal(canonical, &fields); err != nil {
		return identity{}, matrix.BadJSON("the keys of a device are not of the form of device keys")
	}
	switch {
	case fields.UserID != user || fields.DeviceID != device:
		return identity{}, matrix.InvalidParam("the keys are of %s %s and not of %s %s", fields.UserID, fields.DeviceID, user, device)
	case fields.Algorithms == nil || len(fields.Algorithms) > maxAlgorithms:
		return identity{}, matrix.InvalidParam("a device has a list of at most %d algorithms", maxAlgorithms)
	case len(fields.Keys) > maxDeviceKeyCount:
		return identity{}, matrix.InvalidParam("a device has at most %d keys", maxDeviceKeyCount)
	}
	signer := "ed25519:" + string(device)
	pub, err := publicKey(fields.Keys[signer])
	if err != nil {
		return identity{}, matrix.InvalidParam("the device has no ed25519 key")
	}
	for id, key := range fields.Keys {
		algorithm, name, _ := strings.Cut(id, ":")
		if name != string(device) {
			return identity{}, matrix.InvalidParam("the key %q is not one of the device", clip(id))
		}
		if _, err := publicKey(key); err != nil && (algorithm == "ed25519" || algorithm == "curve25519") {
			return identity{}, matrix.InvalidParam("the key %q is not 32 bytes of base64", clip(id))
		}
	}
	if err := signing.Verify(canonical, string(user), matrix.KeyID(signer), pub); err != nil {
		return identity{}, invalidSignature("the keys of %s are not signed by the device", device)
	}
	return identity{
		json: withSignatures(canonical, map[matrix.UserID]map[matrix.KeyID]string{
			user: {matrix.KeyID(signer): fields.Signatures[user][matrix.KeyID(signer)]}}),
		ed25519: pub, public: fields.Keys[signer] + " " + fields.Keys["curve25519:"+string(device)],
	}, nil
}

// parseCrossSigning checks a cross-signing key but not its signatures, which
// are left out of the result.
//
// https://spec.matrix.org/v1.19/client-server-api/#cross-signing
func parseCrossSigning(raw json.RawMessage, user matrix.UserID, usage string) (keys.CrossSigningKey, []byte, error) {
	none := keys.CrossSigningKey{}
	canonical, err := canonicalObject(raw, maxCrossSigningBytes)
	if err != nil {
		return none, nil, err
	}
	var fields struct {
		UserID matrix.UserID           `json:"user_id"`
		Usage  []string                `json:"usage"`
		Keys   map[matrix.KeyID]string `json:"keys"`
	}
	if err := json.Unmarshal(canonical, &fields); err != nil {
		return none, nil, matrix.BadJSON("a cross-signing key is not of its form")
	}
	switch {
	case fields.UserID != user:
		return none, nil, matrix.InvalidParam("the key is of %s and not of %s", fields.UserID, user)
	case len(fields.Usage) != 1 || fields.Usage[0] != usage:
		return none, nil, matrix.InvalidParam("the usage of the key must be %s alone", usage)
	case len(fields.Keys) != 1:
		return none, nil, matrix.InvalidParam("a cross-signing key is one key")
	}
	for id, key := range fields.Keys {
		if _, err := publicKey(key); err != nil || string(id) != "ed25519:"+key {
			return none, nil, matrix.InvalidParam("a cross-signing key is an ed25519 key under its own name")
		}
		return keys.CrossSigningKey{User: user, Usage: usage, PublicKey: key,
			JSON: string(withSignatures(canonical, nil))}, canonical, nil
	}
	return none, nil, nil // there is one key
}

// signedBy returns the signature on an object by an ed25519 key that is named
// after itself, verified, or M_INVALID_SIGNATURE.
func signedBy(object []byte, user matrix.UserID, public string) (string, error) {
	id := matrix.KeyID("ed25519:" + public)
	pub, err := publicKey(public)
	if err == nil {
		err = signing.Verify(object, string(user), id, pub)
	}
	if err != nil {
		return "", invalidSignature("the key is not signed by %s", clip(string(id)))
	}
	sig, _ := signing.Signature(canonicaljson.Field(object, "signatures"), string(user), id)
	return sig, nil
}

// publicKey decodes a key, which must be in the one form of unpadded base64:
// elsewhere it is a name.
func publicKey(text string) (ed25519.PublicKey, error) {
	key, err := signing.DecodeBase64(text)
	if err != nil || len(key) != ed25519.PublicKeySize || signing.EncodeBase64(key) != text {
		return nil, matrix.InvalidParam("this is not a key of 32 bytes in unpadded base64")
	}
	return key, nil
}

// parseOneTimeKey checks a one-time or fallback key. signer is the identity of
// the device, which signs them.
//
// https://spec.matrix.org/v1.19/client-server-api/#one-time-and-fallback-keys
func parseOneTimeKey(name string, raw json.RawMessage, user matrix.UserID, device matrix.DeviceID, signer ed25519.PublicKey) (keys.OneTimeKey, error) {
	algorithm, id, _ := strings.Cut(name, ":")
	if !plain(id) || !plain(name) {
		return keys.OneTimeKey{}, matrix.InvalidParam("a key is named after its algorithm and its ID")
	}
	key := keys.OneTimeKey{Slot: keys.SlotOf(user, device, algorithm), ID: id}
	if len(raw) > maxOneTimeKeyBytes {
		return key, matrix.TooLarge("a one-time key has at most %d bytes", maxOneTimeKeyBytes)
	}
	canonical, err := canonicaljson.Canonicalise(raw, canonicaljson.Strict)
	if err != nil {
		return key, err
	}
	key.JSON = string(canonical)
	switch algorithm {
	case "curve25519":
		text, ok := canonicaljson.Unquote(canonical)
		if _, err := publicKey(text); !ok || err != nil {
			return key, matrix.InvalidParam("a curve25519 key is 32 bytes in unpadded base64")
		}
		return key, nil
	case "signed_curve25519":
		text, _ := canonicaljson.Unquote(canonicaljson.Field(canonical, "key"))
		if _, err := publicKey(text); err != nil {
			return key, matrix.InvalidParam("key must be 32 bytes in unpadded base64")
		}
		if signer == nil {
			return key, matrix.InvalidParam("the device has no keys yet with which this one could be signed")
		}
		if signing.Verify(canonical, string(user), matrix.KeyID("ed25519:"+string(device)), signer) != nil {
			return key, invalidSignature("the key is not signed by the device")
		}
		return key, nil
	}
	return key, matrix.InvalidParam("%q is not an algorithm of one-time keys", clip(algorithm))
}

// sameKey reports whether two one-time keys are the same but for signatures:
// a client may sign a key again.
func sameKey(a, b string) bool {
	if a == b {
		return true
	}
	x := canonicaljson.Field([]byte(a), "key")
	return x != nil && string(x) == string(canonicaljson.Field([]byte(b), "key"))
}

// canonicalObject returns an object in the form in which it is signed.
func canonicalObject(raw json.RawMessage, maxBytes int) ([]byte, error) {
	if len(raw) > maxBytes {
		return nil, matrix.TooLarge("the keys are longer than %d bytes", maxBytes)
	}
	canonical, err := canonicaljson.Canonicalise(raw, canonicaljson.Strict)
	if err != nil {
		return nil, err
	}
	if canonical[0] != '{' {
		return nil, matrix.BadJSON("keys are an object")
	}
	return canonical, nil
}

// withSignatures returns a canonical object with other signatures and without
// unsigned.
func withSignatures(object []byte, signatures map[matrix.UserID]map[matrix.KeyID]string) []byte {
	out := append(make([]byte, 0, len(object)), '{')
	c := canonicaljson.Object(object)
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		if string(m.Key) == "signatures" || string(m.Key) == "unsigned" {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, m.Raw...)
	}
	out = append(out, '}')
	if len(signatures) == 0 {
		return out
	}
	var all []byte
	for user, list := range signatures {
		for id, sig := range list {
			all = signing.AddSignature(all, matrix.ServerName(user), id, sig)
		}
	}
	return canonicaljson.SetField(out, "signatures", all)
}

// addSignature returns a canonical object with one more signature.
func addSignature(object []byte, user matrix.UserID, id matrix.KeyID, sig string) []byte {
	signatures := canonicaljson.Field(object, "signatures")
	return canonicaljson.SetField(object, "signatures", signing.AddSignature(signatures, matrix.ServerName(user), id, sig))
}

// clip bounds what a message repeats of an input.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
