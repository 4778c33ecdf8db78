package matrix

import "strings"

// MXC names a file of a server: mxc://server/id.
//
// https://spec.matrix.org/v1.19/client-server-api/#matrix-content-mxc-uris
type MXC struct {
	Server ServerName
	ID     string
}

// NewMXC returns the name of a file from its two parts. What has a character
// that no such name has is M_INVALID_PARAM: an ID can never be a path.
//
// https://spec.matrix.org/v1.19/client-server-api/#content-repo-security-considerations
func NewMXC(server, id string) (MXC, error) {
	name, err := ParseServerName(server)
	if err != nil {
		return MXC{}, err
	}
	if id == "" || len(id) > MaxIDBytes {
		return MXC{}, InvalidParam("a media ID has between 1 and %d characters", MaxIDBytes)
	}
	for i := range len(id) {
		if !isAlphanumeric(id[i]) && id[i] != '_' && id[i] != '-' {
			return MXC{}, InvalidParam("%q is not a media ID", clip(id))
		}
	}
	return MXC{name, id}, nil
}

// ParseMXC reads an mxc:// URI.
//
// https://spec.matrix.org/v1.19/client-server-api/#matrix-content-mxc-uris
func ParseMXC(uri string) (MXC, error) {
	rest, ok := strings.CutPrefix(uri, "mxc://")
	if !ok {
		return MXC{}, InvalidParam("%q is not an mxc:// URI", clip(uri))
	}
	server, id, _ := strings.Cut(rest, "/")
	return NewMXC(server, id)
}

// String returns the URI.
func (m MXC) String() string { return "mxc://" + string(m.Server) + "/" + m.ID }
