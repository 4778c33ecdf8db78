package keyring_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beffroi/federation/keyring"
	"beffroi/internal/testkit"
	"beffroi/matrix/signing"
)

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "signing.key")
	made, err := keyring.LoadOrCreate(path, "self.example")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	again, err := keyring.LoadOrCreate(path, "self.example")
	if err != nil || !again.Current.Private.Equal(made.Current.Private) || again.Current.ID != made.Current.ID {
		t.Fatalf("the key has changed: %v", err)
	}
	now := time.Now().Add(time.Hour)
	rotated, err := keyring.Rotate(path, "self.example", now, now)
	if err != nil || rotated.Current.ID == made.Current.ID {
		t.Fatalf("%s, %v", rotated.Current.ID, err)
	}
	again, err = keyring.LoadOrCreate(path, "self.example")
	if err != nil || len(again.Old) != 1 || again.Old[0].ID != made.Current.ID ||
		!again.Old[0].Public.Equal(made.Current.Public()) || again.Old[0].ExpiredTS != now.UnixMilli() {
		t.Fatalf("old keys are %v, %v", again.Old, err)
	}
	// What is published says so, and other servers believe it.
	c, n := newClock(), newNetwork(t)
	p := n.peer(t, "self.example")
	body, err := n.ring(t, testkit.OpenDB(t, "sqlite"), again, c, nil).OwnAnswer()
	if err != nil {
		t.Fatal(err)
	}
	p.set(body)
	peer := n.ring(t, testkit.OpenDB(t, "sqlite"), keyring.Own{Current: newKey(t, "other.example", "1")}, c, nil)
	wantKey(t, peer, again.Current, c.Now(), c.Now().Add(24*time.Hour))
	if _, _, err := peer.PublicKey(t.Context(), "self.example", made.Current.ID, 0); err != nil {
		t.Error(err)
	}
}

func TestBadKeyFiles(t *testing.T) {
	t.Parallel()
	key := newKey(t, "self.example", "1")
	seed := signing.EncodeSeed(key)
	tests := map[string]struct {
		text string
		mode os.FileMode
	}{
		"readable by everybody": {seed, 0o604},
		"empty":                 {"", 0o600},
		"not a key":             {"hello", 0o600},
		"short seed":            {seed[:len(seed)-4], 0o600},
		"second seed":           {seed + "\n" + seed, 0o600},
		"old key without time":  {seed + "\nold ed25519 0 " + signing.EncodeBase64(key.Public()), 0o600},
		"old key too short":     {seed + "\nold ed25519 0 AAAA 7", 0o600},
		"old key, bad time":     {seed + "\nold ed25519 0 " + signing.EncodeBase64(key.Public()) + " x", 0o600},
		"too long":              {seed + strings.Repeat("\n", 70000), 0o600},
	}
	for name, test := range tests {
		path := filepath.Join(t.TempDir(), "signing.key")
		if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil { // past the umask
			t.Fatal(err)
		}
		_, err := keyring.LoadOrCreate(path, "self.example")
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), signing.EncodeBase64(key.Private.Seed())) {
			t.Errorf("%s: the seed is in the error", name)
		}
		if got, _ := os.ReadFile(path); string(got) != test.text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}
