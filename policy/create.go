package policy

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"beffroi/matrix"
)

// maxInitialState bounds the initial state of a new room.
const maxInitialState = 500

// StateEvent is a state event that is about to be written.
type StateEvent struct {
	Type     string
	StateKey string
	Content  json.RawMessage
}

// CreateRequest is what a client asks of a new room. Empty fields are absent.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
type CreateRequest struct {
	Creator         matrix.UserID
	Preset          string
	Visibility      string
	IsDirect        bool
	Name, Topic     string
	Version         matrix.RoomVersion
	DefaultVersion  matrix.RoomVersion // where neither the client nor the document names one
	CreationContent json.RawMessage
	InitialState    []StateEvent
	PowerLevels     json.RawMessage // power_level_content_override
	Invite          []matrix.UserID
	InviteEmails    []string // of invite_3pid
	Source          Source
	Now             time.Time
}

// CreatePlan is how a room is made.
type CreatePlan struct {
	Version matrix.RoomVersion
	// Public says that the room goes into the directory.
	Public bool
	// CreationContent is the content of the create event but creator and
	// room_version, which the room server knows.
	CreationContent json.RawMessage
	// State is what to write after the creator has joined, in order; the power
	// levels are the first. The invitations come after it.
	State []StateEvent
	// Facts are those of the room when it is made.
	Facts RoomFacts
}

// Refusal is the error of a request that the policy denies.
type Refusal struct{ Decision Decision }

// Error makes *Refusal an error. The text is for logs.
func (r *Refusal) Error() string { return "policy: " + string(r.Decision.Reason) }

// Unwrap returns what the client is told, without the ID of the decision: who
// audits the refusal knows it and answers with [Decision.Error].
func (r *Refusal) Unwrap() error { return r.Decision.Error("") }

// invalidRoom says that the parameters of a room contradict each other.
func invalidRoom(format string, args ...any) error {
	return matrix.NewError(http.StatusBadRequest, "M_INVALID_ROOM_STATE", format, args...)
}

// PrepareRoom plans a room by the active snapshot.
func (e *Engine) PrepareRoom(in CreateRequest) (CreatePlan, error) {
	return e.active.Load().PrepareRoom(in)
}

// PrepareRoom turns what a client asks for into the state of the new room, or
// says why not: a *[Refusal] where the policy denies it, a *matrix.Error
// (M_INVALID_PARAM, M_INVALID_ROOM_STATE, M_BAD_JSON, M_TOO_LARGE or
// M_UNSUPPORTED_ROOM_VERSION) where the parameters are at fault. What the plan
// says, [Snapshot.AdmitEvent] admits.
//
// Where the document enforces access rules the parameters have one meaning
// each: a preset that is absent follows from the visibility, a visibility that
// is absent follows from the preset, and a public room is never encrypted.
func (s *Snapshot) PrepareRoom(in CreateRequest) (CreatePlan, error) {
	c := creation{s: s, in: in}
	steps := []func() error{
		c.mayCreate, c.words, c.version, c.initialState, c.accessRule, c.defaults, c.encryption,
		c.creationContent, c.powerLevels, c.nameAndTopic, c.invitations,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return CreatePlan{}, err
		}
	}
	return c.plan(), nil
}

// creation is a room in the making.
type creation struct {
	s     *Snapshot
	in    CreateRequest
	rules *matrix.VersionRules
	facts RoomFacts

	state   []StateEvent // the initial state, in order
	chosen  []StateEvent // what the server adds
	levels  json.RawMessage
	content map[string]json.RawMessage // of the create event
}

func (c *creation) refuse(reason Reason, of *organisation) error {
	return &Refusal{c.s.deny(ActionCreateRoom, reason, "", &judgement{refused: of})}
}

func (c *creation) decide(r Request) error {
	r.Actor, r.Source, r.Now = c.in.Creator, c.in.Source, c.in.Now
	if d := c.s.Decide(&r); !d.Allow {
		return &Refusal{d}
	}
	return nil
}

func (c *creation) mayCreate() error { return c.decide(Request{Action: ActionCreateRoom}) }

// words fills in preset and visibility from each other.
func (c *creation) words() error {
	if !slices.Contains([]string{"", visibilityPublic, visibilityPrivate}, c.in.Visibility) {
		return matrix.InvalidParam("visibility is public or private")
	}
	switch c.in.Preset {
	case "private_chat", "trusted_private_chat", "public_chat":
	case "":
		c.in.Preset = "private_chat"
		if c.in.Visibility == visibilityPublic {
			c.in.Preset = "public_chat"
		}
	default:
		return matrix.InvalidParam("preset is private_chat, trusted_private_chat or public_chat")
	}
	if c.in.Visibility == "" {
		c.in.Visibility = visibilityPrivate
		if c.s.enforce && c.in.Preset == "public_chat" && !c.privateByRule() {
			c.in.Visibility = visibilityPublic
		}
	}
	return nil
}

// privateByRule reports whether the client's own access rule event says that
// the room is private.
func (c *creation) privateByRule() bool {
	for _, e := range c.in.InitialState {
		if e.Type == TypeAccessRules && e.StateKey == "" {
			return word(field(plain(e.Content), "visibility"), visibilityPrivate) != ""
		}
	}
	return false
}

func (c *creation) version() (err error) {
	for _, v := range []matrix.RoomVersion{c.in.Version, c.s.RoomVersion(), c.in.DefaultVersion, matrix.DefaultRoomVersion} {
		if v != "" {
			c.in.Version = v
			break
		}
	}
	c.rules, err = c.in.Version.Rules()
	return err
}

// initialState takes the client's state; of two with one type and key the later
// holds. What makes members is not state that a client may set.
func (c *creation) initialState() error {
	if len(c.in.InitialState) > maxInitialState {
		return matrix.TooLarge("initial_state has more than %d events", maxInitialState)
	}
	at := make(map[[2]string]int, len(c.in.InitialState))
	for _, e := range c.in.InitialState {
		e.Content = plain(e.Content)
		switch {
		case e.Type == "":
			return matrix.BadJSON("initial_state has an event without a type")
		case e.Type == typeCreate || e.Type == typeMember || e.Type == typeThirdParty:
			return invalidRoom("%s cannot be in initial_state", e.Type)
		case !isObject(e.Content):
			return matrix.BadJSON("the content of %s is not an object", clip(e.Type))
		}
		if i, again := at[[2]string{e.Type, e.StateKey}]; again {
			c.state[i].Content = e.Content
			continue
		}
		at[[2]string{e.Type, e.StateKey}] = len(c.state)
		c.state = append(c.state, e)
	}
	return nil
}

func isObject(raw json.RawMessage) bool {
	i := skipSpace(raw, 0)
	return i < len(raw) && raw[i] == '{' && json.Valid(raw)
}

// plain writes JSON without escapes where there are some, so that a key has one
// form to compare. What cannot be read stays as it is, and is refused later.
func plain(raw json.RawMessage) json.RawMessage {
	if !bytes.Contains(raw, []byte(`\u`)) {
		return raw
	}
	in := json.NewDecoder(bytes.NewReader(raw))
	in.UseNumber()
	var v any
	if in.Decode(&v) != nil || in.More() {
		return raw
	}
	var out bytes.Buffer
	w := json.NewEncoder(&out)
	w.SetEscapeHTML(false)
	if w.Encode(v) != nil {
		return raw
	}
	return bytes.TrimSpace(out.Bytes())
}

// given returns the client's content of a state event with an empty key, or nil.
func (c *creation) given(typ string) json.RawMessage {
	for _, e := range c.state {
		if e.Type == typ && e.StateKey == "" {
			return e.Content
		}
	}
	return nil
}

// take removes the client's state event from the list, so that the plan can put
// it in its place, and returns its content.
func (c *creation) take(typ string) json.RawMessage {
	content := c.given(typ)
	c.state = slices.DeleteFunc(c.state, func(e StateEvent) bool { return e.Type == typ && e.StateKey == "" })
	return content
}

func (c *creation) add(typ string, content json.RawMessage) {
	c.chosen = append(c.chosen, StateEvent{Type: typ, Content: content})
}

func (c *creation) plan() CreatePlan {
	content, _ := json.Marshal(c.content) // raw messages that were valid
	state := append([]StateEvent{{Type: typePowerLevels, Content: c.levels}}, c.chosen...)
	return CreatePlan{
		Version: c.in.Version, Public: c.in.Visibility == visibilityPublic,
		CreationContent: content, State: append(state, c.state...), Facts: c.facts,
	}
}
