package policy

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// room is a room of a test: its state, and how deep it has become.
type room struct {
	t       testing.TB
	version matrix.RoomVersion
	create  *event.Event
	state   map[event.StateTuple]*event.Event
	depth   int
}

func (r *room) Event(typ, key string) *event.Event {
	return r.state[event.StateTuple{Type: typ, StateKey: key}]
}

func (r *room) Each(typ string, fn func(*event.Event) bool) {
	for k, e := range r.state {
		if k.Type == typ && !fn(e) {
			return
		}
	}
}

const notState = "\x00"

// event makes an event; key notState is a message.
func (r *room) event(typ, key string, sender matrix.UserID, content string) *event.Event {
	r.t.Helper()
	r.depth++
	fields := map[string]any{
		"type": typ, "sender": sender, "room_id": "!r:x", "depth": r.depth,
		"origin_server_ts": noon.UnixMilli(), "content": json.RawMessage(content),
		"prev_events": []string{}, "auth_events": []string{},
	}
	if key != notState {
		fields["state_key"] = key
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		r.t.Fatalf("%s: %v", content, err)
	}
	rules, err := r.version.Rules()
	if err != nil {
		r.t.Fatal(err)
	}
	e, err := event.ParseStored(raw, matrix.EventID("$e"+strconv.Itoa(r.depth)), rules)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// set puts an event into the state without asking anybody.
func (r *room) set(typ, key string, sender matrix.UserID, content string) *room {
	r.t.Helper()
	e := r.event(typ, key, sender, content)
	r.state[event.StateTuple{Type: typ, StateKey: key}] = e
	if typ == typeCreate {
		r.create = e
	}
	return r
}

func (r *room) member(user matrix.UserID, membership string) *room {
	return r.set(typeMember, string(user), user, `{"membership":"`+membership+`"}`)
}

// newRoom makes a room of alice under an access rule; "" is none.
func newRoom(t testing.TB, rule AccessRule, visibility string, force bool) *room {
	r := &room{t: t, version: "11", state: make(map[event.StateTuple]*event.Event)}
	r.set(typeCreate, "", alice, `{"room_version":"11"}`).member(alice, "join")
	r.set(typePowerLevels, "", alice, `{"users":{"@alice:interieur.example":100},"state_default":100,"invite":50}`)
	join := "invite"
	if visibility == visibilityPublic {
		join = "public"
	}
	r.set(typeJoinRules, "", alice, `{"join_rule":"`+join+`"}`)
	if rule != "" {
		r.set(TypeAccessRules, "", alice, fmt.Sprintf(`{"force_unencrypted_at_creation":%v,"rule":%q,"visibility":%q}`, force, rule, visibility))
	}
	if !force && visibility != visibilityPublic {
		r.set(typeEncryption, "", alice, `{"algorithm":"m.megolm.v1.aes-sha2"}`)
	}
	return r
}

// try is one event that somebody tries in a room.
type try struct {
	room         func(*room) // what happened before
	typ, key     string
	sender       matrix.UserID
	content      string
	source       Source
	creating     bool
	want         [5]string // in rooms: restricted, unrestricted, direct, public, unencrypted
	all          string    // or the same in all
	withoutRules string    // in a room without an access rule; "" is as restricted
}

func (c try) run(t *testing.T, s *Snapshot, r *room, want string) {
	t.Helper()
	if c.room != nil {
		c.room(r)
	}
	e := r.event(c.typ, c.key, c.sender, c.content)
	d := s.AdmitEvent(&EventRequest{Event: e, State: r, Create: r.create, Source: c.source, Creating: c.creating, Now: noon})
	checkDecision(t, fmt.Sprintf("%s %s %s by %s", c.typ, c.key, c.content, c.sender), d, want)
}

func TestMatrixOfEvents(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	kinds := []struct {
		name       string
		rule       AccessRule
		visibility string
		force      bool
	}{
		{"restricted", Restricted, "private", false}, {"unrestricted", Unrestricted, "private", false},
		{"direct", Direct, "private", false}, {"public", Restricted, "public", false},
		{"unencrypted", Restricted, "private", true}, {"without rule", "", "private", false},
	}
	for name, tc := range eventTable {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, kind := range kinds {
				want := tc.all
				if want == "" {
					want = tc.want[min(i%5, 4)]
				}
				if kind.rule == "" && tc.withoutRules != "" {
					want = tc.withoutRules
				}
				for _, source := range []Source{SourceClient, SourceFederation} {
					if tc.source != SourceClient && tc.source != source {
						continue
					}
					c := tc
					c.source = source
					t.Run(kind.name+" "+source.String(), func(t *testing.T) {
						c.run(t, s, newRoom(t, kind.rule, kind.visibility, kind.force), want)
					})
				}
			}
		})
	}
}

func invited(user matrix.UserID) func(*room) { return func(r *room) { r.member(user, "invite") } }
func joined(user matrix.UserID) func(*room)  { return func(r *room) { r.member(user, "join") } }

const (
	ok       = "allow"
	noExt    = "external_in_restricted_room"
	uninvite = "external_needs_invite"
	full     = "direct_room_full"
	noPower  = "external_has_no_power"
)

var eventTable = map[string]try{
	"a ministry is invited":       {typ: typeMember, key: string(bob), sender: alice, content: `{"membership":"invite"}`, all: ok},
	"a ministry joins":            {typ: typeMember, key: string(bob), sender: bob, content: `{"membership":"join"}`, all: ok},
	"a ministry knocks":           {typ: typeMember, key: string(bob), sender: bob, content: `{"membership":"knock"}`, all: ok},
	"a third is invited":          {room: joined(bob), typ: typeMember, key: "@c:sante.example", sender: alice, content: `{"membership":"invite"}`, want: [5]string{ok, ok, full, ok, ok}},
	"a third joins":               {room: joined(bob), typ: typeMember, key: "@c:sante.example", sender: "@c:sante.example", content: `{"membership":"join"}`, want: [5]string{ok, ok, full, ok, ok}},
	"a third knocks":              {room: joined(bob), typ: typeMember, key: "@c:sante.example", sender: "@c:sante.example", content: `{"membership":"knock"}`, want: [5]string{ok, ok, full, ok, ok}},
	"a seat was left":             {room: func(r *room) { r.member(bob, "leave") }, typ: typeMember, key: "@c:sante.example", sender: alice, content: `{"membership":"invite"}`, all: ok},
	"a seat was cleared":          {room: func(r *room) { r.member(bob, "ban") }, typ: typeMember, key: "@c:sante.example", sender: alice, content: `{"membership":"invite"}`, all: ok},
	"who left comes back":         {room: func(r *room) { r.member(bob, "leave") }, typ: typeMember, key: string(bob), sender: alice, content: `{"membership":"invite"}`, all: ok},
	"external is invited":         {typ: typeMember, key: string(partner), sender: alice, content: `{"membership":"invite"}`, want: [5]string{noExt, ok, ok, noExt, noExt}},
	"external joins":              {typ: typeMember, key: string(partner), sender: partner, content: `{"membership":"join"}`, want: [5]string{noExt, uninvite, uninvite, noExt, noExt}},
	"external joins invited":      {room: invited(partner), typ: typeMember, key: string(partner), sender: partner, content: `{"membership":"join"}`, want: [5]string{noExt, ok, ok, noExt, noExt}},
	"external renames himself":    {room: joined(partner), typ: typeMember, key: string(partner), sender: partner, content: `{"displayname":"P","membership":"join"}`, want: [5]string{noExt, ok, ok, noExt, noExt}},
	"external knocks":             {typ: typeMember, key: string(partner), sender: partner, content: `{"membership":"knock"}`, want: [5]string{noExt, ok, ok, noExt, noExt}},
	"external leaves":             {room: joined(partner), typ: typeMember, key: string(partner), sender: partner, content: `{"membership":"leave"}`, all: ok},
	"external declines":           {room: invited(partner), typ: typeMember, key: string(partner), sender: partner, content: `{"membership":"leave"}`, all: ok},
	"external is kicked":          {room: joined(partner), typ: typeMember, key: string(partner), sender: alice, content: `{"membership":"leave"}`, all: ok},
	"external is banned":          {room: joined(partner), typ: typeMember, key: string(partner), sender: alice, content: `{"membership":"ban"}`, all: ok},
	"external invites":            {room: joined(partner), typ: typeMember, key: string(bob), sender: partner, content: `{"membership":"invite"}`, all: "external_cannot_invite"},
	"external invites by mail":    {room: joined(partner), typ: typeThirdParty, key: "t", sender: partner, content: `{"display_name":"x"}`, all: "external_cannot_invite"},
	"external talks":              {room: joined(partner), typ: "m.room.message", key: notState, sender: partner, content: `{}`, want: [5]string{noExt, ok, ok, noExt, noExt}},
	"external calls":              {room: joined(partner), typ: "m.call.member", key: "x", sender: partner, content: `{}`, want: [5]string{noExt, ok, ok, noExt, noExt}},
	"external sets power":         {room: joined(partner), typ: typePowerLevels, sender: partner, content: `{}`, all: noPower},
	"external sets join rule":     {room: joined(partner), typ: typeJoinRules, sender: partner, content: `{"join_rule":"public"}`, all: noPower},
	"external sets encryption":    {room: joined(partner), typ: typeEncryption, sender: partner, content: `{}`, all: noPower},
	"external opens":              {room: joined(partner), typ: TypeAccessRules, sender: partner, content: `{"rule":"unrestricted"}`, all: noPower},
	"external upgrades":           {room: joined(partner), typ: "m.room.tombstone", sender: partner, content: `{}`, all: noPower},
	"external sets alias":         {room: joined(partner), typ: "m.room.canonical_alias", sender: partner, content: `{}`, all: noPower},
	"stranger joins":              {room: invited(nobody), typ: typeMember, key: string(nobody), sender: nobody, content: `{"membership":"join"}`, all: "unknown_server"},
	"stranger is invited":         {typ: typeMember, key: string(nobody), sender: alice, content: `{"membership":"invite"}`, all: "unknown_server"},
	"stranger knocks":             {typ: typeMember, key: string(nobody), sender: nobody, content: `{"membership":"knock"}`, all: "unknown_server"},
	"stranger talks":              {typ: "m.room.message", key: notState, sender: nobody, content: `{}`, all: "unknown_server"},
	"stranger leaves":             {typ: typeMember, key: string(nobody), sender: nobody, content: `{"membership":"leave"}`, all: ok},
	"stranger is banned":          {typ: typeMember, key: string(nobody), sender: alice, content: `{"membership":"ban"}`, all: ok},
	"enemy talks":                 {typ: "m.room.message", key: notState, sender: enemy, content: `{}`, all: "blocked_server"},
	"enemy joins":                 {typ: typeMember, key: string(enemy), sender: enemy, content: `{"membership":"join"}`, all: "blocked_server"},
	"denied talks":                {typ: "m.room.message", key: notState, sender: denied, content: `{}`, all: "blocked_server"},
	"nobody's account joins":      {typ: typeMember, key: string(notary), sender: notary, content: `{"membership":"join"}`, all: "no_organisation"},
	"an invented membership":      {typ: typeMember, key: string(bob), sender: bob, content: `{"membership":"owner"}`, all: "malformed_event"},
	"no membership":               {typ: typeMember, key: string(bob), sender: bob, content: `{}`, all: "malformed_event"},
	"a ministry talks":            {typ: "m.room.message", key: notState, sender: bob, content: `{}`, all: ok},
	"policy server":               {typ: "m.room.policy", sender: alice, content: `{"via":"x"}`, all: ok},
	"server ACL":                  {typ: "m.room.server_acl", sender: alice, content: `{}`, all: ok},
	"third-party invite":          {typ: typeThirdParty, key: "t", sender: alice, content: `{"display_name":"x"}`, all: ok},
	"third-party invite, full":    {room: joined(bob), typ: typeThirdParty, key: "t", sender: alice, content: `{"display_name":"x"}`, want: [5]string{ok, ok, full, ok, ok}},
	"join rule public":            {typ: typeJoinRules, sender: alice, content: `{"join_rule":"public"}`, want: [5]string{ok, ok, "direct_room_public", ok, ok}},
	"join rule invite":            {typ: typeJoinRules, sender: alice, content: `{"join_rule":"invite"}`, want: [5]string{ok, ok, ok, "public_room_stays_public", ok}},
	"join rule of a space":        {typ: typeJoinRules, sender: alice, content: `{"join_rule":"restricted"}`, want: [5]string{ok, ok, ok, "public_room_stays_public", ok}},
	"join rule unknown":           {typ: typeJoinRules, sender: alice, content: `{"join_rule":7}`, want: [5]string{ok, ok, ok, "public_room_stays_public", ok}},
	"name":                        {typ: "m.room.name", sender: alice, content: `{"name":"x"}`, want: [5]string{ok, ok, "direct_room_name", ok, ok}},
	"topic":                       {typ: "m.room.topic", sender: alice, content: `{"topic":"x"}`, want: [5]string{ok, ok, "direct_room_name", ok, ok}},
	"picture":                     {typ: "m.room.avatar", sender: alice, content: `{}`, want: [5]string{ok, ok, "direct_room_name", ok, ok}},
	"a name that is none":         {typ: "m.room.name", key: "x", sender: alice, content: `{"name":"x"}`, all: ok},
	"encryption":                  {typ: typeEncryption, sender: alice, content: `{"algorithm":"m.megolm.v1.aes-sha2"}`, want: [5]string{ok, ok, ok, "encryption_in_public_room", "encryption_refused_at_creation"}},
	"encryption with rotation":    {typ: typeEncryption, sender: alice, content: `{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_msgs":7}`, want: [5]string{ok, ok, ok, "encryption_in_public_room", "encryption_refused_at_creation"}},
	"encryption removed":          {typ: typeEncryption, sender: alice, content: `{}`, want: [5]string{"encryption_is_for_good", "encryption_is_for_good", "encryption_is_for_good", "encryption_in_public_room", "encryption_refused_at_creation"}},
	"encryption weakened":         {typ: typeEncryption, sender: alice, content: `{"algorithm":"rot13"}`, want: [5]string{"encryption_is_for_good", "encryption_is_for_good", "encryption_is_for_good", "encryption_in_public_room", "encryption_refused_at_creation"}},
	"retention short":             {typ: typeRetention, sender: alice, content: `{"max_lifetime":5184000000}`, all: ok},
	"retention long":              {typ: typeRetention, sender: alice, content: `{"max_lifetime":10368000000}`, want: [5]string{ok, ok, ok, "public_room_retention", ok}},
	"retention removed":           {typ: typeRetention, sender: alice, content: `{}`, want: [5]string{ok, ok, ok, "public_room_retention", ok}},
	"users_default raised":        {typ: typePowerLevels, sender: alice, content: `{"users_default":50}`, want: [5]string{ok, "open_room_users_default", ok, ok, ok}},
	"users_default lowered":       {typ: typePowerLevels, sender: alice, content: `{"users_default":-1}`, want: [5]string{ok, "open_room_users_default", ok, ok, ok}},
	"external given power":        {typ: typePowerLevels, sender: alice, content: `{"users":{"@pierre:externe.example":50}}`, want: [5]string{ok, "open_room_external_power", ok, ok, ok}},
	"external muted":              {typ: typePowerLevels, sender: alice, content: `{"users":{"@pierre:externe.example":-1}}`, want: [5]string{ok, "open_room_external_power", ok, ok, ok}},
	"external at 0":               {typ: typePowerLevels, sender: alice, content: `{"users":{"@bob:sante.example":50,"@pierre:externe.example":0}}`, all: ok},
	"power levels of nonsense":    {typ: typePowerLevels, sender: alice, content: `{"users":7}`, want: [5]string{ok, "power_levels_invalid", ok, ok, ok}},
	"power levels of another key": {typ: typePowerLevels, key: "x", sender: alice, content: `{"users_default":50}`, all: ok},
}
