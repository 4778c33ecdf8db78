package clientapi_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/internal/testkit"
	"beffroi/media"
	"beffroi/media/clamd"
	"beffroi/policystore"
	"beffroi/storage"
)

const scanPath = "/_matrix/media_proxy/unstable"

// startScanned runs a server whose files are scanned.
func startScanned(t *testing.T, db *storage.DB, scanner string, change ...func(*media.Options)) *host {
	return startOn(t, db, func(_ *account.Options, co *clientapi.Options, _ *policystore.Options) {
		co.Media = newMedia(t, db, append(change, func(o *media.Options) { o.Scanner = clamd.New(scanner, 20*time.Second) })...)
	})
}

// attach encrypts a file as clients do, uploads it, and returns its name and
// what an event says of it.
func (p *person) attach(t *testing.T, content string) (mxc string, file map[string]any) {
	t.Helper()
	key, iv := make([]byte, 32), make([]byte, 16)
	_, _ = rand.Read(key)
	_, _ = rand.Read(iv[:8])
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	sealed := make([]byte, len(content))
	cipher.NewCTR(block, iv).XORKeyStream(sealed, []byte(content))
	sum := sha256.Sum256(sealed)
	mxc = p.uploads(t, "", "application/octet-stream", string(sealed))
	return mxc, map[string]any{"url": "mxc://" + mxc, "v": "v2", "iv": base64.RawStdEncoding.EncodeToString(iv),
		"hashes": map[string]string{"sha256": base64.RawStdEncoding.EncodeToString(sum[:])},
		"key": map[string]any{"kty": "oct", "alg": "A256CTR", "ext": true, "key_ops": []string{"encrypt", "decrypt"},
			"k": base64.RawURLEncoding.EncodeToString(key)}}
}

func TestScannedFiles(t *testing.T) {
	t.Parallel()
	daemon := testkit.Clamd(t)
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		var log safeBuffer
		h := startScanned(t, db, daemon, func(o *media.Options) { o.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
		alice := h.registers(t, "alice")
		toReply(alice.asks("POST", uploadPath, "", testkit.EICAR)).wants(t, 403, "M_FORBIDDEN")
		clean := alice.uploads(t, "", "text/plain", "clean")
		if got := alice.get(t, scanPath+"/scan/"+clean).ok(t); !got.Get("clean").Bool() || got.Get("info").String() == "" {
			t.Errorf("clean file: %s", got.Raw)
		}
		for _, path := range []string{downloadPath + clean, scanPath + "/download/" + clean} {
			if w := alice.asks("GET", path, "", ""); w.Code != 200 || w.Body.String() != "clean" {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		good, goodFile := alice.attach(t, "an innocent letter")
		if got := alice.post(t, scanPath+"/scan_encrypted", body{"file": goodFile}).ok(t); !got.Get("clean").Bool() {
			t.Errorf("clean attachment: %s", got.Raw)
		}
		again := alice.asks("POST", scanPath+"/download_encrypted", "", asJSON(t, body{"encrypted_body": h.sealed(t, body{"file": goodFile}, true)}))
		if plain := alice.asks("GET", downloadPath+good, "", ""); again.Code != 200 || again.Body.String() != plain.Body.String() || again.Body.Len() != len("an innocent letter") {
			t.Errorf("download of an attachment: %d %s", again.Code, again.Body)
		}
		bad, badFile := alice.attach(t, testkit.EICAR)
		if w := alice.asks("GET", downloadPath+bad, "", ""); w.Code != 200 {
			t.Errorf("before anybody knew: %d %s", w.Code, w.Body)
		}
		if got := alice.post(t, scanPath+"/scan_encrypted", body{"encrypted_body": h.sealed(t, body{"file": badFile}, false)}).ok(t); got.Get("clean").Bool() || !got.Get("clean").Exists() {
			t.Errorf("attachment with malware: %s", got.Raw)
		}
		alice.get(t, downloadPath+bad).wants(t, 403, "M_FORBIDDEN")
		if got := alice.post(t, scanPath+"/download_encrypted", body{"file": badFile}).wants(t, 403, ""); got.Get("reason").String() != "MCS_MEDIA_NOT_CLEAN" {
			t.Errorf("download of malware: %s", got.Raw)
		}
		for _, file := range []map[string]any{goodFile, badFile} {
			if secret := file["key"].(map[string]any)["k"].(string); bytes.Contains(log.bytes(), []byte(secret)) {
				t.Error("a key is in the log")
			}
		}
	})
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// sealed seals a body for the server as libolm does, with its MAC of nothing or
// a right one.
func (h *host) sealed(t *testing.T, content any, rightMAC bool) map[string]string {
	t.Helper()
	got := h.call(t, "", "GET", scanPath+"/public_key", nil).ok(t)
	raw, err := base64.RawStdEncoding.DecodeString(got.Get("public_key").String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ours.ECDH(theirs)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := hkdf.Key(sha256.New, secret, nil, "", 80)
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte(asJSON(t, content))
	padding := 16 - len(plain)%16
	plain = append(plain, bytes.Repeat([]byte{byte(padding)}, padding)...)
	block, err := aes.NewCipher(keys[:32])
	if err != nil {
		t.Fatal(err)
	}
	cipher.NewCBCEncrypter(block, keys[64:]).CryptBlocks(plain, plain)
	mac := hmac.New(sha256.New, keys[32:64])
	if rightMAC {
		mac.Write(plain)
	}
	encode := base64.RawStdEncoding.EncodeToString
	return map[string]string{"ciphertext": encode(plain), "mac": encode(mac.Sum(nil)[:8]), "ephemeral": encode(ours.PublicKey().Bytes())}
}

func TestBadScanRequests(t *testing.T) {
	t.Parallel()
	h := startScanned(t, testkit.OpenDB(t, "sqlite"), testkit.Clamd(t))
	alice := h.registers(t, "alice")
	_, file := alice.attach(t, "x")
	with := func(name string, value any) body {
		out := body{}
		for k, v := range file {
			out[k] = v
		}
		out[name] = value
		return body{"file": out}
	}
	wrongMAC, notOurs := h.sealed(t, body{"file": file}, true), h.sealed(t, body{"file": file}, true)
	wrongMAC["mac"] = "AAAAAAAAAAA"
	notOurs["ephemeral"] = base64.RawStdEncoding.EncodeToString(make([]byte, 32))
	for name, tc := range map[string]struct {
		body   any
		status int
		reason string
	}{
		"not JSON":        {"{", 400, "MCS_MALFORMED_JSON"},
		"nothing":         {body{}, 400, "MCS_MALFORMED_JSON"},
		"no key":          {with("key", nil), 400, "MCS_MALFORMED_JSON"},
		"short key":       {with("key", body{"kty": "oct", "alg": "A256CTR", "ext": true, "key_ops": []string{"encrypt", "decrypt"}, "k": "AAAA"}), 400, "MCS_MALFORMED_JSON"},
		"old version":     {with("v", "v1"), 400, "MCS_MALFORMED_JSON"},
		"no address":      {with("url", "https://x"), 400, "MCS_MALFORMED_JSON"},
		"bad iv":          {with("iv", "?"), 400, "MCS_MALFORMED_JSON"},
		"another hash":    {with("hashes", body{"sha256": base64.RawStdEncoding.EncodeToString(make([]byte, 32))}), 400, "MCS_MEDIA_FAILED_TO_DECRYPT"},
		"no such file":    {with("url", "mxc://here.example/nothing"), 404, "M_NOT_FOUND"},
		"bad seal":        {body{"encrypted_body": wrongMAC}, 403, "MCS_BAD_DECRYPTION"},
		"bad point":       {body{"encrypted_body": notOurs}, 403, "MCS_BAD_DECRYPTION"},
		"seal of nothing": {body{"encrypted_body": body{"ciphertext": "", "mac": "", "ephemeral": ""}}, 403, "MCS_BAD_DECRYPTION"},
		"too long":        {body{"file": string(bytes.Repeat([]byte("x"), 70<<10))}, 413, "M_TOO_LARGE"},
	} {
		got := alice.post(t, scanPath+"/scan_encrypted", tc.body)
		if got.status != tc.status || got.Get("reason").String() != tc.reason || got.Get("info").String() == "" {
			t.Errorf("%s: %d %s", name, got.status, got.Raw)
		}
	}
	if got := h.call(t, "", "POST", scanPath+"/scan_encrypted", with("v", "v2")); got.status != 401 || got.Get("reason").String() != "M_MISSING_TOKEN" {
		t.Errorf("a stranger: %d %s", got.status, got.Raw)
	}
	plain := start(t)
	bob := plain.registers(t, "bob")
	bob.post(t, scanPath+"/scan_encrypted", with("v", "v2")).wants(t, 404, "M_UNRECOGNIZED")
}

func TestScannerThatIsDown(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]bool{"closed": false, "open": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startScanned(t, testkit.OpenDB(t, "sqlite"), "/nowhere/clamd.sock", func(o *media.Options) { o.FailOpen = open })
			alice := h.registers(t, "alice")
			mxc := alice.uploads(t, "", "image/png", string(picture(t, 200, 200)))
			for _, w := range []*httptest.ResponseRecorder{alice.asks("GET", downloadPath+mxc, "", ""),
				alice.asks("GET", "/_matrix/client/v1/media/thumbnail/"+mxc+"?width=32&height=32&method=crop", "", "")} {
				if want := map[bool]int{false: 503, true: 200}[open]; w.Code != want {
					t.Errorf("%d %s, want %d", w.Code, w.Body, want)
				}
			}
		})
	}
}

// safeBuffer is a buffer that many write to.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}
