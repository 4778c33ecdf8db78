package matrix

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The identifiers are plain strings with a type, so that a room ID can never
// be passed where a user ID is wanted. Parse at the edge; trust inside.
//
// https://spec.matrix.org/v1.19/appendices/#identifier-grammar
type (
	ServerName string
	UserID     string
	RoomID     string
	EventID    string
	RoomAlias  string
	DeviceID   string
	// KeyID is an algorithm and a name, such as ed25519:a1.
	KeyID string
)

// MaxIDBytes is the longest identifier of any kind, in bytes.
//
// https://spec.matrix.org/v1.19/appendices/#common-identifier-format
const MaxIDBytes = 255

// ParseServerName accepts a DNS name, an IPv4 address or an IPv6 address in
// brackets, each with an optional port. The name is kept as it was written:
// comparing names is for the caller ([ServerName.Normalise]).
//
// https://spec.matrix.org/v1.19/appendices/#server-name
func ParseServerName(s string) (ServerName, error) {
	if s == "" || len(s) > MaxIDBytes-2 { // an ID of this server needs a sigil and a colon
		return "", InvalidParam("a server name has between 1 and %d bytes", MaxIDBytes-2)
	}
	host, port, ok := splitPort(s)
	if !ok || !validPort(port) || !validHost(host) {
		return "", InvalidParam("%q is not a server name", s)
	}
	return ServerName(s), nil
}

// splitPort cuts a server name into its host (an IPv6 address keeps its
// brackets) and its port, "" where there is none.
func splitPort(s string) (host, port string, ok bool) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", false
		}
		rest := s[end+1:]
		if rest == "" {
			return s, "", true
		}
		port, found := strings.CutPrefix(rest, ":")
		return s[:end+1], port, found && port != ""
	}
	host, port, found := strings.Cut(s, ":")
	return host, port, !found || port != ""
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil && len(port) <= 5
}

func validHost(host string) bool {
	if inner, found := strings.CutPrefix(host, "["); found {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && addr.Is6() && addr.Zone() == ""
	}
	if host == "" {
		return false
	}
	for i := range len(host) {
		c := host[i]
		if !isAlphanumeric(c) && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// Host returns the name without its port. An IPv6 address keeps its brackets.
func (s ServerName) Host() string {
	host, _, _ := splitPort(string(s))
	return host
}

// Port returns the port as it was written, or "" where there is none.
func (s ServerName) Port() string {
	_, port, _ := splitPort(string(s))
	return port
}

// IsIP reports whether the host is an IP literal.
func (s ServerName) IsIP() bool {
	_, err := netip.ParseAddr(strings.Trim(s.Host(), "[]"))
	return err == nil
}

// Normalise returns the name in lower case, for comparing.
func (s ServerName) Normalise() ServerName { return ServerName(strings.ToLower(string(s))) }

// ParseUserID accepts what the historical grammar accepts, an empty localpart
// and control characters included: old user IDs live in old rooms for ever.
// [UserID.Compliant] tells them apart.
//
// https://spec.matrix.org/v1.19/appendices/#historical-user-ids
func ParseUserID(s string) (UserID, error) {
	local, err := parseID(s, '@', "user ID")
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(local) || strings.ContainsRune(local, 0) {
		return "", InvalidParam("user ID has a NUL or is not UTF-8")
	}
	return UserID(s), nil
}

// Compliant reports whether the localpart is printable ASCII. Other user IDs
// are accepted in events, and nowhere else.
//
// https://spec.matrix.org/v1.19/appendices/#historical-user-ids
func (u UserID) Compliant() bool {
	local := u.Localpart()
	for i := range len(local) {
		if local[i] < 0x21 || local[i] > 0x7e {
			return false
		}
	}
	return local != ""
}

// Localpart returns the part between the @ and the first colon.
func (u UserID) Localpart() string { return localpart(string(u)) }

// Server returns the part after the first colon.
func (u UserID) Server() ServerName { return server(string(u)) }

// ValidLocalpart reports whether a new account of this server may have the
// localpart, by the strict grammar. How long it may be depends on the name of
// the server: see [MaxIDBytes].
//
// https://spec.matrix.org/v1.19/appendices/#user-identifiers
func ValidLocalpart(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._=/+", c) >= 0) {
			return false
		}
	}
	return true
}

// ParseRoomID accepts an opaque room ID, with a domain (versions 1 to 11) or
// without one (version 12).
//
// https://spec.matrix.org/v1.19/appendices/#room-ids
func ParseRoomID(s string) (RoomID, error) {
	if err := opaque(s, '!', "room ID"); err != nil {
		return "", err
	}
	return RoomID(s), nil
}

// ParseEventID accepts an event ID of any room version.
//
// https://spec.matrix.org/v1.19/appendices/#event-ids
func ParseEventID(s string) (EventID, error) {
	if err := opaque(s, '$', "event ID"); err != nil {
		return "", err
	}
	return EventID(s), nil
}

// Server returns the domain of an event ID of room versions 1 and 2, or ""
// where it has none. A room ID has no such method on purpose: nothing may be
// concluded from its domain.
func (e EventID) Server() ServerName { return server(string(e)) }

// ParseRoomAlias accepts #localpart:server.
//
// https://spec.matrix.org/v1.19/appendices/#room-aliases
func ParseRoomAlias(s string) (RoomAlias, error) {
	local, err := parseID(s, '#', "room alias")
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(local) || strings.ContainsRune(local, 0) {
		return "", InvalidParam("room alias has a NUL or is not UTF-8")
	}
	return RoomAlias(s), nil
}

// Localpart returns the part between the # and the first colon.
func (a RoomAlias) Localpart() string { return localpart(string(a)) }

// Server returns the part after the first colon.
func (a RoomAlias) Server() ServerName { return server(string(a)) }

// ParseKeyID accepts algorithm:name where the name is of [a-zA-Z0-9_].
//
// https://spec.matrix.org/v1.19/appendices/#signing-details
func ParseKeyID(s string) (KeyID, error) {
	algorithm, name, ok := strings.Cut(s, ":")
	if !ok || algorithm == "" || name == "" || len(s) > MaxIDBytes {
		return "", InvalidParam("%q is not a key ID", s)
	}
	for i := range len(name) {
		if !isAlphanumeric(name[i]) && name[i] != '_' {
			return "", InvalidParam("%q is not a key ID", s)
		}
	}
	return KeyID(s), nil
}

// Algorithm returns the part before the colon.
func (k KeyID) Algorithm() string {
	algorithm, _, _ := strings.Cut(string(k), ":")
	return algorithm
}

// Name returns the part after the colon.
func (k KeyID) Name() string {
	_, name, _ := strings.Cut(string(k), ":")
	return name
}

// parseID checks sigil, length and server name and returns the localpart.
func parseID(s string, sigil byte, kind string) (local string, err error) {
	switch {
	case s == "" || s[0] != sigil:
		return "", InvalidParam("%q is not a %s: it begins with %c", clip(s), kind, sigil)
	case len(s) > MaxIDBytes:
		return "", InvalidParam("%s is longer than %d bytes", kind, MaxIDBytes)
	}
	local, name, ok := strings.Cut(s[1:], ":")
	if !ok {
		return "", InvalidParam("%q is not a %s: it names no server", s, kind)
	}
	if _, err := ParseServerName(name); err != nil {
		return "", InvalidParam("%q is not a %s: its server name is malformed", s, kind)
	}
	return local, nil
}

// opaque checks an identifier of which nothing is read but its sigil.
func opaque(s string, sigil byte, kind string) error {
	switch {
	case len(s) < 2 || s[0] != sigil:
		return InvalidParam("%q is not a %s", clip(s), kind)
	case len(s) > MaxIDBytes:
		return InvalidParam("%s is longer than %d bytes", kind, MaxIDBytes)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return InvalidParam("%s has a NUL or is not UTF-8", kind)
	}
	return nil
}

// clip bounds what a message repeats of an input.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

func localpart(s string) string {
	if s == "" {
		return ""
	}
	local, _, _ := strings.Cut(s[1:], ":")
	return local
}

func server(s string) ServerName {
	_, name, _ := strings.Cut(s, ":")
	return ServerName(name)
}
