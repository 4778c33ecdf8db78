package media

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"beffroi/matrix"
	"beffroi/storage/files"
)

// opened is an attachment that can be decrypted.
type opened struct {
	mxc     matrix.MXC
	hash    []byte // of what is stored
	key, iv []byte
}

// open checks an attachment. What it lacks is M_BAD_JSON; no value of it is in
// the error.
func open(e matrix.EncryptedFile) (*opened, error) {
	mxc, err := e.MXC()
	if err != nil {
		return nil, err
	}
	out := &opened{mxc: mxc}
	var errs [3]error
	out.key, errs[0] = base64.RawURLEncoding.DecodeString(strings.TrimRight(e.Key.Key, "="))
	out.iv, errs[1] = base64.RawStdEncoding.DecodeString(strings.TrimRight(e.IV, "="))
	out.hash, errs[2] = base64.RawStdEncoding.DecodeString(strings.TrimRight(e.Hashes["sha256"], "="))
	switch {
	case e.Version != "v2":
		return nil, matrix.BadJSON("file.v must be v2")
	case e.Key.Type != "oct" || e.Key.Algorithm != "A256CTR" || !e.Key.Ext ||
		!slices.Contains(e.Key.Operations, "encrypt") || !slices.Contains(e.Key.Operations, "decrypt"):
		return nil, matrix.BadJSON("file.key must be an oct key for A256CTR that may encrypt, decrypt and be taken out")
	case errs[0] != nil || len(out.key) != 32:
		return nil, matrix.BadJSON("file.key.k must be 32 bytes in unpadded base64 for URLs")
	case errs[1] != nil || len(out.iv) != aes.BlockSize:
		return nil, matrix.BadJSON("file.iv must be 16 bytes in unpadded base64")
	case errs[2] != nil || len(out.hash) != sha256.Size:
		return nil, matrix.BadJSON("the SHA-256 of the file must be 32 bytes in unpadded base64")
	}
	return out, nil
}

// Scans reports whether files are scanned here.
func (s *Server) Scans() bool { return s.Scanner != nil }

// OpenEncrypted opens an encrypted attachment, still encrypted, once nothing
// was found in it. See [Server.ScanEncrypted].
func (s *Server) OpenEncrypted(ctx context.Context, q Query, e matrix.EncryptedFile) (*File, error) {
	if err := s.ScanEncrypted(ctx, q, e); err != nil {
		return nil, err
	}
	return s.Open(ctx, q)
}

// ScanEncrypted decrypts an attachment as it scans it. Malware is M_FORBIDDEN,
// also for those who ask for the file afterwards without its key; a file that
// is not what the event says is M_UNKNOWN with MCS_MEDIA_FAILED_TO_DECRYPT.
func (s *Server) ScanEncrypted(ctx context.Context, q Query, e matrix.EncryptedFile) error {
	at, err := open(e)
	if err != nil {
		return err
	}
	q.MXC = at.mxc
	f, err := s.find(ctx, q)
	if err != nil {
		return err
	}
	if hex.EncodeToString(at.hash) != f.Hash {
		return matrix.NewError(http.StatusBadRequest, "M_UNKNOWN", "The file is not the one of the event: its hash is another").
			With("reason", "MCS_MEDIA_FAILED_TO_DECRYPT")
	}
	known := s.clean.sum(at)
	if s.clean.has(known) {
		return nil
	}
	verdict, err := s.scanDecrypted(ctx, f, at)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil && s.FailOpen:
		return nil
	case err != nil:
		return unscanned()
	case verdict == files.Infected:
		return infected()
	}
	s.clean.add(known)
	return nil
}

func (s *Server) scanDecrypted(ctx context.Context, f files.File, at *opened) (verdict string, err error) {
	block, err := aes.NewCipher(at.key)
	if err != nil {
		return "", err
	}
	content, err := s.Store.Open(ctx, f.Blob.Name)
	if err != nil {
		return "", storeError("open file", err)
	}
	blob := f.Blob
	err = s.scan(ctx, &blob, &cipher.StreamReader{S: cipher.NewCTR(block, at.iv), R: io.LimitReader(content, f.Size)})
	if err = errors.Join(err, content.Close()); err != nil {
		return "", err
	}
	if blob.Verdict == files.Infected { // no key makes malware of what is none
		err = s.note(ctx, blob)
	}
	return blob.Verdict, err
}

// cleans remembers which attachments were found clean, each with its key: with
// another key it is another file. It keeps no key, only a sum that nobody else
// can make.
type cleans struct {
	secret [32]byte

	mu   sync.Mutex
	seen map[[sha256.Size]byte]struct{} // guarded by mu
}

// maxCleans bounds the memory of them.
const maxCleans = 50_000

func newCleans() *cleans {
	c := &cleans{seen: make(map[[sha256.Size]byte]struct{})}
	_, _ = rand.Read(c.secret[:]) // it never fails
	return c
}

func (c *cleans) sum(at *opened) (out [sha256.Size]byte) {
	mac := hmac.New(sha256.New, c.secret[:])
	for _, part := range [][]byte{at.hash, at.key, at.iv} { // of fixed lengths
		mac.Write(part)
	}
	copy(out[:], mac.Sum(nil))
	return out
}

func (c *cleans) has(sum [sha256.Size]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.seen[sum]
	return ok
}

func (c *cleans) add(sum [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for old := range c.seen {
		if len(c.seen) < maxCleans {
			break
		}
		delete(c.seen, old)
	}
	c.seen[sum] = struct{}{}
}

// forget drops all: signatures have changed.
func (c *cleans) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.seen)
}

// equal compares in constant time.
func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
