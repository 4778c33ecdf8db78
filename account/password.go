package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"beffroi/matrix"
)

const (
	// maxPasswordBytes bounds what is hashed. Nobody types more.
	maxPasswordBytes = 512
	// maxHashing bounds how many wait for their password to be hashed: at 45 ms
	// each on a few cores, who comes later would wait for longer than a client does.
	maxHashing = 256
	saltBytes  = 16
	sumBytes   = 32
	// maxHashMemory bounds what a stored hash may ask for, in KiB.
	maxHashMemory = 256 << 10
	maxHashTime   = 16
)

// hasher makes and checks hashes of passwords, a few at a time: each takes
// 19 MiB and a core.
type hasher struct {
	time, memory uint32
	slots        chan struct{} // as many as there are cores
	waiting      atomic.Int64
	nobody       string // the hash that a password for an unknown account is checked against
}

func newHasher(cheap bool, parallel int) *hasher {
	h := &hasher{time: 2, memory: 19 << 10, slots: make(chan struct{}, parallel)}
	if cheap {
		h.time, h.memory = 1, 64
	}
	h.nobody = h.format(random(saltBytes), random(sumBytes))
	return h
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

func (h *hasher) format(salt, sum []byte) string {
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, h.memory, h.time, encode(salt), encode(sum))
}

// enter waits for its turn; leave ends it.
func (h *hasher) enter(ctx context.Context) error {
	if h.waiting.Add(1) > maxHashing {
		h.waiting.Add(-1)
		return matrix.LimitExceeded(2 * time.Second)
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		h.waiting.Add(-1)
		return ctx.Err()
	}
}

func (h *hasher) leave() {
	<-h.slots
	h.waiting.Add(-1)
}

// hash returns the stored form of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	salt := random(saltBytes)
	return h.format(salt, argon2.IDKey([]byte(password), salt, h.time, h.memory, 1, sumBytes)), nil
}

// verify reports whether a password is the one of a stored hash, and whether
// the hash should be made anew. A hash of nobody ("") is checked for as long
// as one of somebody, and never right.
func (h *hasher) verify(ctx context.Context, password, stored string) (ok, renew bool, err error) {
	if err := h.enter(ctx); err != nil {
		return false, false, err
	}
	defer h.leave()
	if len(password) > maxPasswordBytes {
		password, stored = "", ""
	}
	if strings.HasPrefix(stored, "$2") { // bcrypt, of an imported account
		return bcrypt.CompareHashAndPassword([]byte(stored), []byte(password)) == nil, true, nil
	}
	known := stored != ""
	if !known {
		stored = h.nobody
	}
	p, err := parseHash(stored)
	if err != nil {
		return false, false, err
	}
	sum := argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, uint32(len(p.sum)))
	same := subtle.ConstantTimeCompare(sum, p.sum) == 1
	return same && known, p.time != h.time || p.memory != h.memory, nil
}

type argonHash struct {
	time, memory uint32
	threads      uint8
	salt, sum    []byte
}

// parseHash reads what hash wrote, or another program that writes PHC strings.
func parseHash(stored string) (p argonHash, err error) {
	parts := strings.Split(stored, "$")
	bad := fmt.Errorf("malformed password hash")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, bad
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); err != nil {
		return p, bad
	}
	if p.time == 0 || p.time > maxHashTime || p.memory > maxHashMemory || p.threads == 0 {
		return p, bad
	}
	var saltErr, sumErr error
	p.salt, saltErr = base64.RawStdEncoding.DecodeString(parts[4])
	p.sum, sumErr = base64.RawStdEncoding.DecodeString(parts[5])
	if saltErr != nil || sumErr != nil || len(p.sum) < saltBytes || len(p.sum) > 64 {
		return p, bad
	}
	return p, nil
}

// acceptable refuses a new password that is too short or too long.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
func (s *Server) acceptable(password string) error {
	switch {
	case password == "":
		return matrix.MissingParam("a password is needed")
	case len(password) > maxPasswordBytes:
		return matrix.InvalidParam("a password has at most %d bytes", maxPasswordBytes)
	case utf8.RuneCountInString(password) < s.MinPasswordLength:
		return matrix.NewError(400, "M_PASSWORD_TOO_SHORT", "a password has at least %d characters", s.MinPasswordLength)
	}
	return nil
}
