package policy

import "slices"

// strictest returns the stricter of two words. words are in the order of
// strictness; empty in the floor is fallback, empty in the local document is
// the word of the floor.
func strictest(floor, local, fallback string, words ...string) string {
	if floor == "" {
		floor = fallback
	}
	if local == "" || slices.Contains(words, local) && slices.Index(words, local) < slices.Index(words, floor) {
		return floor
	}
	return local
}

func mergeFederation(floor, local Federation) Federation {
	local.Default = strictest(floor.Default, local.Default, "deny", "allow", "deny")
	local.Allow = union(local.Allow, floor.Allow)
	local.Deny = slices.Clone(local.Deny) // the floor asks its own
	return local
}

// union adds to a what it does not name.
func union(a, b []Entry) []Entry {
	out := slices.Clone(a)
	for _, e := range b {
		if !slices.ContainsFunc(a, func(have Entry) bool { return have.Name == e.Name }) {
			out = append(out, e)
		}
	}
	return out
}

func mergeRooms(floor, local Rooms) Rooms {
	local.AccessRules = strictest(floor.AccessRules, local.AccessRules, "enforce", "off", "enforce")
	local.DefaultRule = strictest(floor.DefaultRule, local.DefaultRule, string(Restricted), string(Unrestricted), string(Restricted))
	if local.Version == "" {
		local.Version = floor.Version
	}
	switch { // absent is everything
	case local.Encrypt == nil:
		local.Encrypt = floor.Encrypt
	case floor.Encrypt == nil:
		local.Encrypt = nil
	default:
		local.Encrypt = slices.Concat(local.Encrypt, floor.Encrypt)
	}
	if f := floor.Public.Federate; local.Public.Federate == nil || f != nil && !*f {
		local.Public.Federate = f
	}
	if limit := floor.Public.Retention; limit != 0 && (local.Public.Retention == 0 || limit < local.Public.Retention) {
		local.Public.Retention = limit
	}
	return local
}

func mergeExternals(floor, local Externals) Externals {
	for _, right := range []struct{ floor, local **bool }{
		{&floor.CreateRooms, &local.CreateRooms}, {&floor.Invite, &local.Invite},
		{&floor.SearchDirectory, &local.SearchDirectory}, {&floor.Publish, &local.Publish},
	} {
		if f := *right.floor; *right.local == nil || f == nil || !*f {
			*right.local = f
		}
	}
	if f := floor.MaxPower; local.MaxPower == nil || f == nil || *f < *local.MaxPower {
		local.MaxPower = f
	}
	return local
}

// rights returns what external accounts may do.
func (e Externals) rights() (out externalRights) {
	said := func(b *bool) bool { return b != nil && *b }
	out.createRooms, out.invite = said(e.CreateRooms), said(e.Invite)
	out.searchDirectory, out.publish = said(e.SearchDirectory), said(e.Publish)
	if e.MaxPower != nil {
		out.maxPower = *e.MaxPower
	}
	return out
}
