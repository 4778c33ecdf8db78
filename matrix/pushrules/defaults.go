package pushrules

import (
	"encoding/json"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// masterRule is the one default rule that comes before the user's own.
const masterRule = ".m.rule.master"

// defaultRule is a rule of the specification. In its conditions "$user" stands
// for the user's ID.
type defaultRule struct {
	kind       Kind
	id         string
	conditions string
	actions    string
}

const (
	silently    = `[]`
	plainly     = `["notify"]`
	loudly      = `["notify",{"set_tweak":"sound","value":"default"}]`
	ringing     = `["notify",{"set_tweak":"sound","value":"ring"}]`
	highlighted = `["notify",{"set_tweak":"highlight"}]`
	byName      = `["notify",{"set_tweak":"sound","value":"default"},{"set_tweak":"highlight"}]`
)

// defaultRules are the predefined rules in their order. The rules that looked
// for names in the body are gone since v1.17 of the specification: clients say
// whom they mention.
//
// https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
var defaultRules = []defaultRule{
	{Override, masterRule, `[]`, silently},
	{Override, ".m.rule.suppress_notices", `[{"kind":"event_match","key":"content.msgtype","pattern":"m.notice"}]`, silently},
	{Override, ".m.rule.invite_for_me", `[{"kind":"event_match","key":"type","pattern":"m.room.member"},` +
		`{"kind":"event_match","key":"content.membership","pattern":"invite"},` +
		`{"kind":"event_match","key":"state_key","pattern":"$user"}]`, loudly},
	{Override, ".m.rule.member_event", `[{"kind":"event_match","key":"type","pattern":"m.room.member"}]`, silently},
	{Override, ".m.rule.is_user_mention", `[{"kind":"event_property_contains","key":"content.m\\.mentions.user_ids","value":"$user"}]`, byName},
	{Override, ".m.rule.is_room_mention", `[{"kind":"event_property_is","key":"content.m\\.mentions.room","value":true},` +
		`{"kind":"sender_notification_permission","key":"room"}]`, highlighted},
	{Override, ".m.rule.tombstone", `[{"kind":"event_match","key":"type","pattern":"m.room.tombstone"},` +
		`{"kind":"event_match","key":"state_key","pattern":""}]`, highlighted},
	{Override, ".m.rule.reaction", `[{"kind":"event_match","key":"type","pattern":"m.reaction"}]`, silently},
	{Override, ".m.rule.room.server_acl", `[{"kind":"event_match","key":"type","pattern":"m.room.server_acl"},` +
		`{"kind":"event_match","key":"state_key","pattern":""}]`, silently},
	{Override, ".m.rule.suppress_edits", `[{"kind":"event_property_is","key":"content.m\\.relates_to.rel_type","value":"m.replace"}]`, silently},

	{Underride, ".m.rule.call", `[{"kind":"event_match","key":"type","pattern":"m.call.invite"}]`, ringing},
	{Underride, ".m.rule.encrypted_room_one_to_one", `[{"kind":"room_member_count","is":"2"},` +
		`{"kind":"event_match","key":"type","pattern":"m.room.encrypted"}]`, loudly},
	{Underride, ".m.rule.room_one_to_one", `[{"kind":"room_member_count","is":"2"},` +
		`{"kind":"event_match","key":"type","pattern":"m.room.message"}]`, loudly},
	{Underride, ".m.rule.message", `[{"kind":"event_match","key":"type","pattern":"m.room.message"}]`, plainly},
	{Underride, ".m.rule.encrypted", `[{"kind":"event_match","key":"type","pattern":"m.room.encrypted"}]`, plainly},
}

// Default returns the rules of a user who changed nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
func Default(user matrix.UserID) Ruleset {
	none := Changes{}
	return none.Ruleset(user)
}

// rule makes the rule for one user.
func (d *defaultRule) rule(user matrix.UserID) Rule {
	quoted := string(canonicaljson.AppendString(nil, string(user)))
	return Rule{
		ID: d.id, Default: true, Enabled: d.id != masterRule,
		Actions:    list(d.actions),
		Conditions: list(strings.ReplaceAll(d.conditions, `"$user"`, quoted)),
	}
}

// list cuts an array of ours into its elements.
func list(array string) []json.RawMessage {
	out := []json.RawMessage{}
	c := canonicaljson.Array([]byte(array))
	for raw, ok := c.NextElement(); ok; raw, ok = c.NextElement() {
		out = append(out, raw)
	}
	return out
}
