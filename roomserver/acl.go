package roomserver

import (
	"context"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// AllowedByACL refuses a server that the state of a room shuts out, with 403
// M_FORBIDDEN. A room that is not known, or without a list, shuts out nobody,
// and no list shuts out this server from its own rooms.
//
// https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
func (s *Server) AllowedByACL(ctx context.Context, room matrix.RoomID, server matrix.ServerName) error {
	if server == s.self {
		return nil
	}
	return s.db.View(ctx, func(r *storage.Reader) error { return s.allowedByACL(ctx, r, room, server) })
}

func (s *Server) allowedByACL(ctx context.Context, r *storage.Reader, room matrix.RoomID, server matrix.ServerName) error {
	if server == s.self {
		return nil
	}
	e, err := rooms.StateEventIn(ctx, r, room, "m.room.server_acl")
	if err != nil || e == nil || aclAdmits(e.Content(), server) {
		return err
	}
	return matrix.Forbidden("%s is not allowed in this room", server)
}

// aclAdmits applies a server ACL. It reads the lists in place and stops at the
// first pattern that matches: there is nothing to keep for the next time.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomserver_acl
func aclAdmits(content []byte, server matrix.ServerName) bool {
	if string(canonicaljson.Field(content, "allow_ip_literals")) == "false" && server.IsIP() {
		return false
	}
	host := strings.ToLower(server.Host())
	return !aclNames(canonicaljson.Field(content, "deny"), host) && aclNames(canonicaljson.Field(content, "allow"), host)
}

// aclNames reports whether a pattern of a list matches a host in lower case.
func aclNames(list []byte, host string) bool {
	patterns := canonicaljson.Array(list)
	var buf []byte
	for {
		raw, ok := patterns.NextElement()
		if !ok {
			return false
		}
		buf = canonicaljson.AppendUnquoted(buf[:0], raw)
		if len(raw) > 0 && raw[0] == '"' && matrix.GlobMatches(buf, host) {
			return true
		}
	}
}
