package keyring

import (
	"crypto/ed25519"
	"encoding/json"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/signing"
	"beffroi/storage/peers"
)

const (
	// maxKeys is how many keys of one server are read. One that changes its
	// key every month has as many after eight years.
	maxKeys = 100
	// maxValidity is for how long a published key is believed: afterwards its
	// owner must have had the chance to take it back.
	//
	// https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
	maxValidity = 7 * 24 * time.Hour
	// ownValidity is for how long our own answer may be kept.
	ownValidity = 24 * time.Hour
	// ownRefresh is when our own answer is signed anew, long before it expires.
	ownRefresh = time.Hour
)

// keyJSON is a key in an answer.
type keyJSON struct {
	Key       string `json:"key"`
	ExpiredTS int64  `json:"expired_ts,omitempty"`
}

// answerJSON is what a server says about its keys.
type answerJSON struct {
	ServerName    matrix.ServerName        `json:"server_name"`
	VerifyKeys    map[matrix.KeyID]keyJSON `json:"verify_keys"`
	OldVerifyKeys map[matrix.KeyID]keyJSON `json:"old_verify_keys"`
	ValidUntilTS  int64                    `json:"valid_until_ts"`
}

// answer is the verified answer of a server about its keys.
type answer struct {
	peers.KeyAnswer
	keys []peers.Key
}

// parseAnswer verifies what a server says about its keys: it must be about
// that server and signed with a key that it publishes. A published key that
// has not signed it is left out, and one whose signature is wrong spoils the
// answer. Errors are M_UNAUTHORIZED.
func parseAnswer(raw []byte, server matrix.ServerName, now time.Time) (answer, error) {
	canonical, err := canonicaljson.Canonicalise(raw, canonicaljson.Normal)
	if err != nil {
		return answer{}, matrix.Unauthorized("the keys of %s are not canonical JSON", server)
	}
	var in answerJSON
	if err := json.Unmarshal(canonical, &in); err != nil {
		return answer{}, matrix.Unauthorized("the keys of %s are malformed", server)
	}
	switch {
	case in.ServerName.Normalise() != server.Normalise():
		return answer{}, matrix.Unauthorized("the keys of %s are those of another server", server)
	case len(in.VerifyKeys)+len(in.OldVerifyKeys) > maxKeys:
		return answer{}, matrix.Unauthorized("%s publishes more than %d keys", server, maxKeys)
	}
	validUntil := min(in.ValidUntilTS, now.Add(maxValidity).UnixMilli())
	out := answer{KeyAnswer: peers.KeyAnswer{JSON: canonical, ValidUntil: validUntil, FetchedAt: now.UnixMilli()}}
	if out.keys, err = verifyKeys(canonical, in, validUntil); err != nil {
		return answer{}, err
	}
	for id, k := range in.OldVerifyKeys {
		public, ok := publicKey(id, k.Key)
		if _, current := in.VerifyKeys[id]; ok && !current {
			out.keys = append(out.keys, peers.Key{ID: id, Public: public, ValidUntil: min(k.ExpiredTS, now.UnixMilli()), Expired: true})
		}
	}
	return out, nil
}

// verifyKeys returns the published keys that have signed the answer.
func verifyKeys(canonical []byte, in answerJSON, validUntil int64) (keys []peers.Key, err error) {
	signed := make(map[matrix.KeyID]bool)
	for _, id := range signing.SignatureIDs(canonical, string(in.ServerName)) {
		signed[id] = true
	}
	for id, k := range in.VerifyKeys {
		public, ok := publicKey(id, k.Key)
		if !ok || !signed[id] {
			continue
		}
		if err := signing.Verify(canonical, string(in.ServerName), id, public); err != nil {
			return nil, err
		}
		keys = append(keys, peers.Key{ID: id, Public: public, ValidUntil: validUntil})
	}
	if len(keys) == 0 {
		return nil, matrix.Unauthorized("%s has not signed its keys with one of them", in.ServerName)
	}
	return keys, nil
}

// publicKey reads a key of the one algorithm there is.
func publicKey(id matrix.KeyID, text string) (ed25519.PublicKey, bool) {
	if _, err := matrix.ParseKeyID(string(id)); err != nil || id.Algorithm() != signing.Algorithm {
		return nil, false
	}
	public, err := signing.DecodeBase64(text)
	return public, err == nil && len(public) == ed25519.PublicKeySize
}

// ownAnswer is the answer of this server about its own keys.
func ownAnswer(own Own, now time.Time) (answer, error) {
	body := answerJSON{
		ServerName:    own.Current.Server,
		VerifyKeys:    map[matrix.KeyID]keyJSON{own.Current.ID: {Key: signing.EncodeBase64(own.Current.Public())}},
		OldVerifyKeys: make(map[matrix.KeyID]keyJSON, len(own.Old)),
		ValidUntilTS:  now.Add(ownValidity).UnixMilli(),
	}
	keys := []peers.Key{{ID: own.Current.ID, Public: own.Current.Public(), ValidUntil: body.ValidUntilTS}}
	for _, old := range own.Old {
		body.OldVerifyKeys[old.ID] = keyJSON{Key: signing.EncodeBase64(old.Public), ExpiredTS: old.ExpiredTS}
		keys = append(keys, peers.Key{ID: old.ID, Public: old.Public, ValidUntil: old.ExpiredTS, Expired: true})
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return answer{}, err
	}
	signed, err := signing.Sign(raw, own.Current)
	return answer{
		KeyAnswer: peers.KeyAnswer{JSON: signed, ValidUntil: body.ValidUntilTS, FetchedAt: now.UnixMilli()}, keys: keys,
	}, err
}
