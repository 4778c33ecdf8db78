package syncapi

import (
	"context"

	"beffroi/matrix/event"
	"beffroi/storage/rooms"
)

var nameKey, avatarKey = event.StateTuple{Type: typeName}, event.StateTuple{Type: typeAvatar}

// readNames finds out what the rooms are called and what stands for them, where
// that changed, and of which the members did.
func (a *slideAnswer) readNames(ctx context.Context) error {
	var want []int64
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		want = append(want, p.changes[nameKey], p.changes[avatarKey])
		if rm.whole {
			ends := a.ends(rm)
			want = append(want, ends[nameKey], ends[avatarKey])
		}
	}
	if err := a.events(ctx, want); err != nil {
		return err
	}
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		switch {
		case rm.section != joined && rm.section != left || rm.bare:
		case rm.whole:
			ends := a.ends(rm)
			if text := stringOf(a.loaded[ends[nameKey]], "name"); text != "" {
				p.name = &text
			}
			if text := stringOf(a.loaded[ends[avatarKey]], "url"); text != "" {
				p.avatar = &text
			}
			p.counted = rm.section == joined
		default:
			p.name = a.changed(p, nameKey, "name")
			p.avatar = a.changed(p, avatarKey, "url")
			p.counted = rm.section == joined && p.membersChanged()
		}
	}
	return nil
}

// changed returns a field of a state event that changed, nil where it did not.
func (a *slideAnswer) changed(p *pick, key event.StateTuple, field string) *string {
	nid, changed := p.changes[key]
	if !changed {
		return nil
	}
	text := stringOf(a.loaded[nid], field)
	return &text
}

func (p *pick) membersChanged() bool {
	for key := range p.changes {
		if key.Type == typeMember {
			return true
		}
	}
	return false
}

// readHeroes reads after whom the rooms without a name are called, where that
// may have changed.
func (a *slideAnswer) readHeroes(ctx context.Context) error {
	var nids, unsure []int64
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		switch {
		case rm.section != joined || !p.counted && p.name == nil:
		case rm.whole && p.name == nil || p.name != nil && *p.name == "":
			nids = append(nids, rm.RoomNID)
		case p.name == nil:
			unsure = append(unsure, rm.RoomNID)
		}
	}
	named, err := rooms.StateEventsOf(ctx, a.r, unsure, typeName)
	if err != nil {
		return err
	}
	for _, nid := range unsure {
		if stringOf(named[nid], "name") == "" {
			nids = append(nids, nid)
		}
	}
	found, err := rooms.Heroes(ctx, a.r, a.req.User, nids)
	if err != nil {
		return err
	}
	var keys []rooms.MemberKey
	for nid, users := range found {
		for _, user := range users {
			keys = append(keys, rooms.MemberKey{RoomNID: nid, User: user})
		}
	}
	members, err := rooms.MemberEventsOf(ctx, a.r, keys, a.rules)
	for nid, users := range found {
		for _, user := range users {
			a.byNID[nid].heroes = append(a.byNID[nid].heroes, hero{user, members[rooms.MemberKey{RoomNID: nid, User: user}]})
		}
	}
	return err
}
