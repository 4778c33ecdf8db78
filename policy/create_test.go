package policy

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"pgregory.net/rapid"
)

func rules(content string) []StateEvent {
	return []StateEvent{{Type: TypeAccessRules, Content: json.RawMessage(content)}}
}

// contentOf returns the content that a plan gives a state event, "" for none.
func contentOf(p CreatePlan, typ string) string {
	i := slices.IndexFunc(p.State, func(e StateEvent) bool { return e.Type == typ && e.StateKey == "" })
	if i < 0 {
		return ""
	}
	return string(p.State[i].Content)
}

func levelsOf(t *testing.T, p CreatePlan) map[string]any {
	t.Helper()
	var out map[string]any
	if p.State[0].Type != typePowerLevels || json.Unmarshal(p.State[0].Content, &out) != nil {
		t.Fatalf("%+v", p.State[0])
	}
	return out
}

// TestCreateRoomMatrix holds what each kind of request gets.
func TestCreateRoomMatrix(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	type want struct {
		rule, visibility, join, history string
		force, encrypted, public        bool
		invite                          float64
	}
	private := want{"restricted", "private", "invite", "invited", false, true, false, 50}
	direct, open, plain := private, private, private
	direct.rule, open.rule, plain.force, plain.encrypted = "direct", "unrestricted", true, false
	forum := want{"restricted", "public", "public", "shared", false, false, true, 0}
	inSpace := want{"restricted", "private", "restricted", "shared", false, false, false, 0}
	byLink := want{"restricted", "private", "public", "shared", false, false, false, 50}
	joinState := func(rule string) StateEvent {
		return StateEvent{Type: typeJoinRules, Content: json.RawMessage(`{"join_rule":"` + rule + `"}`)}
	}
	for name, tc := range map[string]struct {
		in   CreateRequest
		want want
	}{
		"nothing said":               {CreateRequest{}, private},
		"private_chat":               {CreateRequest{Preset: "private_chat", Visibility: "private", InitialState: rules(`{"rule":"restricted"}`)}, private},
		"trusted":                    {CreateRequest{Preset: "trusted_private_chat"}, private},
		"direct":                     {CreateRequest{Preset: "trusted_private_chat", IsDirect: true, Invite: []matrix.UserID{bob}}, direct},
		"direct with an external":    {CreateRequest{IsDirect: true, Invite: []matrix.UserID{partner}}, direct},
		"direct, said":               {CreateRequest{IsDirect: true, InitialState: rules(`{"rule":"direct"}`)}, direct},
		"external":                   {CreateRequest{Preset: "private_chat", Invite: []matrix.UserID{partner}, InitialState: rules(`{"rule":"unrestricted","visibility":"private"}`)}, open},
		"unencrypted":                {CreateRequest{Preset: "private_chat", InitialState: rules(`{"rule":"restricted","force_unencrypted_at_creation":true}`)}, plain},
		"unencrypted without preset": {CreateRequest{InitialState: rules(`{"rule":"restricted","force_unencrypted_at_creation":true}`)}, plain},
		"forum":                      {CreateRequest{Preset: "public_chat", Visibility: "public", InitialState: rules(`{"rule":"restricted"}`)}, forum},
		"forum, said public":         {CreateRequest{Preset: "public_chat", InitialState: rules(`{"rule":"restricted","visibility":"public"}`)}, forum},
		"public without preset":      {CreateRequest{Visibility: "public"}, forum},
		"public_chat without public": {CreateRequest{Preset: "public_chat"}, forum},
		"forum in a space":           {CreateRequest{Preset: "public_chat", Visibility: "private", InitialState: append(rules(`{"rule":"restricted"}`), joinState("restricted"))}, inSpace},
		"the same by its rule":       {CreateRequest{Preset: "public_chat", InitialState: append(rules(`{"rule":"restricted","visibility":"private"}`), joinState("restricted"))}, inSpace},
		"private by link":            {CreateRequest{InitialState: []StateEvent{joinState("public")}}, byLink},
		"the later of two":           {CreateRequest{InitialState: []StateEvent{joinState("public"), joinState("invite")}}, private},
		"escaped keys":               {CreateRequest{InitialState: rules("{\"r\\u0075le\":\"unrestricted\"}")}, open},
		"encryption of the client":   {CreateRequest{InitialState: []StateEvent{{Type: typeEncryption, Content: json.RawMessage(`{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_msgs":5}`)}}}, private},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.in.Creator, tc.in.Now = alice, noon
			p, err := NewEngine(s).PrepareRoom(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			a, valid := readAccessRules([]byte(contentOf(p, TypeAccessRules)))
			levels := levelsOf(t, p)
			got := want{string(a.rule), a.visibility, joinRule([]byte(contentOf(p, typeJoinRules))),
				word(field([]byte(contentOf(p, typeHistory)), "history_visibility"), "shared", "invited"), a.force,
				contentOf(p, typeEncryption) != "", p.Public, levels["invite"].(float64)}
			if !valid || got != tc.want || levels["state_default"] != 100.0 || p.Version != "12" {
				t.Errorf("got %+v\nwant %+v\n%+v", got, tc.want, p)
			}
			if strings.HasPrefix(name, "encryption") && !strings.Contains(contentOf(p, typeEncryption), "rotation") {
				t.Errorf("%+v", p)
			}
			admitPlan(t, s, tc.in.Creator, p)
		})
	}
}

// admitPlan writes a plan event by event, as the room server does.
func admitPlan(t testing.TB, s *Snapshot, creator matrix.UserID, p CreatePlan) *room {
	t.Helper()
	r := &room{t: t, version: p.Version, state: make(map[event.StateTuple]*event.Event)}
	write := func(typ, key, content string) {
		e := r.event(typ, key, creator, content)
		d := s.AdmitEvent(&EventRequest{Event: e, State: r, Create: r.create, Creating: true, Now: noon})
		if !d.Allow {
			t.Fatalf("%s %s is in the plan and refused: %+v", typ, content, d)
		}
		r.state[e.StateTuple()] = e
		if typ == typeCreate {
			r.create = e
		}
	}
	write(typeCreate, "", string(p.CreationContent))
	write(typeMember, string(creator), `{"membership":"join"}`)
	for _, e := range p.State {
		write(e.Type, e.StateKey, string(e.Content))
	}
	return r
}

func TestCreateRoomRefusals(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	encryption := StateEvent{Type: typeEncryption, Content: json.RawMessage(`{"algorithm":"m.megolm.v1.aes-sha2"}`)}
	state := func(typ, content string) []StateEvent {
		return []StateEvent{{Type: typ, Content: json.RawMessage(content)}}
	}
	many := make([]StateEvent, maxInitialState+1)
	const bad, json400 = "M_INVALID_ROOM_STATE", "M_BAD_JSON"
	for name, tc := range map[string]struct {
		in   CreateRequest
		want string // a reason of the policy or an errcode
	}{
		"external":                     {CreateRequest{Creator: partner}, "external_cannot_create"},
		"stranger":                     {CreateRequest{Creator: nobody}, "unknown_server"},
		"preset":                       {CreateRequest{Preset: "secret_chat"}, "M_INVALID_PARAM"},
		"visibility":                   {CreateRequest{Visibility: "secret"}, "M_INVALID_PARAM"},
		"version":                      {CreateRequest{Version: "99"}, "M_UNSUPPORTED_ROOM_VERSION"},
		"no rule":                      {CreateRequest{InitialState: rules(`{}`)}, bad},
		"another rule":                 {CreateRequest{InitialState: rules(`{"rule":"open"}`)}, bad},
		"direct, not is_direct":        {CreateRequest{InitialState: rules(`{"rule":"direct"}`)}, bad},
		"is_direct, not direct":        {CreateRequest{IsDirect: true, InitialState: rules(`{"rule":"restricted"}`)}, bad},
		"direct and public":            {CreateRequest{IsDirect: true, Preset: "public_chat"}, bad},
		"direct and joinable":          {CreateRequest{IsDirect: true, InitialState: state(typeJoinRules, `{"join_rule":"public"}`)}, bad},
		"direct and listed":            {CreateRequest{IsDirect: true, Visibility: "public"}, bad},
		"two visibilities":             {CreateRequest{Visibility: "private", InitialState: rules(`{"rule":"restricted","visibility":"public"}`)}, bad},
		"public and private_chat":      {CreateRequest{Visibility: "public", Preset: "private_chat"}, bad},
		"public by invitation":         {CreateRequest{Visibility: "public", InitialState: state(typeJoinRules, `{"join_rule":"invite"}`)}, bad},
		"public and open":              {CreateRequest{Visibility: "public", InitialState: rules(`{"rule":"unrestricted"}`)}, "access_rule_public_room"},
		"public and encrypted":         {CreateRequest{Visibility: "public", InitialState: []StateEvent{encryption}}, "encryption_in_public_room"},
		"public_chat and encrypted":    {CreateRequest{Preset: "public_chat", InitialState: []StateEvent{encryption}}, "encryption_in_public_room"},
		"unencrypted and encrypted":    {CreateRequest{InitialState: append(rules(`{"rule":"restricted","force_unencrypted_at_creation":true}`), encryption)}, "encryption_refused_at_creation"},
		"unencrypted and trusted":      {CreateRequest{Preset: "trusted_private_chat", InitialState: rules(`{"rule":"restricted","force_unencrypted_at_creation":true}`)}, bad},
		"unencrypted and public":       {CreateRequest{Preset: "public_chat", InitialState: rules(`{"rule":"restricted","force_unencrypted_at_creation":true}`)}, bad},
		"unencrypted and direct":       {CreateRequest{IsDirect: true, InitialState: rules(`{"rule":"direct","force_unencrypted_at_creation":true}`)}, bad},
		"retention too long":           {CreateRequest{Visibility: "public", InitialState: state(typeRetention, `{"max_lifetime":10368000000}`)}, "public_room_retention"},
		"low invite":                   {CreateRequest{PowerLevels: json.RawMessage(`{"invite":0}`)}, bad},
		"low state_default":            {CreateRequest{PowerLevels: json.RawMessage(`{"state_default":50}`)}, bad},
		"low state_default in state":   {CreateRequest{InitialState: state(typePowerLevels, `{"state_default":50}`)}, bad},
		"levels of nonsense":           {CreateRequest{PowerLevels: json.RawMessage(`{"users":7}`)}, json400},
		"levels that are no object":    {CreateRequest{PowerLevels: json.RawMessage(`[]`)}, json400},
		"creator listed in version 12": {CreateRequest{PowerLevels: json.RawMessage(`{"users":{"@alice:interieur.example":100}}`)}, bad},
		"open for all administrators":  {CreateRequest{InitialState: rules(`{"rule":"unrestricted"}`), PowerLevels: json.RawMessage(`{"users_default":100}`)}, "open_room_users_default"},
		"external with power":          {CreateRequest{InitialState: rules(`{"rule":"unrestricted"}`), PowerLevels: json.RawMessage(`{"users":{"@pierre:externe.example":50}}`)}, "open_room_external_power"},
		"external creator":             {CreateRequest{CreationContent: json.RawMessage(`{"additional_creators":["@pierre:externe.example"]}`)}, "external_has_no_power"},
		"creator of nowhere":           {CreateRequest{CreationContent: json.RawMessage(`{"additional_creators":["bob"]}`)}, "M_INVALID_PARAM"},
		"creators of nonsense":         {CreateRequest{CreationContent: json.RawMessage(`{"additional_creators":7}`)}, json400},
		"creation content":             {CreateRequest{CreationContent: json.RawMessage(`7`)}, json400},
		"external invited":             {CreateRequest{Invite: []matrix.UserID{bob, partner}}, "external_in_restricted_room"},
		"stranger invited":             {CreateRequest{Invite: []matrix.UserID{nobody}}, "unknown_server"},
		"three in a direct room":       {CreateRequest{IsDirect: true, Invite: []matrix.UserID{bob, "@c:sante.example"}}, full},
		"three by mail":                {CreateRequest{IsDirect: true, Invite: []matrix.UserID{bob}, InviteEmails: []string{"x@sante.gouv.example"}}, full},
		"external by mail":             {CreateRequest{InviteEmails: []string{"x@partner.example"}}, "external_in_restricted_room"},
		"a name for two":               {CreateRequest{IsDirect: true, Name: "x"}, "direct_room_name"},
		"a topic for two":              {CreateRequest{IsDirect: true, Topic: "x"}, "direct_room_name"},
		"a picture for two":            {CreateRequest{IsDirect: true, InitialState: state("m.room.avatar", `{}`)}, "direct_room_name"},
		"member in the state":          {CreateRequest{InitialState: state(typeMember, `{}`)}, bad},
		"create in the state":          {CreateRequest{InitialState: state(typeCreate, `{}`)}, bad},
		"token in the state":           {CreateRequest{InitialState: state(typeThirdParty, `{}`)}, bad},
		"no type":                      {CreateRequest{InitialState: state("", `{}`)}, json400},
		"no object":                    {CreateRequest{InitialState: state("x", `[]`)}, json400},
		"no JSON":                      {CreateRequest{InitialState: state("x", `{"\u00`)}, json400},
		"too much":                     {CreateRequest{InitialState: many}, "M_TOO_LARGE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.in.Now = noon
			if tc.in.Creator == "" {
				tc.in.Creator = alice
			}
			_, err := s.PrepareRoom(tc.in)
			answer, told := errors.AsType[*matrix.Error](err)
			if !told {
				t.Fatalf("%v", err)
			}
			got := answer.Code
			if refusal, denied := errors.AsType[*Refusal](err); denied {
				if got != "M_FORBIDDEN" || refusal.Error() == "" {
					t.Errorf("%v", answer)
				}
				got = string(refusal.Decision.Reason)
			}
			if got != tc.want {
				t.Errorf("got %s (%v), want %s", got, err, tc.want)
			}
		})
	}
}

func TestCreateRoomDetails(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, strings.Replace(testDocument, "public: {", `version: "11", encrypt: [direct], default_rule: unrestricted, public: {federate: false, `, 1), "interieur.example")
	p, err := s.PrepareRoom(CreateRequest{Creator: alice, Visibility: "public", Name: "N", Topic: "T", Now: noon,
		CreationContent: json.RawMessage(`{"m.federate":true,"type":"x"}`), InitialState: []StateEvent{{Type: "m.room.name", Content: json.RawMessage(`{"name":"old"}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Version != "11" || string(p.CreationContent) != `{"m.federate":false,"type":"x"}` || !p.Facts.NoFederate ||
		contentOf(p, typeRetention) != `{"max_lifetime":7776000000}` || contentOf(p, "m.room.name") != `{"name":"N"}` ||
		contentOf(p, "m.room.topic") != `{"m.topic":{"m.text":[{"body":"T"}]},"topic":"T"}` || p.Facts.Rule != Restricted {
		t.Errorf("%+v", p)
	}
	p, err = s.PrepareRoom(CreateRequest{Creator: alice, Now: noon})
	if err != nil || p.Facts.Rule != Unrestricted || p.Facts.Encrypted {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = s.PrepareRoom(CreateRequest{Creator: alice, Now: noon, Preset: "trusted_private_chat", Invite: []matrix.UserID{bob, partner, alice, bob},
		PowerLevels: json.RawMessage(`{"users":{"@c:sante.example":50},"ban":60}`)})
	if err != nil {
		t.Fatal(err)
	}
	levels := levelsOf(t, p)
	users := levels["users"].(map[string]any)
	if !maps.Equal(users, map[string]any{"@alice:interieur.example": 100.0, "@bob:sante.example": 100.0, "@c:sante.example": 50.0}) ||
		levels["ban"] != 60.0 || levels["kick"] != 50.0 {
		t.Errorf("%+v", levels)
	}
	p, err = s.PrepareRoom(CreateRequest{Creator: alice, Now: noon, Version: "12", Preset: "trusted_private_chat", Invite: []matrix.UserID{bob, partner}})
	if err != nil || string(p.CreationContent) != `{"additional_creators":["@bob:sante.example"]}` {
		t.Errorf("%+v, %v", p, err)
	}
	if levels = levelsOf(t, p); len(levels["users"].(map[string]any)) != 0 || levels["events"].(map[string]any)["m.room.tombstone"] != 150.0 {
		t.Errorf("%+v", levels)
	}
}

// TestCreateRoomWithoutAccessRules holds that a development server makes rooms
// as the specification says.
func TestCreateRoomWithoutAccessRules(t *testing.T) {
	t.Parallel()
	s, err := Compile(Permissive("me.example"), "me.example")
	if err != nil {
		t.Fatal(err)
	}
	for preset, want := range map[string][3]string{
		"private_chat":         {`{"join_rule":"invite"}`, `{"history_visibility":"shared"}`, `{"guest_access":"can_join"}`},
		"trusted_private_chat": {`{"join_rule":"invite"}`, `{"history_visibility":"shared"}`, `{"guest_access":"can_join"}`},
		"public_chat":          {`{"join_rule":"public"}`, `{"history_visibility":"shared"}`, `{"guest_access":"forbidden"}`},
	} {
		p, err := s.PrepareRoom(CreateRequest{Creator: "@a:me.example", Version: "11", Preset: preset, Invite: []matrix.UserID{"@b:x.example", "@c:y.example"},
			IsDirect: preset == "trusted_private_chat", Name: "N", PowerLevels: json.RawMessage(`{"users_default":10,"invite":0}`),
			InitialState: []StateEvent{{Type: TypeAccessRules, Content: json.RawMessage(`{"rule":"anything"}`)}, {Type: "x.y", StateKey: "k", Content: json.RawMessage(`{}`)}}})
		if err != nil {
			t.Fatal(err)
		}
		levels := levelsOf(t, p)
		users := 1
		if preset == "trusted_private_chat" {
			users = 3
		}
		if [3]string{contentOf(p, typeJoinRules), contentOf(p, typeHistory), contentOf(p, typeGuestAccess)} != want || p.Public ||
			contentOf(p, typeEncryption) != "" || contentOf(p, TypeAccessRules) != `{"rule":"anything"}` ||
			levels["state_default"] != 50.0 || levels["users_default"] != 10.0 || len(levels["users"].(map[string]any)) != users {
			t.Errorf("%s: %+v", preset, p)
		}
		admitPlan(t, s, "@a:me.example", p)
	}
	p, err := s.PrepareRoom(CreateRequest{Creator: "@a:me.example", Visibility: "public"})
	if err != nil || !p.Public || contentOf(p, typeJoinRules) != `{"join_rule":"public"}` || contentOf(p, TypeAccessRules) != "" {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestPlansAreAdmitted holds for random requests that what is planned can be
// written, and that the room then is what the plan says.
func TestPlansAreAdmitted(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	pick := func(rt *rapid.T, name string, from ...string) string { return rapid.SampledFrom(from).Draw(rt, name) }
	rapid.Check(t, func(rt *rapid.T) {
		in := CreateRequest{
			Creator: alice, Now: noon, Preset: pick(rt, "preset", "", "private_chat", "trusted_private_chat", "public_chat"),
			Visibility: pick(rt, "visibility", "", "public", "private"), IsDirect: rapid.Bool().Draw(rt, "direct"),
			Version: matrix.RoomVersion(pick(rt, "version", "", "9", "10", "11", "12")), Name: pick(rt, "name", "", "N"),
			Invite:      rapid.SliceOfN(rapid.SampledFrom([]matrix.UserID{bob, partner, alice}), 0, 2).Draw(rt, "invite"),
			PowerLevels: json.RawMessage(pick(rt, "levels", `{}`, `{"users_default":50}`, `{"users":{"@bob:sante.example":100}}`, `{"users":{"@pierre:externe.example":10}}`)),
		}
		for typ, contents := range map[string][]string{
			TypeAccessRules: {`{"rule":"restricted"}`, `{"rule":"unrestricted"}`, `{"rule":"direct"}`, `{"rule":"restricted","visibility":"public"}`, `{"force_unencrypted_at_creation":true,"rule":"unrestricted"}`},
			typeJoinRules:   {`{"join_rule":"public"}`, `{"join_rule":"invite"}`, `{"join_rule":"restricted"}`},
			typeEncryption:  {`{"algorithm":"m.megolm.v1.aes-sha2"}`, `{}`},
			"m.room.topic":  {`{"topic":"x"}`},
			typeRetention:   {`{"max_lifetime":1}`, `{}`},
		} {
			if content := pick(rt, typ, append(contents, "")...); content != "" {
				in.InitialState = append(in.InitialState, StateEvent{Type: typ, Content: json.RawMessage(content)})
			}
		}
		p, err := s.PrepareRoom(in)
		if err != nil {
			return
		}
		r := admitPlan(t, s, alice, p)
		facts := Facts(r, r.create, "")
		facts.ID = p.Facts.ID
		if facts != p.Facts {
			rt.Fatalf("planned %+v, became %+v", p.Facts, facts)
		}
		for _, user := range in.Invite {
			if user == alice {
				continue
			}
			e := r.event(typeMember, string(user), alice, `{"membership":"invite"}`)
			if d := s.AdmitEvent(&EventRequest{Event: e, State: r, Create: r.create, Now: noon}); !d.Allow {
				rt.Fatalf("%s was planned and is refused: %+v", user, d)
			}
			r.state[e.StateTuple()] = e
		}
	})
}
