package matrix

import (
	"encoding/json"
	"strings"
)

// The types of account data in which users say who may invite them. Those with
// a vendor's prefix are what clients wrote before there was the first one, and
// what they write to choose in more detail.
//
// https://spec.matrix.org/v1.19/client-server-api/#minvite_permission_config
const (
	TypeInvitePermission       = "m.invite_permission_config"
	TypeInvitePermissionBefore = "org.matrix.msc4380.invite_permission_config"
	TypeInviteFilter           = "org.matrix.msc4155.invite_permission_config"
)

// InviteAction is what becomes of an invitation.
//
// https://spec.matrix.org/v1.19/client-server-api/#invite-permission
type InviteAction uint8

const (
	// InviteAllow shows it.
	InviteAllow InviteAction = iota
	// InviteIgnore takes it and shows it to nobody.
	InviteIgnore
	// InviteBlock refuses it.
	InviteBlock
)

// InvitePermission is whom a user lets invite them. The zero value is everybody.
//
// https://spec.matrix.org/v1.19/client-server-api/#invite-permission
type InvitePermission struct {
	block  bool
	filter inviteFilter
}

// inviteFilter is the content of [TypeInviteFilter]. Names are patterns, in
// which * stands for anything and ? for one character.
type inviteFilter struct {
	Enabled        *bool    `json:"enabled"`
	AllowedUsers   []string `json:"allowed_users"`
	IgnoredUsers   []string `json:"ignored_users"`
	BlockedUsers   []string `json:"blocked_users"`
	AllowedServers []string `json:"allowed_servers"`
	IgnoredServers []string `json:"ignored_servers"`
	BlockedServers []string `json:"blocked_servers"`
}

// maxInvitePatterns bounds the patterns of a list that are looked at. The
// content is not longer than any account data; nobody has more by hand.
const maxInvitePatterns = 1000

// Read takes the content of account data of one of the types. Other types, and
// what is not of their form, say nothing: clients write what they like.
func (p *InvitePermission) Read(typ string, content []byte) {
	switch typ {
	case TypeInvitePermission, TypeInvitePermissionBefore:
		var c struct {
			Action string `json:"default_action"`
		}
		if json.Unmarshal(content, &c) == nil && c.Action == "block" {
			p.block = true
		}
	case TypeInviteFilter:
		var f inviteFilter
		if json.Unmarshal(content, &f) == nil && (f.Enabled == nil || *f.Enabled) {
			p.filter = f
		}
	}
}

// Of returns what becomes of an invitation by a user.
func (p *InvitePermission) Of(host UserID) InviteAction {
	if p.block {
		return InviteBlock
	}
	user, server := strings.ToLower(string(host)), strings.ToLower(host.Server().Host())
	for _, rule := range []struct {
		patterns []string
		name     string
		action   InviteAction
	}{
		{p.filter.AllowedUsers, user, InviteAllow},
		{p.filter.IgnoredUsers, user, InviteIgnore},
		{p.filter.BlockedUsers, user, InviteBlock},
		{p.filter.AllowedServers, server, InviteAllow},
		{p.filter.IgnoredServers, server, InviteIgnore},
		{p.filter.BlockedServers, server, InviteBlock},
	} {
		for _, pattern := range rule.patterns[:min(len(rule.patterns), maxInvitePatterns)] {
			if GlobMatches(pattern, rule.name) {
				return rule.action
			}
		}
	}
	return InviteAllow
}
