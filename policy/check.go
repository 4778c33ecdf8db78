package policy

import (
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strconv"

	"beffroi/matrix"
)

// settings checks the values that are words of a list.
func (c *compiler) settings() {
	r := c.doc.Rooms
	c.oneOf("accounts.registration", c.doc.Accounts.Registration, "email", "open", "closed")
	c.oneOf("rooms.access_rules", r.AccessRules, "enforce", "off")
	c.oneOf("rooms.default_rule", r.DefaultRule, string(Restricted), string(Unrestricted))
	for i, kind := range r.Encrypt {
		c.oneOf("rooms.encrypt["+strconv.Itoa(i)+"]", kind, "private", "direct")
	}
	if r.Version != "" {
		if _, err := matrix.RoomVersion(r.Version).Rules(); err != nil {
			c.wrong("rooms.version", "%q is not a room version", clip(r.Version))
		}
	}
	c.externals = c.doc.Externals.rights()
	if p := c.externals.maxPower; p < 0 || p >= 50 {
		c.wrong("externals.max_power", "is %d; it is 0 to 49, below what moderating needs", p)
	}
	c.enforce = r.AccessRules != "off"
	for i, d := range c.doc.Delegate {
		c.delegation(d, "delegate["+strconv.Itoa(i)+"]")
	}
}

// oneOf notes a value that is none of words; empty is always the default.
func (c *compiler) oneOf(path, value string, words ...string) {
	if value != "" {
		c.word(path, value, words...)
	}
}

// word notes a value that is none of words.
func (c *compiler) word(path, value string, words ...string) {
	if slices.Contains(words, value) {
		return
	}
	if near := nearest(value, words); near != "" {
		c.wrong(path, "is %q; did you mean %q?", clip(value), near)
		return
	}
	c.wrong(path, "is %q; it is one of %q", clip(value), words)
}

// guards refuses documents that would cut this server off by mistake.
func (c *compiler) guards() {
	var buf nameBuffer
	key, host, ok := serverKey(&buf, string(c.self))
	if !ok {
		c.wrong("", "%q is not the name of a server", clip(string(c.self)))
		return
	}
	c.selfKey = string(key)
	found, ok := c.servers.find(key, host)
	own := found.org
	switch {
	case !ok:
		c.wrong("organisations", "no organisation has this server, %s", c.self)
	case own.class == ClassBlocked:
		c.wrong("organisations", "organisation %q, to which this server belongs, is blocked", own.ID)
	default:
		c.own, c.contact = own, own.Contact
	}
	if c.denied.any(key, host, func(*period) bool { return true }) {
		c.wrong("federation.deny", "refuses this server itself, %s", c.self)
	}
	if !c.doc.DenyAll && !c.open && !c.admitsAny() {
		c.wrong("organisations", "no server is admitted at all; if that is meant, say deny_all: true")
	}
}

// admitsAny reports whether the document names a server that may be spoken with.
func (c *compiler) admitsAny() bool {
	for _, o := range c.orgs {
		if o.class != ClassBlocked && len(o.Homeservers) > 0 {
			return true
		}
	}
	return len(c.doc.Federation.Allow) > 0
}

// validKey accepts the public part of an ed25519 key.
func validKey(s string) bool {
	raw, err := base64.RawStdEncoding.DecodeString(s)
	return err == nil && len(raw) == ed25519.PublicKeySize
}
