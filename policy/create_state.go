package policy

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"beffroi/matrix"
)

// accessRule finds the rule of the room and the facts that follow from it.
func (c *creation) accessRule() error {
	c.facts = RoomFacts{Creator: c.in.Creator, JoinRule: "invite", Visibility: c.in.Visibility}
	if c.in.Preset == "public_chat" {
		c.facts.JoinRule = "public"
	}
	if content := c.given(typeJoinRules); content != nil {
		c.facts.JoinRule = joinRule(content)
	}
	if !c.s.enforce {
		c.facts.Visibility = ""
		return nil
	}
	rule, err := c.askedRule()
	if err != nil {
		return err
	}
	public := c.in.Visibility == visibilityPublic
	switch {
	case rule.rule == Direct && (public || c.facts.JoinRule == "public"):
		return invalidRoom("a direct room is not public")
	case rule.rule != Restricted && public:
		return c.refuse(ReasonRulePublic, nil)
	case public && c.facts.JoinRule != "public":
		return invalidRoom("a public room has the join rule public")
	case rule.force && (public || rule.rule == Direct || c.in.Preset != "private_chat"):
		return invalidRoom("force_unencrypted_at_creation is for rooms of the preset private_chat")
	}
	c.facts.Rule, c.facts.ForceUnencrypted = rule.rule, rule.force
	return nil
}

// askedRule returns the client's rule, or the one the document gives.
func (c *creation) askedRule() (accessRules, error) {
	content := c.take(TypeAccessRules)
	if content == nil {
		return accessRules{rule: c.defaultRule()}, nil
	}
	rule, valid := readAccessRules(content)
	switch {
	case !valid:
		return rule, invalidRoom("the access rule is restricted, unrestricted or direct, its visibility public or private")
	case c.in.IsDirect != (rule.rule == Direct):
		return rule, invalidRoom("the access rule direct and is_direct go together")
	case rule.visibility != "" && rule.visibility != c.in.Visibility:
		return rule, invalidRoom("visibility is %s and the access rule says %s", c.in.Visibility, rule.visibility)
	}
	return rule, nil
}

func (c *creation) defaultRule() AccessRule {
	switch {
	case c.in.IsDirect:
		return Direct
	case c.in.Visibility == visibilityPublic || c.s.doc.Rooms.DefaultRule == "":
		return Restricted
	}
	return AccessRule(c.s.doc.Rooms.DefaultRule)
}

// encryption adds the encryption that the document demands, and refuses one
// that the room could not be given later either.
func (c *creation) encryption() error {
	content := c.take(typeEncryption)
	if c.s.enforce && content != nil {
		if reason := judgeEncryption(nil, content, &c.facts); reason != "" {
			return c.refuse(reason, nil)
		}
	}
	if content == nil && c.demandsEncryption() {
		content = json.RawMessage(`{"algorithm":"m.megolm.v1.aes-sha2"}`)
	}
	if content != nil {
		c.facts.Encrypted = encrypts(content)
		c.add(typeEncryption, content)
	}
	return nil
}

func (c *creation) demandsEncryption() bool {
	if !c.s.enforce || c.open() || c.facts.ForceUnencrypted {
		return false
	}
	kind := "private"
	if c.facts.Rule == Direct {
		kind = "direct"
	}
	return c.s.doc.Rooms.Encrypt == nil || slices.Contains(c.s.doc.Rooms.Encrypt, kind)
}

// open reports whether everybody admitted may come in, so that secrecy would be
// a pretence.
func (c *creation) open() bool {
	return c.in.Preset == "public_chat" || c.facts.JoinRule == "public"
}

// defaults adds the state of the preset, each in the client's words where it
// has some, then the access rule.
func (c *creation) defaults() error {
	history, guests := "shared", "can_join"
	if c.s.enforce {
		guests = "forbidden"
		if !c.open() {
			history = "invited"
		}
	} else if c.in.Preset == "public_chat" {
		guests = "forbidden"
	}
	joins := "invite"
	if c.in.Preset == "public_chat" {
		joins = "public"
	}
	for _, d := range []struct{ typ, key, value string }{
		{typeJoinRules, "join_rule", joins},
		{typeHistory, "history_visibility", history},
		{typeGuestAccess, "guest_access", guests},
	} {
		content := c.take(d.typ)
		if content == nil {
			content = json.RawMessage(`{"` + d.key + `":"` + d.value + `"}`)
		}
		c.add(d.typ, content)
	}
	if !c.s.enforce {
		return nil
	}
	c.add(TypeAccessRules, json.RawMessage(`{"force_unencrypted_at_creation":`+strconv.FormatBool(c.facts.ForceUnencrypted)+
		`,"rule":"`+string(c.facts.Rule)+`","visibility":"`+c.in.Visibility+`"}`))
	return c.retention()
}

// retention gives a public room the longest retention there may be, unless it
// asks for a shorter one.
func (c *creation) retention() error {
	limit := time.Duration(c.s.doc.Rooms.Public.Retention).Milliseconds()
	if limit == 0 || c.in.Visibility != visibilityPublic {
		return nil
	}
	content := c.take(typeRetention)
	if content == nil {
		content = json.RawMessage(`{"max_lifetime":` + strconv.FormatInt(limit, 10) + `}`)
	}
	if !c.s.retains(content) {
		return c.refuse(ReasonRetention, nil)
	}
	c.add(typeRetention, content)
	return nil
}

// creationContent completes the content of the create event: whether the room
// federates, and in version 12 who its creators are.
func (c *creation) creationContent() error {
	c.content = make(map[string]json.RawMessage)
	if c.in.CreationContent != nil {
		if !isObject(c.in.CreationContent) || json.Unmarshal(c.in.CreationContent, &c.content) != nil {
			return matrix.BadJSON("creation_content is not an object")
		}
	}
	if federate := c.s.doc.Rooms.Public.Federate; c.s.enforce && federate != nil && !*federate && c.in.Visibility == visibilityPublic {
		c.content["m.federate"] = json.RawMessage("false")
	}
	c.facts.NoFederate = string(c.content["m.federate"]) == "false"
	if !c.rules.PrivilegedCreators {
		return nil
	}
	return c.creators()
}

// creators judges additional_creators, to which the preset trusted_private_chat
// adds those who are invited. Externals are left out: they have no power.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
func (c *creation) creators() error {
	const key = "additional_creators"
	var creators []matrix.UserID
	if raw := c.content[key]; raw != nil && json.Unmarshal(raw, &creators) != nil {
		return matrix.BadJSON("additional_creators is not a list of user IDs")
	}
	for _, user := range creators {
		if _, err := matrix.ParseUserID(string(user)); err != nil {
			return err
		}
	}
	if c.s.enforce {
		if reason, org := c.s.judgeCreatorList(creators, c.in.Now); reason != "" {
			return c.refuse(reason, org)
		}
	}
	for _, user := range c.trusted() {
		if !slices.Contains(creators, user) {
			creators = append(creators, user)
		}
	}
	if len(creators) > 0 {
		c.content[key], _ = json.Marshal(creators) // strings
	}
	return nil
}

// trusted returns the invited who get the power of the creator.
func (c *creation) trusted() []matrix.UserID {
	if c.in.Preset != "trusted_private_chat" {
		return nil
	}
	var out []matrix.UserID
	for _, user := range c.in.Invite {
		if c.s.standing(user.Server(), c.in.Now).class != ClassExternal && user != c.in.Creator && !slices.Contains(out, user) {
			out = append(out, user)
		}
	}
	return out
}

// nameAndTopic puts name and topic at the end of the state, over what the
// initial state says.
func (c *creation) nameAndTopic() error {
	if c.s.enforce && c.facts.Rule == Direct {
		for _, typ := range []string{"m.room.name", "m.room.topic", "m.room.avatar"} {
			if c.given(typ) != nil || c.in.Name != "" || c.in.Topic != "" {
				return c.refuse(ReasonDirectName, nil)
			}
		}
	}
	if c.in.Name != "" {
		c.take("m.room.name")
		content, _ := json.Marshal(map[string]string{"name": c.in.Name}) // strings
		c.state = append(c.state, StateEvent{Type: "m.room.name", Content: content})
	}
	if c.in.Topic != "" {
		c.take("m.room.topic")
		type body struct {
			Body string `json:"body"`
		}
		content, _ := json.Marshal(map[string]any{ // strings
			"topic": c.in.Topic, "m.topic": map[string]any{"m.text": []body{{c.in.Topic}}},
		})
		c.state = append(c.state, StateEvent{Type: "m.room.topic", Content: content})
	}
	return nil
}

// invitations asks about each invitation as if the room were there already, so
// that a room is made whole or not at all.
func (c *creation) invitations() error {
	taken := 1
	for i, user := range c.in.Invite {
		if user == c.in.Creator || slices.Contains(c.in.Invite[:i], user) {
			continue
		}
		room := c.facts
		room.Seats = taken
		if err := c.decide(Request{Action: ActionInvite, Subject: user, Room: &room}); err != nil {
			return err
		}
		taken++
	}
	for _, address := range c.in.InviteEmails {
		room := c.facts
		room.Seats = taken
		if err := c.decide(Request{Action: ActionInvite3PID, Email: address, Room: &room}); err != nil {
			return err
		}
		taken++
	}
	return c.decide(Request{Action: ActionCreateRoom, Room: &c.facts})
}
