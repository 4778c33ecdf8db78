package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"beffroi/matrix"
)

// Snapshot is a compiled document as one server sees it. It never changes and
// any number of goroutines may ask it.
type Snapshot struct {
	doc    *Document // with what it has of the floor, where there is one
	source *Document // as it was given
	self   matrix.ServerName
	floor  *Snapshot // nil where the document stands alone
	layer  Layer     // "" where the document stands alone

	selfKey string
	contact string // of the organisation of this server
	enforce bool   // rooms.access_rules
	open    bool   // federation.default: allow
	orgs    []*organisation
	own     *organisation
	servers index[member]
	domains index[member]
	allowed index[*period]
	denied  index[*period]
	keys    map[string]map[matrix.KeyID]string // by server
	rules   [actionCount][]*rule
	// ruleNeeds is what the rules of an action read, together.
	ruleNeeds [actionCount]parties
	externals externalRights
	boxedOrg  ref.Val // of no organisation
}

// organisation is an organisation as decisions need it.
type organisation struct {
	Organisation
	class Class
	rule  string  // how a decision names it
	boxed ref.Val // its ID, for rules
}

// member is a name of an organisation and when it is one; nil is always.
type member struct {
	org  *organisation
	when *period
}

// externalRights is [Externals] with nothing absent.
type externalRights struct {
	createRooms, invite, searchDirectory, publish bool
	maxPower                                      int64
}

// index finds names: exactly, with or without a port, or below another name.
type index[T any] struct{ exact, below map[string]T }

func newIndex[T any](size int) index[T] {
	return index[T]{make(map[string]T, size), make(map[string]T)}
}

// find returns what holds for a normalised name whose first host bytes are the
// name without its port. The most particular entry wins: with the port, the
// host, the longest name above it. It does not allocate.
func (x *index[T]) find(key []byte, host int) (T, bool) {
	if v, ok := x.exact[string(key)]; ok {
		return v, true
	}
	name := key[:host]
	if v, ok := x.exact[string(name)]; ok && len(key) > host {
		return v, true
	}
	var none T
	if len(x.below) == 0 || isAddress(name) {
		return none, false
	}
	for i, c := range name {
		if c == '.' {
			if v, ok := x.below[string(name[i+1:])]; ok && i > 0 {
				return v, true
			}
		}
	}
	return none, false
}

// any reports whether holds is true for an entry that matches the name, the
// most particular first.
func (x *index[T]) any(key []byte, host int, holds func(T) bool) bool {
	if v, ok := x.exact[string(key)]; ok && holds(v) {
		return true
	}
	name := key[:host]
	if v, ok := x.exact[string(name)]; ok && len(key) > host && holds(v) {
		return true
	}
	if len(x.below) == 0 || isAddress(name) {
		return false
	}
	for i, c := range name {
		if c == '.' && i > 0 {
			if v, ok := x.below[string(name[i+1:])]; ok && holds(v) {
				return true
			}
		}
	}
	return false
}

func (x *index[T]) of(p pattern) map[string]T {
	if p.below {
		return x.below
	}
	return x.exact
}

// isAddress reports whether a host is an IP address, which has no name above it.
func isAddress(host []byte) bool {
	if len(host) == 0 || host[0] == '[' {
		return true
	}
	for i := len(host) - 1; i >= 0 && host[i] != '.'; i-- {
		if host[i] < '0' || host[i] > '9' {
			return false
		}
	}
	return true
}

// Compile makes a snapshot of a document for the server self. The error is
// [Mistakes]: everything that [Document.Check] finds.
func Compile(d *Document, self matrix.ServerName) (*Snapshot, error) {
	s, mistakes := compile(d, self)
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return s, nil
}

// Check says what is wrong with a document for the server self, all at once.
// active is the version in force; a document that is not newer is refused. Zero
// is none.
func (d *Document) Check(self matrix.ServerName, active int64) Mistakes {
	_, mistakes := compile(d, self)
	return append(mistakes, d.Follows(active)...)
}

// Follows says what is wrong where a document of version active is in force.
func (d *Document) Follows(active int64) Mistakes {
	if active > 0 && d.Version <= active {
		return Mistakes{d.mistake("version", "is %d, and version %d is active: it can only grow", d.Version, active)}
	}
	return nil
}

func (d *Document) mistake(path, format string, args ...any) Mistake {
	return Mistake{d.lines[path], path, fmt.Sprintf(format, args...)}
}

// compiler fills a snapshot and gathers what is wrong.
type compiler struct {
	*Snapshot
	mistakes Mistakes
	ids      map[string]bool
}

func compile(d *Document, self matrix.ServerName) (*Snapshot, Mistakes) {
	domains := 0
	for i := range d.Organisations {
		domains += len(d.Organisations[i].EmailDomains)
	}
	c := compiler{Snapshot: &Snapshot{
		doc: d, source: d, self: self,
		servers: newIndex[member](len(d.Organisations)), domains: newIndex[member](domains),
		allowed: newIndex[*period](0), denied: newIndex[*period](0),
		keys: make(map[string]map[matrix.KeyID]string), boxedOrg: types.String(""),
		orgs: make([]*organisation, 0, len(d.Organisations)),
	}, ids: make(map[string]bool, len(d.Organisations))}
	c.header()
	for i := range d.Organisations {
		c.organisation(i, "organisations["+strconv.Itoa(i)+"]")
	}
	c.federation()
	c.settings()
	c.guards()
	c.compileRules()
	c.checkTests()
	return c.Snapshot, c.mistakes
}

func (c *compiler) wrong(path, format string, args ...any) {
	c.mistakes = append(c.mistakes, c.doc.mistake(path, format, args...))
}

func (c *compiler) header() {
	if c.doc.Version < 1 {
		c.wrong("version", "is a number from 1 up that grows with every change")
	}
	last := c.doc.Expires
	for _, date := range []struct {
		path string
		at   time.Time
	}{{"stale_at", c.doc.StaleAt}, {"blocks_at", c.doc.BlocksAt}} {
		if !date.at.IsZero() && date.at.Before(last) {
			c.wrong(date.path, "comes before the date that leads to it")
		}
		if !date.at.IsZero() {
			last = date.at
		}
	}
}

func (c *compiler) organisation(i int, path string) {
	o := &organisation{Organisation: c.doc.Organisations[i], rule: "organisations." + c.doc.Organisations[i].ID}
	o.boxed = types.String(o.ID)
	c.orgs = append(c.orgs, o)
	switch {
	case !validID(o.ID):
		c.wrong(path+".id", "%q is not an ID: 1 to 64 letters, digits, - _ and .", clip(o.ID))
	case c.ids[o.ID]:
		c.wrong(path+".id", "%q names another organisation too", o.ID)
	}
	c.ids[o.ID] = true
	switch o.Organisation.Class {
	case "government":
		o.class = ClassGovernment
	case "external":
		o.class = ClassExternal
	case "blocked":
		o.class = ClassBlocked
	default:
		c.wrong(path+".class", "is %q; it is government, external or blocked", clip(o.Organisation.Class))
	}
	c.dates(o.Starts, o.Ends, path)
	for j, h := range o.Homeservers {
		c.homeserver(o, h, path+".homeservers["+strconv.Itoa(j)+"]")
	}
	for j, e := range o.EmailDomains {
		at := path + ".email_domains[" + strconv.Itoa(j) + "]"
		p, err := parsePattern(e.Name)
		if err != nil {
			c.wrong(at, "%q %v", clip(e.Name), err)
			continue
		}
		c.claim(c.domains.of(p), p, member{o, c.dates(e.Starts, e.Ends, at)}, at, "e-mail domain")
	}
}

// claim gives a name to an organisation, unless another one has it.
func (c *compiler) claim(names map[string]member, p pattern, m member, path, what string) {
	if other := names[p.name].org; other != nil {
		c.wrong(path, "the %s %s belongs to organisation %q already", what, p, other.ID)
		return
	}
	names[p.name] = m
}

func (c *compiler) homeserver(o *organisation, h Homeserver, path string) {
	p, err := parseServerPattern(h.Name)
	if err != nil {
		c.wrong(path+".name", "%q %v", clip(h.Name), err)
		return
	}
	c.claim(c.servers.of(p), p, member{o, c.dates(h.Starts, h.Ends, path)}, path+".name", "server")
	if len(h.Keys) == 0 {
		return
	}
	if p.below {
		c.wrong(path+".keys", "keys are pinned for one server, not for every name below %s", p.name)
		return
	}
	pinned := make(map[matrix.KeyID]string, len(h.Keys))
	for id, value := range h.Keys {
		keyID, err := matrix.ParseKeyID(id)
		if err != nil || keyID.Algorithm() != "ed25519" || !validKey(value) {
			c.wrong(path+".keys", "%q is not the ID of an ed25519 key with 32 bytes in unpadded base64", clip(id))
			continue
		}
		pinned[keyID] = value
	}
	c.keys[p.name] = pinned
}

func (c *compiler) federation() {
	f := c.doc.Federation
	switch f.Default {
	case "", "deny":
	case "allow":
		c.open = true
	default:
		c.wrong("federation.default", "is %q; it is deny or allow", clip(f.Default))
	}
	for _, list := range []struct {
		path  string
		names []Entry
		into  *index[*period]
	}{{"federation.allow", f.Allow, &c.allowed}, {"federation.deny", f.Deny, &c.denied}} {
		for i, e := range list.names {
			at := list.path + "[" + strconv.Itoa(i) + "]"
			p, err := parseServerPattern(e.Name)
			if err != nil {
				c.wrong(at, "%q %v", clip(e.Name), err)
				continue
			}
			when := c.dates(e.Starts, e.Ends, at)
			if other, again := list.into.of(p)[p.name]; again && (other != nil || when != nil) {
				c.wrong(at, "%s stands in the list twice, with dates", p)
				continue
			}
			list.into.of(p)[p.name] = when
		}
	}
}

// validID accepts what can stand in a metric, a log and a rule unquoted.
func validID(s string) bool {
	const maxID = 64
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.", c) >= 0) {
			return false
		}
	}
	return s != "" && len(s) <= maxID
}
