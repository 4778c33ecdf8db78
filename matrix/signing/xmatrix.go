package signing

import (
	"strings"

	"beffroi/matrix"
)

// maxHeaderBytes is the longest X-Matrix header that is read: two server names,
// a key ID and a signature take less than 1,000 bytes.
//
// Divergence: the specification names no length. A longer header is refused.
const maxHeaderBytes = 4096

// XMatrix is an Authorization header of the scheme X-Matrix.
//
// https://spec.matrix.org/v1.19/server-server-api/#request-authentication
type XMatrix struct {
	Origin      matrix.ServerName
	Destination matrix.ServerName // "" when the sender is older than v1.3
	Key         matrix.KeyID
	Sig         string
}

// String returns the header in the form that old servers understand too.
func (x XMatrix) String() string {
	var b strings.Builder
	b.WriteString("X-Matrix ")
	write := func(name, value string) {
		b.WriteString(name)
		b.WriteString(`="`)
		for i := range len(value) {
			if value[i] == '"' || value[i] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(value[i])
		}
		b.WriteByte('"')
	}
	write("origin", string(x.Origin))
	if x.Destination != "" {
		write(",destination", string(x.Destination))
	}
	write(",key", string(x.Key))
	write(",sig", x.Sig)
	return b.String()
}

// ParseXMatrix reads an Authorization header. Names are in any case and order,
// values in quotes or not, unknown parameters are skipped. All mistakes are
// M_UNAUTHORIZED.
//
// https://spec.matrix.org/v1.19/server-server-api/#request-authentication
func ParseXMatrix(header string) (XMatrix, error) {
	if len(header) > maxHeaderBytes {
		return XMatrix{}, matrix.Unauthorized("the Authorization header is longer than %d bytes", maxHeaderBytes)
	}
	scheme, rest, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "X-Matrix") {
		return XMatrix{}, matrix.Unauthorized("the Authorization header is not X-Matrix")
	}
	params, err := parseParams(rest)
	if err != nil {
		return XMatrix{}, err
	}
	sig, ok := params["sig"]
	if !ok {
		sig = params["signature"]
	}
	origin, err := matrix.ParseServerName(params["origin"])
	if err != nil {
		return XMatrix{}, matrix.Unauthorized("X-Matrix: malformed origin")
	}
	key, err := matrix.ParseKeyID(params["key"])
	if err != nil || key.Algorithm() != Algorithm {
		return XMatrix{}, matrix.Unauthorized("X-Matrix: malformed key")
	}
	if sig == "" {
		return XMatrix{}, matrix.Unauthorized("X-Matrix: no signature")
	}
	x := XMatrix{Origin: origin, Key: key, Sig: sig}
	if destination, ok := params["destination"]; ok {
		if x.Destination, err = matrix.ParseServerName(destination); err != nil {
			return XMatrix{}, matrix.Unauthorized("X-Matrix: malformed destination")
		}
	}
	return x, nil
}

// parseParams reads name=value pairs with commas between them. A name that
// comes twice is refused: two readers could disagree which of them counts.
func parseParams(s string) (map[string]string, error) {
	params := make(map[string]string, 4)
	for s = strings.TrimLeft(s, " \t,"); s != ""; {
		name, rest, found := strings.Cut(s, "=")
		name = strings.ToLower(strings.TrimRight(name, " \t"))
		if !found || !isToken(name) {
			return nil, matrix.Unauthorized("X-Matrix: malformed parameter")
		}
		value, rest, ok := parseValue(strings.TrimLeft(rest, " \t"))
		if _, twice := params[name]; twice || !ok {
			return nil, matrix.Unauthorized("X-Matrix: malformed or repeated parameter")
		}
		params[name] = value
		rest = strings.TrimLeft(rest, " \t")
		if rest != "" && rest[0] != ',' {
			return nil, matrix.Unauthorized("X-Matrix: no comma between parameters")
		}
		s = strings.TrimLeft(rest, " \t,")
	}
	return params, nil
}

// parseValue reads a token or a quoted string. Old servers put what is no
// token (colons, slashes of base64) there without quotes, so anything up to a
// comma or white space will do.
func parseValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ", \t\"")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
