// Package signing signs and verifies JSON and federation requests.
package signing

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strings"

	"beffroi/matrix"
)

// Algorithm is the only signature algorithm there is.
//
// https://spec.matrix.org/v1.19/appendices/#signing-details
const Algorithm = "ed25519"

// PolicyServerKeyID is the key ID of policy servers. It is published nowhere
// and says nothing about the server that sent an event.
//
// https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures
const PolicyServerKeyID matrix.KeyID = Algorithm + ":policy_server"

// Key is a private key and in whose name it signs.
//
// https://spec.matrix.org/v1.19/appendices/#signing-details
type Key struct {
	Server  matrix.ServerName
	ID      matrix.KeyID
	Private ed25519.PrivateKey
}

// NewKey makes a key from the system's randomness. Its ID is ed25519:version;
// a version is of [a-zA-Z0-9_].
//
// https://spec.matrix.org/v1.19/appendices/#cryptographic-key-representation
func NewKey(server matrix.ServerName, version string) (Key, error) {
	id, err := matrix.ParseKeyID(Algorithm + ":" + version)
	if err != nil {
		return Key{}, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make signing key: %w", err)
	}
	return Key{Server: server, ID: id, Private: private}, nil
}

// Public returns the public key.
func (k Key) Public() ed25519.PublicKey {
	public, _ := k.Private.Public().(ed25519.PublicKey)
	return public
}

// EncodeSeed returns the key as a line for a key file: "ed25519 a1 <seed>".
func EncodeSeed(key Key) string {
	return Algorithm + " " + key.ID.Name() + " " + EncodeBase64(key.Private.Seed())
}

// DecodeSeed reads a line that EncodeSeed, or another homeserver, wrote.
// The text of the line is in no error: it is a secret.
func DecodeSeed(server matrix.ServerName, line string) (Key, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != Algorithm {
		return Key{}, fmt.Errorf("signing key: want \"%s <version> <seed>\"", Algorithm)
	}
	id, err := matrix.ParseKeyID(Algorithm + ":" + fields[1])
	if err != nil {
		return Key{}, fmt.Errorf("signing key: %w", err)
	}
	seed, err := DecodeBase64(fields[2])
	if err != nil || len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("signing key: the seed is not %d bytes of base64", ed25519.SeedSize)
	}
	return Key{Server: server, ID: id, Private: ed25519.NewKeyFromSeed(seed)}, nil
}
