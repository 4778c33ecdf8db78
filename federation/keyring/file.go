package keyring

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/signing"
)

// maxFileBytes bounds the key file; a line has about 70 bytes.
const maxFileBytes = 64 << 10

// OldKey is a key with which this server no longer signs.
type OldKey struct {
	ID        matrix.KeyID
	Public    ed25519.PublicKey
	ExpiredTS int64 // ms
}

// Own are the keys of this server.
type Own struct {
	Current signing.Key
	Old     []OldKey
}

// LoadOrCreate reads the key file of this server, or makes a key and writes
// the file, which only the owner may read. A file that everybody may read is
// refused.
//
// The first line is the key, "ed25519 <version> <seed>". Further lines are
// keys that were given up: "old ed25519 <version> <public key> <ms>".
func LoadOrCreate(path string, server matrix.ServerName) (Own, error) {
	own, err := load(path, server)
	if !errors.Is(err, fs.ErrNotExist) {
		return own, err
	}
	key, err := signing.NewKey(server, newVersion(time.Now()))
	if err != nil {
		return Own{}, err
	}
	own = Own{Current: key}
	return own, write(path, own)
}

// Rotate replaces the key in the file by a new one. The old one is published
// from then on as given up at expired: now, or when it was stolen. A server
// that runs takes the new one when it starts again.
func Rotate(path string, server matrix.ServerName, now, expired time.Time) (Own, error) {
	own, err := load(path, server)
	if err != nil {
		return Own{}, err
	}
	key, err := signing.NewKey(server, newVersion(now))
	if err != nil {
		return Own{}, err
	}
	if key.ID == own.Current.ID {
		return Own{}, fmt.Errorf("the key %s was made this second", key.ID)
	}
	old := OldKey{own.Current.ID, own.Current.Public(), expired.UnixMilli()}
	own = Own{Current: key, Old: append([]OldKey{old}, own.Old...)}
	return own, write(path, own)
}

// newVersion names a key after the time at which it was made, so that no name
// comes twice.
func newVersion(now time.Time) string { return "k" + strconv.FormatInt(now.Unix(), 36) }

func load(path string, server matrix.ServerName) (Own, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Own{}, fmt.Errorf("signing key: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return Own{}, fmt.Errorf("signing key: everybody may read %s; run chmod 600 on it", path)
	}
	if info.Size() > maxFileBytes {
		return Own{}, fmt.Errorf("signing key: %s is longer than %d bytes", path, maxFileBytes)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return Own{}, fmt.Errorf("signing key: %w", err)
	}
	first, rest, _ := strings.Cut(strings.TrimSpace(string(raw)), "\n")
	own := Own{}
	if own.Current, err = signing.DecodeSeed(server, first); err != nil {
		return Own{}, err
	}
	for line := range strings.Lines(rest) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		old, err := parseOld(line)
		if err != nil {
			return Own{}, err
		}
		own.Old = append(own.Old, old)
	}
	return own, nil
}

// parseOld reads the line of a key that was given up. It is in no error: a
// seed may stand there by mistake.
func parseOld(line string) (OldKey, error) {
	fields := strings.Fields(line)
	if len(fields) != 5 || fields[0] != "old" || fields[1] != signing.Algorithm {
		return OldKey{}, errors.New(`signing key: want "old ed25519 <version> <public key> <ms>"`)
	}
	id, err := matrix.ParseKeyID(signing.Algorithm + ":" + fields[2])
	if err != nil {
		return OldKey{}, fmt.Errorf("signing key: %w", err)
	}
	public, err := signing.DecodeBase64(fields[3])
	if err != nil || len(public) != ed25519.PublicKeySize {
		return OldKey{}, fmt.Errorf("signing key: the public key of %s is malformed", id)
	}
	expired, err := strconv.ParseInt(fields[4], 10, 64)
	if err != nil {
		return OldKey{}, fmt.Errorf("signing key: the time of %s is malformed", id)
	}
	return OldKey{id, public, expired}, nil
}

// write replaces the file as a whole: after a crash there is the old one or
// the new one.
func write(path string, own Own) error {
	var b strings.Builder
	b.WriteString(signing.EncodeSeed(own.Current) + "\n")
	for _, old := range own.Old {
		fmt.Fprintf(&b, "old %s %s %s %d\n", signing.Algorithm, old.ID.Name(), signing.EncodeBase64(old.Public), old.ExpiredTS)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".signing-*") // 0600
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // nothing after the rename
	_, err = f.WriteString(b.String())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
