package media

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"beffroi/matrix"
)

// SealedBody is a request that only this server can read: its clients do not
// trust the proxies on the way with the keys of attachments.
type SealedBody struct {
	Ciphertext string `json:"ciphertext"`
	MAC        string `json:"mac"`
	Ephemeral  string `json:"ephemeral"`
}

// The lengths of what the agreed secret becomes, and of the part of the MAC
// that is sent.
const (
	sealKeys = 32 + 32 + aes.BlockSize
	sealMAC  = 8
)

// PublicKey returns the Curve25519 key for [SealedBody], in unpadded base64.
func (s *Server) PublicKey() string {
	return base64.RawStdEncoding.EncodeToString(s.seal.PublicKey().Bytes())
}

// Unseal returns what is in a sealed body. One that is for another key is
// M_FORBIDDEN with MCS_BAD_DECRYPTION: then the client asks for the key again.
//
// libolm made the MAC of nothing instead of the ciphertext, and what it made is
// still in use, so both are taken: the key of the attachment, which is inside,
// proves more than either.
func (s *Server) Unseal(body SealedBody) ([]byte, error) {
	bad := matrix.NewError(http.StatusForbidden, "M_FORBIDDEN", "The body cannot be decrypted: ask for the public key again").
		With("reason", "MCS_BAD_DECRYPTION")
	ciphertext, err1 := decode64(body.Ciphertext)
	mac, err2 := decode64(body.MAC)
	ephemeral, err3 := decode64(body.Ephemeral)
	if err1 != nil || err2 != nil || err3 != nil {
		return nil, matrix.BadJSON("ciphertext, mac and ephemeral must be unpadded base64")
	}
	theirs, err := ecdh.X25519().NewPublicKey(ephemeral)
	if err != nil {
		return nil, bad
	}
	secret, err := s.seal.ECDH(theirs)
	if err != nil {
		return nil, bad
	}
	keys, err := hkdf.Key(sha256.New, secret, nil, "", sealKeys)
	if err != nil {
		return nil, err
	}
	if !equal(mac, sealedMAC(keys[32:64], ciphertext)) && !equal(mac, sealedMAC(keys[32:64], nil)) {
		return nil, bad
	}
	if len(ciphertext) == 0 || len(ciphertext)%aes.BlockSize != 0 {
		return nil, bad
	}
	block, err := aes.NewCipher(keys[:32])
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(block, keys[64:]).CryptBlocks(plain, ciphertext)
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > aes.BlockSize {
		return nil, bad
	}
	for _, b := range plain[len(plain)-padding:] {
		if int(b) != padding {
			return nil, bad
		}
	}
	return plain[:len(plain)-padding], nil
}

func sealedMAC(key, ciphertext []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(ciphertext)
	return mac.Sum(nil)[:sealMAC]
}

func decode64(s string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
}
