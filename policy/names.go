package policy

import (
	"errors"
	"net/mail"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"beffroi/matrix"
)

// Names are compared exactly, after lower-casing, conversion to A-labels and
// removal of one trailing dot. Nothing is mapped: a name that IDNA would first
// have to change (full-width letters, a Kelvin sign for a k) is refused, so
// that two names that look alike are never made one.
const (
	maxNameBytes  = 253 // RFC 1035, without the trailing dot
	maxLabelBytes = 63
	maxEmailBytes = 254 // RFC 5321
	maxLocalBytes = 64
)

// nameBuffer holds a normalised server name: a host, a colon and a port.
type nameBuffer [maxNameBytes + 8]byte

var (
	errName  = errors.New("is not a domain name")
	errEmail = errors.New("is not an e-mail address of a domain name")
)

// NormaliseDomain returns the comparable form of a domain name. It refuses IP
// addresses, empty and over-long labels, and letters that are not registrable.
func NormaliseDomain(s string) (string, error) {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 4*maxNameBytes { // no U-label is longer than its A-label by more
		return "", errName
	}
	s = lowerASCII(s)
	if !isASCII(s) || strings.Contains(s, "xn--") {
		a, err := idna.Registration.ToASCII(s)
		if err != nil || isASCII(s) && a != s {
			return "", errName
		}
		s = a
	}
	if !validDomain(s) || allDigits(s[strings.LastIndexByte(s, '.')+1:]) {
		return "", errName
	}
	return s, nil
}

// pattern is a domain name of the document, or every name below one.
type pattern struct {
	name  string
	below bool // *.name
}

// String returns the pattern as the document writes it.
func (p pattern) String() string {
	if p.below {
		return "*." + p.name
	}
	return p.name
}

// parsePattern reads example.fr or *.example.fr. Nothing else is a pattern.
func parsePattern(s string) (pattern, error) {
	rest, below := strings.CutPrefix(s, "*.")
	name, err := NormaliseDomain(rest)
	return pattern{name, below}, err
}

// parseServerPattern reads a server name of the document: a pattern, an IP
// address, or either of a name and an address with a port.
func parseServerPattern(s string) (pattern, error) {
	if strings.HasPrefix(s, "*.") {
		return parsePattern(s)
	}
	host, port, _ := strings.Cut(s, ":")
	if strings.HasPrefix(s, "[") || allDigits(host[strings.LastIndexByte(host, '.')+1:]) {
		host = s // an IP address: serverKey reads it with its port
	} else {
		name, err := NormaliseDomain(host)
		if err != nil {
			return pattern{}, errors.New("is not a server name")
		}
		host = name
		if port != "" || strings.Contains(s, ":") {
			host += ":" + port
		}
	}
	var buf nameBuffer
	key, _, ok := serverKey(&buf, host)
	if _, err := matrix.ParseServerName(string(key)); !ok || err != nil {
		return pattern{}, errors.New("is not a server name")
	}
	return pattern{name: string(key)}, nil
}

// serverKey writes the comparable form of a server name to buf; its first host
// bytes are the name without the port. It does not allocate but for an IPv6
// address, and it refuses whatever cannot be the name of a server: such a name matches nothing.
func serverKey(buf *nameBuffer, name string) (key []byte, host int, ok bool) {
	if name == "" || len(name) > matrix.MaxIDBytes {
		return nil, 0, false
	}
	var port string
	if name[0] == '[' {
		end := strings.IndexByte(name, ']')
		if end < 0 || end+1 < len(name) && name[end+1] != ':' {
			return nil, 0, false
		}
		addr, err := netip.ParseAddr(strings.Clone(name[1:end])) // its errors keep what they are given
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return nil, 0, false
		}
		buf[0] = '['
		key = append(addr.AppendTo(buf[:1]), ']')
		port = name[end+1:]
	} else {
		end := strings.IndexByte(name, ':')
		if end < 0 {
			end = len(name)
		}
		if key, ok = lowerHost(buf[:0], name[:end]); !ok {
			return nil, 0, false
		}
		port = name[end:]
	}
	host = len(key)
	if port == "" {
		return key, host, true
	}
	key, ok = appendPort(key, port[1:])
	return key, host, ok
}

// lowerHost appends host in lower case, without one trailing dot.
func lowerHost(dst []byte, host string) ([]byte, bool) {
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > maxNameBytes {
		return nil, false
	}
	for i := range len(host) {
		c := host[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c == '.':
			if i == 0 || i == len(host)-1 || host[i-1] == '.' {
				return nil, false // an empty label
			}
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
		default:
			return nil, false
		}
		dst = append(dst, c)
	}
	return dst, true
}

// appendPort appends a colon and the port without leading zeros, so that one
// port has one form.
func appendPort(dst []byte, port string) ([]byte, bool) {
	if port == "" || !allDigits(port) {
		return nil, false
	}
	port = strings.TrimLeft(port, "0")
	if port == "" || len(port) > 5 || len(port) == 5 && port > "65535" {
		return nil, false
	}
	return append(append(dst, ':'), port...), true
}

// Email is an e-mail address that was understood whole.
type Email struct {
	Local  string // as it was given
	Domain string // in comparable form
}

// ParseEmail reads an address once and for all. It takes one plain local part,
// one @ and one domain name, and what a second parser makes of the same text
// must be the text itself: an address that two programs could read differently
// is refused. Comments, quoted parts and IP addresses are refused too.
func ParseEmail(s string) (Email, error) {
	if len(s) > maxEmailBytes {
		return Email{}, errEmail
	}
	local, domain, found := strings.Cut(s, "@")
	if !found || strings.HasSuffix(domain, ".") || !validLocalpart(local) {
		return Email{}, errEmail
	}
	name, err := NormaliseDomain(domain)
	if err != nil {
		return Email{}, errEmail
	}
	if parsed, err := mail.ParseAddress(s); err != nil || parsed.Address != s || parsed.Name != "" {
		return Email{}, errEmail
	}
	return Email{Local: local, Domain: name}, nil
}

// validLocalpart accepts the dot-atom of RFC 5321, in ASCII.
func validLocalpart(s string) bool {
	if s == "" || len(s) > maxLocalBytes || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) >= 0) {
			return false
		}
	}
	return true
}

// validDomain accepts lower-case letters, digits and inner hyphens.
func validDomain(s string) bool {
	if s == "" || len(s) > maxNameBytes {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabelBytes || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
				return false
			}
		}
	}
	return true
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
