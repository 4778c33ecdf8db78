package syncapi

import (
	"context"
	"encoding/json"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/pushrules"
	"beffroi/storage"
	"beffroi/storage/users"
)

// Types of account data that sync looks into.
const (
	typePushRules = "m.push_rules"
	typeIgnored   = "m.ignored_user_list"
)

// maxIgnored bounds how many users one can ignore.
const maxIgnored = 10_000

type accountData = users.AccountData

// accountDatas is what changed of the account data: of the account, and by room.
type accountDatas struct {
	global []accountData
	rooms  map[matrix.RoomID][]accountData
}

// readAccountData reads what the clients of the account changed.
func (a *answer) readAccountData(ctx context.Context) error {
	a.data.rooms = make(map[matrix.RoomID][]accountData)
	if !a.changes.all && !a.changes.data {
		return nil
	}
	list, err := users.AccountDataAfter(ctx, a.r, a.req.User, max(a.from, 0), a.to)
	if err != nil {
		return err
	}
	rules := false
	for _, d := range list {
		if d.Room != "" {
			a.data.rooms[d.Room] = append(a.data.rooms[d.Room], d)
			continue
		}
		if d.Type == typePushRules {
			rules = true
			d.Content = shownRules(d.Content)
		}
		a.addGlobal(d)
	}
	if a.since == nil && !rules { // they never changed one
		content, err := json.Marshal(map[string]any{"global": pushrules.Default(a.req.User)})
		if err != nil {
			return err
		}
		a.addGlobal(accountData{Type: typePushRules, Content: string(content)})
	}
	return nil
}

func (a *answer) addGlobal(d accountData) {
	if wantsType(&a.filter.AccountData, d.Type) {
		a.data.global = append(a.data.global, d)
	}
}

// shownRules returns what clients see of the stored push rules: beside it stands
// what the account changed of the default rules.
func shownRules(content string) string {
	global := canonicaljson.Field([]byte(content), "global")
	if global == nil {
		return "{}"
	}
	return `{"global":` + string(global) + `}`
}

// dataRooms returns the joined rooms whose account data changed.
func (a *answer) dataRooms() []int64 {
	ids := make(map[matrix.RoomID]bool, len(a.data.rooms))
	for id := range a.data.rooms {
		ids[id] = true
	}
	return a.s.notifier.joinedTo(a.account, ids)
}

// spreadAccountData gives the joined rooms their account data: what changed, or
// all of it where the user has just joined.
func (a *answer) spreadAccountData(ctx context.Context) error {
	f := &a.filter.Room.AccountData
	data := a.data.rooms
	if a.since != nil && a.enteredAny() {
		list, err := users.AccountDataAfter(ctx, a.r, a.req.User, 0, a.to)
		if err != nil {
			return err
		}
		all := make(map[matrix.RoomID][]accountData)
		for _, d := range list {
			all[d.Room] = append(all[d.Room], d)
		}
		for _, rm := range a.list {
			if rm.entered {
				data[rm.RoomID] = all[rm.RoomID]
			}
		}
	}
	for _, rm := range a.list {
		if rm.section != joined || rm.hidden || !f.WantsRoom(rm.RoomID) {
			continue
		}
		for _, d := range data[rm.RoomID] {
			if wantsType(f, d.Type) {
				rm.data = append(rm.data, d)
			}
		}
	}
	return nil
}

func (a *answer) enteredAny() bool {
	for _, rm := range a.list {
		if rm.entered {
			return true
		}
	}
	return false
}

// readIgnored reads whom the user ignores, unless that has not changed.
//
// https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
func (a *answer) readIgnored(ctx context.Context) error {
	var known bool
	if a.ignored, known = a.s.notifier.ignoredBy(a.account); known {
		return nil
	}
	content, err := users.AccountDataOf(ctx, a.r, a.req.User, "", typeIgnored)
	if err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
		return err
	}
	a.ignored = readIgnoredList(content, a.req.User)
	a.s.notifier.setIgnored(a.account, a.ignored, a.to)
	return nil
}

// readIgnoredList reads the list of a client, which may be anything.
func readIgnoredList(content string, self matrix.UserID) map[matrix.UserID]bool {
	var list struct {
		Users map[matrix.UserID]json.RawMessage `json:"ignored_users"`
	}
	if content == "" || json.Unmarshal([]byte(content), &list) != nil || len(list.Users) > maxIgnored {
		return nil
	}
	ignored := make(map[matrix.UserID]bool, len(list.Users))
	for user := range list.Users {
		ignored[user] = user != self
	}
	return ignored
}

// ignoredBy returns whom an account ignores, if that was read after it last
// changed.
func (n *notifier) ignoredBy(a *account) (ignored map[matrix.UserID]bool, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return a.ignored, a.ignoredAt > 0 && a.ignoredAt >= a.data
}

func (n *notifier) setIgnored(a *account, ignored map[matrix.UserID]bool, at storage.Position) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at > a.ignoredAt {
		a.ignored, a.ignoredAt = ignored, at
	}
}
