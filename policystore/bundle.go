package policystore

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/signing"
	"beffroi/policy"
)

// MaxBundleBytes is the largest bundle: the largest document, and room for
// signatures.
const MaxBundleBytes = policy.MaxDocumentBytes + 64<<10

// bundleType keeps a bundle from being taken for another signed object, and
// another for a bundle.
const bundleType = "org.beffroi.policy.bundle.v1"

// Trust says whose bundles are believed: those of one issuer, signed with one
// of its keys.
type Trust struct {
	Issuer string
	Keys   map[matrix.KeyID]ed25519.PublicKey
}

// ParseTrust reads pinned keys of the form "ed25519:a1 BASE64", which
// beffroi policy export prints.
func ParseTrust(issuer string, pins []string) (*Trust, error) {
	t := &Trust{Issuer: issuer, Keys: make(map[matrix.KeyID]ed25519.PublicKey, len(pins))}
	for _, pin := range pins {
		id, text, _ := strings.Cut(strings.TrimSpace(pin), " ")
		keyID, err := matrix.ParseKeyID(id)
		raw, decodeErr := signing.DecodeBase64(strings.TrimSpace(text))
		if err != nil || keyID.Algorithm() != "ed25519" || decodeErr != nil || len(raw) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%q is not a key such as \"ed25519:a1 BASE64\"", pin)
		}
		t.Keys[keyID] = raw
	}
	if issuer == "" || len(t.Keys) == 0 {
		return nil, errors.New("an issuer and at least one of its keys are needed")
	}
	return t, nil
}

type bundle struct {
	Type     string          `json:"type"`
	Issuer   string          `json:"issuer"`
	Version  int64           `json:"version"`
	Document json.RawMessage `json:"document"`
}

// SignBundle returns a document as a bundle that is signed for its issuer:
// canonical JSON with an ed25519 signature. The server of the key is not used.
func SignBundle(doc *policy.Document, key signing.Key) ([]byte, error) {
	if doc.Issuer == "" {
		return nil, errors.New("the document names no issuer to sign for")
	}
	raw, _, err := canonical(doc)
	if err != nil {
		return nil, err
	}
	whole, err := canonicaljson.Marshal(bundle{bundleType, doc.Issuer, doc.Version, raw})
	if err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	key.Server = matrix.ServerName(doc.Issuer)
	return signing.Sign(whole, key)
}

// ReadBundle returns the document of a bundle that a trusted key has signed.
// The error says what is wrong with it.
func ReadBundle(raw []byte, trust *Trust) (*policy.Document, error) {
	if len(raw) > MaxBundleBytes {
		return nil, fmt.Errorf("the bundle is larger than %d bytes", MaxBundleBytes)
	}
	if err := trust.verify(raw); err != nil {
		return nil, err
	}
	return bundled(raw, trust.Issuer)
}

func (t *Trust) verify(raw []byte) error {
	last := fmt.Errorf("no pinned key of %s has signed the bundle", t.Issuer)
	for _, id := range signing.SignatureIDs(raw, t.Issuer) {
		key, pinned := t.Keys[id]
		if !pinned {
			continue
		}
		err := signing.Verify(raw, t.Issuer, id, key)
		if err == nil {
			return nil
		}
		last = fmt.Errorf("the signature of %s is wrong: %w", t.Issuer, err)
	}
	return last
}

// bundled reads a bundle whose signature was checked.
func bundled(raw []byte, issuer string) (*policy.Document, error) {
	raw, err := canonicaljson.Canonicalise(raw, canonicaljson.Strict)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	var b bundle
	if err := json.Unmarshal(raw, &b); err != nil || b.Type != bundleType {
		return nil, errors.New("this is not a policy bundle")
	}
	doc, err := policy.ParseDocument(b.Document)
	switch {
	case err != nil:
		return nil, err
	case doc.Issuer != issuer || b.Issuer != issuer:
		return nil, fmt.Errorf("the document is of issuer %q, not of %q", doc.Issuer, issuer)
	case doc.Version != b.Version:
		return nil, errors.New("the version of the bundle is not that of its document")
	}
	return doc, nil
}
