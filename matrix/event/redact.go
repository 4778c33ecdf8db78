package event

import (
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// Redact returns the event without what redaction takes away. Its ID is the
// same, its signatures stay good. The error is always nil.
//
// https://spec.matrix.org/v1.19/client-server-api/#redactions
func (e *Event) Redact() (*Event, error) {
	return e.derive(e.appendRedacted(make([]byte, 0, len(e.json)), true)), nil
}

// appendRedacted appends the redacted event. Without its signatures that is
// what is signed, and what the reference hash is over.
func (e *Event) appendRedacted(dst []byte, signatures bool) []byte {
	dst = append(dst, '{')
	first := true
	for f := range numFields {
		if !e.has(f) || !redactionKeeps(f, e.rules) || f == fieldSignatures && !signatures {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(append(dst, '"'), f.String()...), `":`...)
		if f == fieldContent {
			dst = e.appendRedactedContent(dst)
		} else {
			dst = append(dst, e.raw(f)...)
		}
	}
	return append(dst, '}')
}

func redactionKeeps(f field, rules *matrix.VersionRules) bool {
	switch f {
	case fieldMembership, fieldOrigin, fieldPrevState:
		return rules.RedactionKeepsOrigin
	case fieldRedacts, fieldUnsigned:
		return false
	}
	return true
}

func (e *Event) appendRedactedContent(dst []byte) []byte {
	if e.typ == typeCreate && e.rules.UpdatedRedaction {
		return append(dst, e.Content()...)
	}
	keep := contentKept(e.typ, e.rules)
	dst = append(dst, '{')
	if len(keep) == 0 {
		return append(dst, '}')
	}
	first := true
	c := canonicaljson.Object(e.Content())
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		thirdParty := e.typ == typeMember && e.rules.UpdatedRedaction &&
			string(m.Key) == "third_party_invite" && m.Value[0] == '{'
		if !thirdParty && !slices.Contains(keep, string(m.Key)) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if !thirdParty {
			dst = append(dst, m.Raw...)
			continue
		}
		dst = append(dst, `"third_party_invite":{`...)
		if signed := canonicaljson.Field(m.Value, "signed"); signed != nil {
			dst = append(append(dst, `"signed":`...), signed...)
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

var (
	keptMember         = []string{"membership"}
	keptMemberV9       = []string{"membership", "join_authorised_via_users_server"}
	keptCreate         = []string{"creator"}
	keptJoinRules      = []string{"join_rule"}
	keptJoinRulesV8    = []string{"join_rule", "allow"}
	keptAliases        = []string{"aliases"}
	keptVisibility     = []string{"history_visibility"}
	keptRedactionV11   = []string{"redacts"}
	keptPowerLevels    = []string{"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
	keptPowerLevelsV11 = append([]string{"invite"}, keptPowerLevels...)
)

// contentKept returns the keys of the content that redaction keeps. Version 11
// and later keep more of members and create events, see above.
//
// https://spec.matrix.org/v1.19/rooms/v12/#redactions
func contentKept(typ string, rules *matrix.VersionRules) []string {
	switch typ {
	case typeMember:
		if rules.RedactionKeepsAuthorised {
			return keptMemberV9
		}
		return keptMember
	case typeCreate:
		return keptCreate
	case typeJoinRules:
		if rules.RedactionKeepsAllow {
			return keptJoinRulesV8
		}
		return keptJoinRules
	case typePowerLevels:
		if rules.UpdatedRedaction {
			return keptPowerLevelsV11
		}
		return keptPowerLevels
	case typeAliases:
		if rules.AliasesAuth {
			return keptAliases
		}
	case typeHistoryVisibility:
		return keptVisibility
	case typeRedaction:
		if rules.UpdatedRedaction {
			return keptRedactionV11
		}
	}
	return nil
}
