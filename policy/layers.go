package policy

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"beffroi/matrix"
)

// Layer says which of two documents decided.
type Layer string

// The layers. A document that stands alone is neither.
const (
	LayerFloor Layer = "floor" // the national document
	LayerLocal Layer = "local" // the document of this server, which may only tighten the floor
)

// CompileLayers makes a snapshot that allows what the floor and the local
// document both allow. The local document has the organisations of the floor
// without naming them: one that it names again it narrows, and one that is new
// the floor must delegate.
//
// What the local document says of organisations beyond that is left out and
// returned as overruled: an editor corrects it, but a new floor comes into
// force whatever the local document says. The error is [Mistakes], of the floor
// if that is no valid document and of the local one otherwise.
func CompileLayers(floor, local *Document, self matrix.ServerName) (s *Snapshot, overruled Mistakes, err error) {
	alone, err := Compile(floor, self)
	if err != nil {
		return nil, nil, err
	}
	l := layering{floor: alone, local: local}
	l.organisations()
	upper, err := Compile(l.widened(), self)
	if err != nil {
		return nil, nil, err
	}
	s, err = Compile(l.merged(), self)
	if err != nil {
		return nil, nil, err
	}
	upper.layer, upper.source = LayerFloor, floor
	s.layer, s.source, s.floor = LayerLocal, local, upper
	return s, l.overruled, nil
}

// layering puts a local document on the floor.
type layering struct {
	floor     *Snapshot
	local     *Document
	kept      []Organisation // of the local document
	added     []Organisation // of kept, those that the floor does not have, within their delegation
	overruled Mistakes
}

func (l *layering) overrule(path, format string, args ...any) {
	l.overruled = append(l.overruled, l.local.mistake(path, format, args...))
}

func (l *layering) organisations() {
	byID := make(map[string]*organisation, len(l.floor.orgs))
	for _, o := range l.floor.orgs {
		byID[o.ID] = o
	}
	for i, o := range l.local.Organisations {
		path := "organisations[" + strconv.Itoa(i) + "]"
		if of := byID[o.ID]; of != nil {
			if l.narrows(o, of, path) {
				l.kept = append(l.kept, inherit(o, of.Organisation))
			}
			continue
		}
		if d := l.delegation(o, path); d != nil {
			o.Starts, o.Ends = later(o.Starts, d.Starts), earlier(o.Ends, d.Ends)
			l.kept, l.added = append(l.kept, o), append(l.added, o)
		}
	}
	if len(l.local.Delegate) > 0 {
		l.overrule("delegate", "stands in the floor only")
	}
}

// names calls fn with every name of an organisation that can be read, the
// index of the floor that has it, and how mistakes call it.
func (l *layering) names(o Organisation, path string, fn func(x *index[member], p pattern, path, what string) bool) bool {
	for i, h := range o.Homeservers {
		if p, err := parseServerPattern(h.Name); err == nil && !fn(&l.floor.servers, p, path+".homeservers["+strconv.Itoa(i)+"].name", "server") {
			return false
		}
	}
	for i, e := range o.EmailDomains {
		if p, err := parsePattern(e.Name); err == nil && !fn(&l.floor.domains, p, path+".email_domains["+strconv.Itoa(i)+"]", "e-mail domain") {
			return false
		}
	}
	return true
}

// covering returns what has the whole of a pattern.
func covering[T any](x *index[T], p pattern) (T, bool) {
	if p.below {
		return x.find([]byte("a."+p.name), len(p.name)+2)
	}
	key := []byte(p.name)
	return x.find(key, hostLength(p.name))
}

// narrows says whether all names of o are those of the same organisation of
// the floor.
func (l *layering) narrows(o Organisation, of *organisation, path string) bool {
	return l.names(o, path, func(x *index[member], p pattern, at, what string) bool {
		if m, _ := covering(x, p); m.org != of {
			l.overrule(at, "the %s %s is not one that organisation %q has in the floor", what, p, of.ID)
			return false
		}
		return true
	})
}

// delegation returns by which delegation an organisation is added, or nil.
func (l *layering) delegation(o Organisation, path string) *Delegation {
	free := l.names(o, path, func(x *index[member], p pattern, at, what string) bool {
		if m, found := covering(x, p); found {
			l.overrule(at, "the %s %s belongs to organisation %q of the floor", what, p, m.org.ID)
			return false
		}
		return true
	})
	if !free {
		return nil
	}
	for i := range l.floor.doc.Delegate {
		d := &l.floor.doc.Delegate[i]
		if l.concerns(d) && (o.Class == "blocked" || slices.Contains(d.Classes, o.Class)) && l.within(o, d) {
			return d
		}
	}
	l.overrule(path, "organisation %q is not one that the floor lets this server add", clip(o.ID))
	return nil
}

func (l *layering) concerns(d *Delegation) bool {
	own := l.floor.own
	if len(d.To) == 0 {
		return own.class == ClassGovernment
	}
	return slices.Contains(d.To, own.ID)
}

// within says whether all names of o are those of a delegation.
func (l *layering) within(o Organisation, d *Delegation) bool {
	servers, domains := newIndex[bool](0), newIndex[bool](0)
	for _, name := range d.Homeservers {
		if p, err := parseServerPattern(name); err == nil {
			servers.of(p)[p.name] = true
		}
	}
	for _, name := range d.EmailDomains {
		if p, err := parsePattern(name); err == nil {
			domains.of(p)[p.name] = true
		}
	}
	return l.names(o, "", func(x *index[member], p pattern, _, _ string) bool {
		allowed := &domains
		if x == &l.floor.servers {
			allowed = &servers
		}
		_, ok := covering(allowed, p)
		return ok
	})
}

// inherit fills in what a local document leaves out of an organisation.
func inherit(o, of Organisation) Organisation {
	if len(o.Homeservers) == 0 {
		o.Homeservers = of.Homeservers
	}
	if len(o.EmailDomains) == 0 {
		o.EmailDomains = of.EmailDomains
	}
	if len(o.Name) == 0 {
		o.Name = of.Name
	}
	if o.Contact == "" {
		o.Contact = of.Contact
	}
	return o
}

// widened is the floor with what it delegates.
func (l *layering) widened() *Document {
	out := *l.floor.doc
	out.Organisations = slices.Concat(out.Organisations, l.added)
	return &out
}

// merged is the local document with what it has of the floor. Where both say
// something the stricter holds, so that a room is planned as both admit it.
func (l *layering) merged() *Document {
	floor, out := l.floor.doc, *l.local
	out.lines = maps.Clone(l.local.lines)
	for path := range out.lines { // places in the list of organisations are those of the merged one
		if len(path) > len("organisations[") && path[:len("organisations[")] == "organisations[" && len(l.kept) != len(l.local.Organisations) {
			delete(out.lines, path)
		}
	}
	named := make(map[string]bool, len(l.kept))
	for _, o := range l.kept {
		named[o.ID] = true
	}
	out.Organisations = slices.Clone(l.kept)
	for _, o := range floor.Organisations {
		if !named[o.ID] {
			out.Organisations = append(out.Organisations, o)
		}
	}
	out.Delegate = nil
	out.DenyAll = floor.DenyAll || out.DenyAll
	out.Federation = mergeFederation(floor.Federation, out.Federation)
	out.Accounts.Registration = strictest(floor.Accounts.Registration, out.Accounts.Registration, "email", "open", "email", "closed")
	out.Rooms = mergeRooms(floor.Rooms, out.Rooms)
	out.Externals = mergeExternals(floor.Externals, out.Externals)
	return &out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// hostLength returns how long a normalised name is without its port.
func hostLength(name string) int {
	var buf nameBuffer
	_, host, _ := serverKey(&buf, name)
	return host
}

// effective is what both layers make of a server.
func (s *Snapshot) effective(name matrix.ServerName, now time.Time) standing {
	if s.floor != nil {
		if p := s.floor.standing(name, now); p.reason != "" {
			return p
		}
	}
	return s.standing(name, now)
}
