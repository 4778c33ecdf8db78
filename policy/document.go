package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"beffroi/matrix"
)

// Document is everything a government decides about its rooms: YAML for
// people, JSON on the wire, this type in Go. [ParseDocument] reads one,
// [Document.Check] says what is wrong with it.
type Document struct {
	// Version only grows. A server refuses a document that is not newer than
	// the one it has.
	Version int64 `json:"version"`
	// Issuer says who wrote the document, such as dinum.example.
	Issuer string `json:"issuer,omitempty"`

	// Expires is when the document should have been replaced: from then on the
	// server warns. StaleAt is when it says so to its peers, and BlocksAt when
	// it admits no other server and no new member any more. Zero is never.
	Expires  time.Time `json:"expires,omitzero"`
	StaleAt  time.Time `json:"stale_at,omitzero"`
	BlocksAt time.Time `json:"blocks_at,omitzero"`

	// DenyAll refuses every other server, whatever else the document says.
	DenyAll bool `json:"deny_all,omitempty"`

	// Organisations are all that are spoken with. In a local document they are
	// those that it adds to the floor, or narrows.
	Organisations []Organisation `json:"organisations,omitempty"`
	// Delegate says what local documents may add to this one. Where it is
	// absent they may only tighten it.
	Delegate   []Delegation `json:"delegate,omitempty"`
	Federation Federation   `json:"federation,omitzero"`
	Accounts   Accounts     `json:"accounts,omitzero"`
	Rooms      Rooms        `json:"rooms,omitzero"`
	Externals  Externals    `json:"externals,omitzero"`

	// Rules are asked in order after the built-in ones. Each may only deny.
	Rules []Rule `json:"rules,omitempty"`
	// Tests are run at every change; one that fails blocks the activation.
	Tests []Test `json:"tests,omitempty"`

	lines map[string]int // of each value by its path, for messages
}

// Organisation is a ministry, an agency or a partner.
type Organisation struct {
	ID   string `json:"id"`
	Name Text   `json:"name,omitempty"`
	// Class is government, external (a partner on an external server) or blocked.
	Class string `json:"class" enum:"government,external,blocked"`

	// Homeservers belong to this organisation and to no other. A name without
	// a port stands for every port of its host.
	Homeservers []Homeserver `json:"homeservers,omitempty"`
	// EmailDomains make an account a member of the organisation: a domain, or
	// *.domain for every name below it.
	EmailDomains []Entry `json:"email_domains,omitempty"`
	// Contact is whom to ask, as a URL (mailto:…).
	Contact string `json:"contact,omitempty"`

	// Starts and Ends bound when the organisation is admitted; Ends is the
	// first moment it no longer is. Reason says why it is bounded or blocked.
	Starts time.Time `json:"starts,omitzero"`
	Ends   time.Time `json:"ends,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// Homeserver is a Matrix server of an organisation.
type Homeserver struct {
	Name string `json:"name"`
	// Keys pins its signing keys: key ID to unpadded base64. Empty accepts the
	// keys that the server publishes.
	Keys map[string]string `json:"keys,omitempty"`
	// Starts and Ends bound when the server is one of the organisation.
	Starts time.Time `json:"starts,omitzero"`
	Ends   time.Time `json:"ends,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// Federation says which servers of no organisation may be spoken with.
type Federation struct {
	// Default is deny or allow, for servers that nothing else in the document
	// names. Empty is deny.
	Default string `json:"default,omitempty" enum:"deny,allow"`
	// Allow names servers of no organisation that may be spoken with, such as
	// a notary. Where access rules are enforced their accounts are in no room.
	Allow []Entry `json:"allow,omitempty"`
	// Deny wins over everything.
	Deny []Entry `json:"deny,omitempty"`
}

// Accounts says who may have an account here.
type Accounts struct {
	// Registration is email (a verified address of the organisation of this
	// server), open (anybody) or closed (by an administrator). Empty is email.
	Registration string `json:"registration,omitempty" enum:"email,open,closed"`
}

// Rooms holds the defaults and limits of rooms.
type Rooms struct {
	// AccessRules is enforce or off; empty is enforce. Off makes rooms those
	// of an ordinary Matrix server: no access rule event is written or judged,
	// nothing is encrypted by force, and the power levels are those of the
	// specification. It is for development.
	AccessRules string `json:"access_rules,omitempty" enum:"enforce,off"`
	// DefaultRule is the access rule of a new room that asks for none:
	// restricted or unrestricted. Empty is restricted.
	DefaultRule string `json:"default_rule,omitempty" enum:"restricted,unrestricted"`
	// Version is the room version of new rooms. Empty is the server's default.
	Version string `json:"version,omitempty"`
	// Encrypt lists the kinds of rooms that are encrypted from their first
	// moment: private, direct. Absent is both.
	Encrypt []string    `json:"encrypt,omitzero" enum:"private,direct"`
	Public  PublicRooms `json:"public,omitzero"` // the limits of public rooms
}

// PublicRooms holds the limits of public rooms.
type PublicRooms struct {
	// Federate false keeps new public rooms on their server. Absent is true.
	Federate *bool `json:"federate,omitempty"`
	// Retention is the longest time a public room may keep its messages. Zero
	// sets no limit.
	Retention Duration `json:"retention,omitzero"`
}

// Externals says what accounts of external organisations may do. What is absent
// is false, or what the floor says.
type Externals struct {
	CreateRooms     *bool `json:"create_rooms,omitempty"`     // make rooms
	Invite          *bool `json:"invite,omitempty"`           // invite others
	SearchDirectory *bool `json:"search_directory,omitempty"` // search people and list public rooms
	Publish         *bool `json:"publish,omitempty"`          // put rooms into the directory
	// MaxPower is the highest power level of an external account in an
	// unrestricted room.
	MaxPower *int64 `json:"max_power,omitempty"`
}

// Rule denies what its condition matches.
type Rule struct {
	ID      string   `json:"id"`
	Actions []string `json:"actions,omitempty"` // empty is every action but leave and kick_ban
	// When is a CEL expression. A rule is asked only when the request has all
	// that its condition reads.
	When   string `json:"when"`
	Reason Text   `json:"reason,omitempty"` // told to the person refused
	// Starts and Ends bound when the rule is asked.
	Starts time.Time `json:"starts,omitzero"`
	Ends   time.Time `json:"ends,omitzero"`
}

// Test is a question with the answer the document must give.
type Test struct {
	Name    string    `json:"name,omitempty"`
	Can     string    `json:"can,omitempty"` // the actor
	Action  string    `json:"action"`
	Subject string    `json:"subject,omitempty"`
	Server  string    `json:"server,omitempty"`
	Email   string    `json:"email,omitempty"`
	Room    *TestRoom `json:"room,omitempty"`
	At      time.Time `json:"at,omitzero"` // absent is the moment of the test
	Expect  string    `json:"expect" enum:"allow,deny"`
	Because string    `json:"because,omitempty"` // the reason code of a denial
}

// TestRoom is the room of a test.
type TestRoom struct {
	Rule       string `json:"rule,omitempty"`
	Visibility string `json:"visibility,omitempty"`
	JoinRule   string `json:"join_rule,omitempty"`
	Creator    string `json:"creator,omitempty"`
	Membership string `json:"membership,omitempty"` // of the subject, before
	Encrypted  bool   `json:"encrypted,omitempty"`
	Seats      int    `json:"seats,omitempty"` // of a direct room, taken by others
}

// Text is a sentence in several languages, by language tag (fr, en).
type Text map[string]string

// Duration is a time.Duration that also reads and writes days ("90d").
type Duration time.Duration

// MarshalText writes whole days as such.
func (d Duration) MarshalText() ([]byte, error) {
	const day = 24 * time.Hour
	if t := time.Duration(d); t != 0 && t%day == 0 {
		return append(strconv.AppendInt(nil, int64(t/day), 10), 'd'), nil
	}
	return []byte(time.Duration(d).String()), nil
}

// UnmarshalText reads "90d", "36h", "15m".
func (d *Duration) UnmarshalText(text []byte) error {
	if days, found := strings.CutSuffix(string(text), "d"); found {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil || n < 0 || n > maxDays {
			return errors.New("is not a duration such as 90d or 36h")
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	t, err := time.ParseDuration(string(text))
	if err != nil || t < 0 {
		return errors.New("is not a duration such as 90d or 36h")
	}
	*d = Duration(t)
	return nil
}

// maxDays keeps a duration in days within time.Duration (292 years).
const maxDays = 100_000

// JSON returns the document as it goes over the wire.
func (d *Document) JSON() ([]byte, error) { return json.Marshal(d) }

// YAML returns the document as people edit it. Comments are not kept.
func (d *Document) YAML() ([]byte, error) {
	raw, err := d.JSON()
	if err != nil {
		return nil, fmt.Errorf("marshal policy document: %w", err)
	}
	out, err := yaml.JSONToYAML(raw)
	if err != nil {
		return nil, fmt.Errorf("write policy document as YAML: %w", err)
	}
	return out, nil
}

// Initial returns the first document of a server: its only organisation is the
// server itself, no other is spoken with, and only administrators make
// accounts, because no e-mail domain is known yet.
func Initial(self matrix.ServerName) *Document {
	return &Document{
		Version: 1,
		Issuer:  string(self),
		Organisations: []Organisation{{
			ID: "local", Class: ClassGovernment.String(),
			Name:        Text{"fr": "Ce serveur", "en": "This server"},
			Homeservers: []Homeserver{{Name: string(self)}},
		}},
		Federation: Federation{Default: "deny"},
	}
}

// Permissive returns a document for development, under which the server is an
// ordinary Matrix server: federation.default allow admits every server as
// unaffiliated, accounts.registration open lets anybody register, and
// rooms.access_rules off judges no access rule. An unknown name is still never
// external: it is unaffiliated.
func Permissive(self matrix.ServerName) *Document {
	d := Initial(self)
	d.Federation.Default = "allow"
	d.Accounts.Registration = "open"
	d.Rooms.AccessRules = "off"
	return d
}
