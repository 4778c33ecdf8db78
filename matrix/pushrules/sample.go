package pushrules

import (
	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
)

// Sample returns the input of an event of nobody in a room, which has the
// fields that are given and no other: what rules say of it they say of every
// event like it. fields are the content, the type and the state key in
// canonical JSON, without the braces. The sender may notify everybody.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
func Sample(room matrix.RoomID, fields string, members int64) (*Input, error) {
	rules, err := matrix.DefaultRoomVersion.Rules()
	if err != nil {
		return nil, err
	}
	raw := canonicaljson.AppendString([]byte(`{"depth":1,"origin_server_ts":1,"sender":"@-","room_id":`), string(room))
	raw = append(append(append(raw, ','), fields...), '}')
	e, err := event.ParseStored(raw, "$-", rules)
	if err != nil {
		return nil, err
	}
	return NewInput(e, members, func(string) bool { return true }), nil
}
