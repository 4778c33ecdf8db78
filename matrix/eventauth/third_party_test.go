package eventauth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/signing"
)

// identityServer is a key of a server that vouches for e-mail addresses.
func identityServer(seed byte, id string) signing.Key {
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+seed)), ed25519.SeedSize)))
	return signing.Key{Server: "id.example", ID: matrix.KeyID(id), Private: private}
}

func public(k signing.Key) string {
	return signing.EncodeBase64(k.Private.Public().(ed25519.PublicKey))
}

// claim is what an identity server signs.
func claim(t testing.TB, k signing.Key, mxid, token string) string {
	t.Helper()
	signed, err := signing.Sign([]byte(`{"mxid":"`+mxid+`","token":"`+token+`"}`), k)
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

// redeem is the invite that a third-party invite becomes.
func redeem(sender, target, signed string) ev {
	return state("m.room.member", target, sender, `{"membership":"invite","third_party_invite":{"display_name":"e","signed":`+signed+`}}`)
}

func TestThirdPartyInvite(t *testing.T) {
	t.Parallel()
	good, other := identityServer(0, "ed25519:0"), identityServer(1, "ed25519:1")
	rule := func(step string) string {
		return strings.ReplaceAll("1-5:5.3.1.X 6-7:4.3.1.X 8-11:4.4.1.X 12:5.4.1.X", "X", step)
	}
	invite := func(content string) []ev { return []ev{state("m.room.third_party_invite", "tok", mod, content)} }
	single := invite(`{"public_key":"` + public(good) + `"}`)
	urlSafe := base64.RawURLEncoding.EncodeToString(good.Private.Public().(ed25519.PublicKey))
	signed := claim(t, good, eve, "tok")
	wrongName := strings.Replace(signed, `"ed25519:0"`, `"curve:0"`, 1)
	both := claim(t, other, eve, "tok")
	if twice, err := signing.Sign([]byte(both), good); err != nil {
		t.Fatal(err)
	} else {
		both = string(twice)
	}
	runScenes(t, map[string]scene{
		"public_key":              {with: single, event: redeem(mod, eve, signed), want: "1-:ok"},
		"public_keys":             {with: invite(`{"public_keys":[{"public_key":"` + public(other) + `"},{"public_key":"` + public(good) + `"}]}`), event: redeem(mod, eve, signed), want: "1-:ok"},
		"URL-safe, padded key":    {with: invite(`{"public_key":"` + urlSafe + `="}`), event: redeem(mod, eve, signed), want: "1-:ok"},
		"both signatures":         {with: single, event: redeem(mod, eve, both), want: "1-:ok"},
		"sender need not be in":   {with: append(single, member(mod, mod, "leave")), event: redeem(mod, eve, signed), want: "1-:ok"},
		"other extra members":     {with: single, event: redeem(mod, eve, signed), want: "1-:ok"},
		"banned":                  {with: append(single, member(mod, eve, "ban")), event: redeem(mod, eve, signed), want: rule("1")},
		"not an object":           {with: single, event: state("m.room.member", eve, mod, `{"membership":"invite","third_party_invite":null}`), want: rule("2")},
		"not signed":              {with: single, event: state("m.room.member", eve, mod, `{"membership":"invite","third_party_invite":{}}`), want: rule("2")},
		"no mxid":                 {with: single, event: redeem(mod, eve, `{"token":"tok"}`), want: rule("3")},
		"no token":                {with: single, event: redeem(mod, eve, `{"mxid":"`+eve+`"}`), want: rule("3")},
		"another's":               {with: single, event: redeem(mod, carol, signed), want: rule("4")},
		"other token":             {with: single, event: redeem(mod, eve, claim(t, good, eve, "other")), want: rule("5")},
		"other sender":            {with: single, event: redeem(adam, eve, signed), want: rule("6")},
		"other key":               {with: single, event: redeem(mod, eve, claim(t, other, eve, "tok")), want: rule("8")},
		"changed after signing":   {with: single, event: redeem(mod, eve, strings.Replace(signed, `"mxid"`, `"a":1,"mxid"`, 1)), want: rule("8")},
		"no key":                  {with: invite(`{}`), event: redeem(mod, eve, signed), want: rule("8")},
		"malformed keys":          {with: invite(`{"public_key":7,"public_keys":["x",{"public_key":"AAAA"},{"public_key":"!"}]}`), event: redeem(mod, eve, signed), want: rule("8")},
		"unknown algorithm":       {with: single, event: redeem(mod, eve, wrongName), want: rule("8")},
		"no signatures":           {with: single, event: redeem(mod, eve, `{"mxid":"`+eve+`","token":"tok"}`), want: rule("8")},
		"signatures is no object": {with: single, event: redeem(mod, eve, `{"mxid":"`+eve+`","signatures":[],"token":"tok"}`), want: rule("8")},
	})
}

// TestThirdPartyInviteHasABound exceeds the bound on the checks: a good
// signature behind as many bad ones is not found.
func TestThirdPartyInviteHasABound(t *testing.T) {
	t.Parallel()
	k := identityServer(0, "ed25519:zz")
	good, ok := signing.Signature([]byte(gjson.Get(claim(t, k, eve, "tok"), "signatures").Raw), "id.example", k.ID)
	if !ok {
		t.Fatal("the claim is not signed")
	}
	bad := strings.Repeat("A", 86)
	oneServer := func(n int) map[string]any {
		ids := map[string]any{"ed25519:zz": good}
		for i := range n {
			ids[fmt.Sprintf("ed25519:%03d", i)] = bad
		}
		return map[string]any{"id.example": ids}
	}
	manyServers := oneServer(0)
	for i := range 500 {
		manyServers[fmt.Sprintf("a%03d.example", i)] = map[string]any{"x:1": "AAAA"}
	}
	for name, c := range map[string]struct {
		signatures map[string]any
		want       string
	}{
		"a few":        {oneServer(50), "11:ok"},
		"many":         {oneServer(200), "11:4.4.1.8"},
		"many servers": {manyServers, "11:4.4.1.8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := json.Marshal(map[string]any{"mxid": eve, "token": "tok", "signatures": c.signatures})
			if err != nil {
				t.Fatal(err)
			}
			scene{
				with:  []ev{state("m.room.third_party_invite", "tok", mod, `{"public_key":"`+public(k)+`"}`)},
				event: redeem(mod, eve, string(raw)), want: c.want,
			}.run(t)
		})
	}
}

// TestThirdPartyInviteOfManyKeys reads no more keys than it would try.
func TestThirdPartyInviteOfManyKeys(t *testing.T) {
	t.Parallel()
	k := identityServer(0, "ed25519:0")
	var keys []string
	for i := range 300 {
		raw := make([]byte, ed25519.PublicKeySize)
		raw[0], raw[1] = byte(i), byte(i>>8)
		keys = append(keys, `{"public_key":"`+signing.EncodeBase64(raw)+`"}`)
	}
	keys = append(keys, `{"public_key":"`+public(k)+`"}`)
	scene{
		with:  []ev{state("m.room.third_party_invite", "tok", mod, `{"public_keys":[`+strings.Join(keys, ",")+`]}`)},
		event: redeem(mod, eve, claim(t, k, eve, "tok")), want: "11:4.4.1.8",
	}.run(t)
}
