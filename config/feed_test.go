package config_test

import (
	"strings"
	"testing"
	"time"
)

func TestPolicyFeed(t *testing.T) {
	t.Parallel()
	good := "policy_feed:\n  url: https://dinum.example/_beffroi/policy/v1/bundle\n  issuer: dinum.example\n  keys: [\"ed25519:a1 AAAA\"]\n  interval: 1m\n"
	c, err := load(t, good, nil, nil)
	if err != nil || c.PolicyFeed.Interval != time.Minute || len(c.PolicyFeed.Keys) != 1 {
		t.Errorf("%+v %v", c.PolicyFeed, err)
	}
	for name, tc := range map[string]struct{ remove, with, want string }{
		"no URL":     {"https://", "ftp://", "policy_feed.url"},
		"no issuer":  {"  issuer: dinum.example\n", "", "policy_feed.issuer"},
		"no keys":    {"  keys: [\"ed25519:a1 AAAA\"]\n", "", "policy_feed.keys"},
		"too often":  {"1m", "1ms", "policy_feed.interval"},
		"misspelt":   {"issuer", "isuer", "isuer"},
		"keys alone": {"  url: https://dinum.example/_beffroi/policy/v1/bundle\n  issuer: dinum.example\n", "", "policy_feed.keys"},
	} {
		if _, err := load(t, strings.Replace(good, tc.remove, tc.with, 1), nil, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
