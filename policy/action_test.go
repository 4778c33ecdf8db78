package policy

import "testing"

// TestEachEventTypeIsOneAction holds the types of the specification and of this
// server against the actions that they are.
func TestEachEventTypeIsOneAction(t *testing.T) {
	t.Parallel()
	want := map[string]Action{
		"m.room.create": ActionCreateRoom, "im.vector.room.access_rules": ActionSetAccessRule,
		"m.room.power_levels": ActionSetPowerLevels, "m.room.join_rules": ActionSetJoinRule,
		"m.room.encryption": ActionSetEncryption, "m.room.third_party_invite": ActionInvite3PID,
		"m.room.canonical_alias": ActionAlias, "m.room.aliases": ActionAlias, "m.room.tombstone": ActionUpgradeRoom,
	}
	for _, typ := range []string{"m.room.name", "m.room.topic", "m.room.avatar", "m.room.history_visibility", "m.room.guest_access",
		"m.room.server_acl", "m.room.pinned_events", "m.room.retention", "m.room.policy", "m.space.child", "m.space.parent",
		"m.policy.rule.user", "m.policy.rule.room", "m.policy.rule.server", "m.beacon_info", "org.matrix.msc3401.call.member",
		"fr.example.unknown"} {
		want[typ] = ActionSendState
	}
	r := newRoom(t, Restricted, "", false)
	for typ, action := range want {
		if got := EventAction(r.event(typ, "", alice, `{"a":1}`)); got != action {
			t.Errorf("%s is %s, want %s", typ, got, action)
		}
		if message := r.event(typ, notState, alice, `{"a":1}`); typ != "m.room.create" && EventAction(message) != ActionSendMessage {
			t.Errorf("%s that is no state is %s", typ, EventAction(message))
		}
	}
	for membership, action := range map[string]Action{"invite": ActionInvite, "join": ActionJoin, "knock": ActionKnock, "leave": ActionLeave,
		"ban": ActionKickBan, "dance": ActionNone, "": ActionNone} {
		content := `{"membership":"` + membership + `"}`
		if got := EventAction(r.event("m.room.member", string(alice), alice, content)); got != action {
			t.Errorf("membership %q is %s, want %s", membership, got, action)
		}
	}
	if got := EventAction(r.event("m.room.member", "@b:sante.example", alice, `{"membership":"leave"}`)); got != ActionKickBan {
		t.Errorf("a kick is %s", got)
	}
	if got := EventAction(r.event("m.room.third_party_invite", "t", alice, `{}`)); got != ActionKickBan {
		t.Errorf("an invitation that is taken back is %s", got)
	}
}
