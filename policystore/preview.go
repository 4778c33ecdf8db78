package policystore

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// maxExamples bounds the memberships that a preview names.
	maxExamples = 50
	// maxPreviewPeers bounds the servers that a preview compares.
	maxPreviewPeers = 100_000
	// maxListedPeers bounds those that it names.
	maxListedPeers = 1000
)

// Preview is what a candidate would change on the data of this server.
type Preview struct {
	Active     int64 `json:"active"`    // the version in force
	Candidate  int64 `json:"candidate"` // the version looked at
	ComputedTS int64 `json:"computed_ts"`
	TookMS     int64 `json:"took_ms"`

	Memberships int64 `json:"memberships"` // how many were looked at
	// Findings are the memberships that the candidate refuses, whatever is in
	// force now: exactly what a sweep would find.
	Findings Tally `json:"findings"`
	Refused  Tally `json:"refused"`  // of these, those allowed now
	Admitted Tally `json:"admitted"` // refused now, allowed by the candidate
	Rooms    int64 `json:"rooms"`    // with a membership refused or admitted
	// Guard says why the change needs a second person whatever the settings
	// are, "" where it does not.
	Guard string `json:"guard,omitempty"`

	Organisations []OrganisationChange `json:"organisations,omitempty"`
	Peers         []PeerChange         `json:"peers,omitempty"`
	PeersRefused  int64                `json:"peers_refused"`
	PeersAdmitted int64                `json:"peers_admitted"`
	Examples      []Example            `json:"examples,omitempty"` // the first ones
}

// Tally counts memberships.
type Tally struct {
	Members     int64 `json:"members"`
	Invitations int64 `json:"invitations"`
	Knocks      int64 `json:"knocks"`
}

// Total returns the sum.
func (t Tally) Total() int64 { return t.Members + t.Invitations + t.Knocks }

func (t *Tally) add(c *rooms.Crowd) {
	switch c.Membership {
	case "join":
		t.Members += c.Count
	case "invite":
		t.Invitations += c.Count
	default:
		t.Knocks += c.Count
	}
}

// OrganisationChange is what changes for the accounts of one organisation; ""
// stands for accounts of none.
type OrganisationChange struct {
	ID       string `json:"id"`
	Rooms    int64  `json:"rooms"`
	Refused  Tally  `json:"refused"`
	Admitted Tally  `json:"admitted"`

	room int64 // the last one counted
}

// PeerChange is a server that would be spoken with no more, or from now on.
type PeerChange struct {
	Server       matrix.ServerName `json:"server"`
	Organisation string            `json:"organisation,omitempty"`
	Refused      bool              `json:"refused"`
	Reason       policy.Reason     `json:"reason,omitempty"`
}

// Example is a membership that would change.
type Example struct {
	Room       matrix.RoomID `json:"room_id"`
	User       matrix.UserID `json:"user_id"`
	Membership string        `json:"membership"`
	Refused    bool          `json:"refused"`
	Reason     policy.Reason `json:"reason"`
}

// Preview compares a candidate with the document in force on live data. It
// holds up nobody: it reads page by page, each in a snapshot of its own.
func (s *Store) Preview(ctx context.Context, candidate *policy.Snapshot) (*Preview, error) {
	p, err := PreviewOn(ctx, s.db, s.engine.Snapshot(), candidate, s.now())
	if err == nil {
		p.Guard = s.impact(p)
	}
	return p, err
}

// PreviewOn is [Store.Preview] on a database, for commands.
func PreviewOn(ctx context.Context, db *storage.DB, active, candidate *policy.Snapshot, now time.Time) (*Preview, error) {
	start := time.Now()
	p := previewer{
		active: active, candidate: candidate, now: now,
		servers: make(map[matrix.ServerName]bool), orgs: make(map[string]*OrganisationChange),
		out: &Preview{Active: active.Version(), Candidate: candidate.Version(), ComputedTS: now.UnixMilli()},
	}
	scan := p.people
	if active.AlikeByServer() && candidate.AlikeByServer() {
		scan = p.crowds
	}
	if err := scan(ctx, db); err != nil {
		return nil, err
	}
	p.peers()
	p.finish()
	p.out.TookMS = time.Since(start).Milliseconds()
	return p.out, nil
}

type previewer struct {
	active, candidate *policy.Snapshot
	now               time.Time
	servers           map[matrix.ServerName]bool
	orgs              map[string]*OrganisationChange
	room              int64    // the last one counted
	changed           *Example // of the crowd that was counted last, nil where nothing changes
	out               *Preview
}

// people looks at one membership after the other: a rule may name people.
func (p *previewer) people(ctx context.Context, db *storage.DB) error {
	var at place
	for {
		page, err := surveyAfter(ctx, db, at, surveyPage)
		if err != nil {
			return err
		}
		for _, m := range page.present {
			facts := page.rooms[m.RoomNID]
			if facts == nil {
				continue
			}
			crowd := rooms.Crowd{RoomNID: m.RoomNID, Membership: m.Membership, Server: m.User.Server(), Count: 1}
			p.crowd(&crowd, m.User, facts)
			p.example(m.User)
		}
		at = page.last(at)
		if len(page.present) < surveyPage {
			return nil
		}
	}
}

// roomsPage is how many rooms are counted in one snapshot.
const roomsPage = 500

// crowds looks at all accounts of a server in a room at once: they have one
// answer, so an index with their number is enough.
func (p *previewer) crowds(ctx context.Context, db *storage.DB) error {
	at := int64(math.MinInt64)
	for {
		more := false
		if err := db.View(ctx, func(r *storage.Reader) error {
			nids, err := rooms.RoomsAfter(ctx, r, at, roomsPage)
			if err != nil || len(nids) == 0 {
				return err
			}
			from := at
			at, more = nids[len(nids)-1], len(nids) == roomsPage
			return p.count(ctx, r, from, at, nids)
		}); err != nil || !more {
			return err
		}
	}
}

func (p *previewer) count(ctx context.Context, r *storage.Reader, from, to int64, nids []int64) error {
	found, err := rooms.Survey(ctx, r, nids)
	if err != nil {
		return err
	}
	crowds, err := rooms.Crowds(ctx, r, from, to)
	if err != nil {
		return err
	}
	facts := make(map[int64]*policy.RoomFacts, len(found))
	for nid, s := range found {
		facts[nid] = factsOf(s)
	}
	for i := range crowds {
		c := &crowds[i]
		if facts[c.RoomNID] == nil {
			continue
		}
		p.crowd(c, matrix.UserID("@:"+c.Server), facts[c.RoomNID])
		if p.changed == nil {
			continue
		}
		some, err := rooms.SomeOf(ctx, r, *c, maxExamples-len(p.out.Examples)) // of 50 crowds at most
		if err != nil {
			return err
		}
		for _, u := range some {
			p.example(u)
		}
	}
	return nil
}

// example names an account of the crowd that was counted last, if that changes.
func (p *previewer) example(user matrix.UserID) {
	if p.changed != nil && len(p.out.Examples) < maxExamples {
		e := *p.changed
		e.User = user
		p.out.Examples = append(p.out.Examples, e)
	}
}

// crowd judges accounts that have one answer; user is one of them.
func (p *previewer) crowd(c *rooms.Crowd, user matrix.UserID, facts *policy.RoomFacts) {
	p.changed = nil
	p.out.Memberships += c.Count
	if !p.servers[c.Server] && len(p.servers) < maxPreviewPeers {
		p.servers[c.Server] = true
	}
	after := p.candidate.Stays(user, facts, p.now)
	if !after.Allow {
		p.out.Findings.add(c)
	}
	before := p.active.Stays(user, facts, p.now)
	if before.Allow == after.Allow {
		return
	}
	org := p.organisation(c.Server)
	if p.room != c.RoomNID {
		p.room = c.RoomNID
		p.out.Rooms++
	}
	if org.room != c.RoomNID {
		org.room = c.RoomNID
		org.Rooms++
	}
	reason := before.Reason
	if after.Allow {
		p.out.Admitted.add(c)
		org.Admitted.add(c)
	} else {
		p.out.Refused.add(c)
		org.Refused.add(c)
		reason = after.Reason
	}
	if len(p.out.Examples) < maxExamples {
		p.changed = &Example{Room: facts.ID, Membership: c.Membership, Refused: !after.Allow, Reason: reason}
	}
}

// organisation returns the counters of the organisation of a server: that of
// the document in force, or else that of the candidate.
func (p *previewer) organisation(server matrix.ServerName) *OrganisationChange {
	id := p.active.Server(server, p.now).Organisation
	if id == "" {
		id = p.candidate.Server(server, p.now).Organisation
	}
	if p.orgs[id] == nil {
		p.orgs[id] = &OrganisationChange{ID: id}
	}
	return p.orgs[id]
}

// peers compares the servers of members and those that either document names.
func (p *previewer) peers() {
	for _, s := range []*policy.Snapshot{p.active, p.candidate} {
		for _, name := range s.Peers(p.now) {
			p.servers[name] = true
		}
	}
	for name := range p.servers {
		before, after := p.active.Speaks(name, p.now), p.candidate.Speaks(name, p.now)
		switch {
		case before.Allow == after.Allow:
			continue
		case after.Allow:
			p.out.PeersAdmitted++
		default:
			p.out.PeersRefused++
		}
		p.out.Peers = append(p.out.Peers, PeerChange{name, p.organisationID(name), !after.Allow, after.Reason})
	}
	slices.SortFunc(p.out.Peers, func(a, b PeerChange) int { return cmp.Compare(a.Server, b.Server) })
	p.out.Peers = p.out.Peers[:min(len(p.out.Peers), maxListedPeers)]
}

func (p *previewer) organisationID(server matrix.ServerName) string {
	if id := p.active.Server(server, p.now).Organisation; id != "" {
		return id
	}
	return p.candidate.Server(server, p.now).Organisation
}

func (p *previewer) finish() {
	for _, o := range p.orgs {
		p.out.Organisations = append(p.out.Organisations, *o)
	}
	slices.SortFunc(p.out.Organisations, func(a, b OrganisationChange) int { return cmp.Compare(a.ID, b.ID) })
}
