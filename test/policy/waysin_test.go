package policy_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
)

// way is a way by which an account could become a member of a room. Where
// nothing else is said, the room is of alice of one.example.
type way struct {
	name string
	who  []string // the accounts that can try it
	// scripted says that the account is of the scripted server.
	scripted bool
	try      func(c *cell)
}

// cell is one try: a way, an account, and the access rule of the room.
type cell struct {
	*world
	t    *testing.T
	way  *way
	rule policy.AccessRule
	x    matrix.UserID // who tries
	xc   *client       // its client, where its server is real
	xp   *pen          // its server, where it is scripted
	room matrix.RoomID

	at *client // who looks whether x is a member; alice where nobody else is said
	// label names the cell in failures.
	label string
	// before says that x was a member for a while, as it should be.
	before bool
	// shown, if not nil, is what counts instead of x being a member.
	shown func() bool
}

// errCannotBe says that the room of a try cannot be made, such as a direct room
// that everybody may join.
var errCannotBe = errors.New("such a room cannot be")

// expectation is a line of the table: what must come of a way for an account,
// by access rule.
type expectation struct {
	way, who string
	want     map[policy.AccessRule]string
	line     int
}

// readTable reads the table, and which ways it explains.
func readTable(t *testing.T) (list []expectation, explained map[string]bool) {
	t.Helper()
	f, err := os.Open("waysin.tsv")
	must(t, err)
	defer func() { _ = f.Close() }()
	explained = make(map[string]bool)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if name, ok := strings.CutPrefix(text, "## "); ok {
			name, _, _ = strings.Cut(name, ":")
			explained[name] = true
		}
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		fields := strings.Fields(text)
		if len(fields) != 5 {
			t.Fatalf("waysin.tsv:%d: %d columns, want 5", n, len(fields))
		}
		list = append(list, expectation{fields[0], fields[1], map[policy.AccessRule]string{
			policy.Restricted: fields[2], policy.Unrestricted: fields[3], policy.Direct: fields[4]}, n})
	}
	return list, explained
}

// TestTheTableIsWhole holds the table against the ways that are tried.
func TestTheTableIsWhole(t *testing.T) {
	t.Parallel()
	list, explained := readTable(t)
	rows := make(map[string]int)
	for _, e := range list {
		rows[e.way+" "+e.who]++
		for rule, want := range e.want {
			verdict, reason, _ := strings.Cut(want, ":")
			if verdict != "in" && verdict != "out" && want != "-" || reason != "" && verdict != "out" {
				t.Errorf("waysin.tsv:%d: %s is %q", e.line, rule, want)
			}
		}
	}
	for _, w := range ways() {
		if !explained[w.name] {
			t.Errorf("waysin.tsv does not explain %q", w.name)
		}
		for _, who := range w.who {
			if rows[w.name+" "+who] != 1 {
				t.Errorf("waysin.tsv has %d lines for %q by %q", rows[w.name+" "+who], w.name, who)
			}
			delete(rows, w.name+" "+who)
		}
	}
	for row := range rows {
		t.Errorf("waysin.tsv has a line that nothing tries: %s", row)
	}
	if n := len(ways()); n < 25 {
		t.Errorf("only %d ways are tried", n)
	}
}

// TestNoWayIn tries every way by every account into every kind of room.
func TestNoWayIn(t *testing.T) {
	t.Parallel()
	list, _ := readTable(t)
	byName := make(map[string]*way)
	for _, w := range ways() {
		byName[w.name] = &w
	}
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, engine)
			t.Run("ways", func(t *testing.T) {
				for _, e := range list {
					if byName[e.way] == nil {
						continue
					}
					for rule, want := range e.want {
						t.Run(fmt.Sprintf("%s/%s/%s", e.way, e.who, rule), func(t *testing.T) {
							t.Parallel()
							w.try(t, byName[e.way], e.who, rule, want)
						})
					}
				}
			})
			w.nobodyIsIn(t)
		})
	}
}

// try plays one cell and holds what came of it against the table.
func (w *world) try(t *testing.T, way *way, who string, rule policy.AccessRule, want string) {
	c := &cell{world: w, t: t, way: way, rule: rule, at: w.alice}
	name := fmt.Sprintf("x%d", w.last.Add(1))
	if way.scripted {
		c.xp = w.pens[scriptedServers[who]]
		c.x = matrix.UserID("@" + name + ":" + string(c.xp.name))
	} else {
		c.xc = w.account(t, realServers[who], name)
		c.x = c.xc.user
	}
	c.label = fmt.Sprintf("%s by %s, %s:", way.name, who, rule)
	verdict, reason, _ := strings.Cut(want, ":")
	got := c.play(verdict == "in")
	if got != verdict {
		t.Errorf("%s %s is %q, want %q; refusals: %v", c.label, c.x, got, want, c.refusals())
		return
	}
	if reason != "" && !c.refusedFor(reason) {
		t.Errorf("%s %s is refused for %v, want %s", c.label, c.x, c.refusals(), reason)
	}
	if got == "out" && c.shown == nil && !c.before {
		w.mu.Lock()
		w.out[place{c.room, c.x}] = way.name
		w.mu.Unlock()
		c.hidden()
	}
}

// play returns what came of a cell: in, out, or - where the room cannot be.
// patient says to wait for what may still come from another server.
func (c *cell) play(patient bool) (verdict string) {
	defer func() {
		if p := recover(); p != nil {
			if p != any(errCannotBe) {
				panic(p)
			}
			verdict = "-"
		}
	}()
	c.way.try(c)
	shown := c.shown
	if shown == nil {
		shown = func() bool { return c.at.member(c.t, c.room, c.x) == "join" }
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		switch {
		case shown():
			return "in"
		case !patient || time.Now().After(end):
			return "out"
		}
	}
}

// patience is how long is waited for what must come.
const patience = 20 * time.Second

// refusedFor waits until the audit trail has a reason: a refusal does not wait
// for its line.
func (c *cell) refusedFor(reason string) bool {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if slices.Contains(c.refusals(), reason) {
			return true
		}
	}
	return false
}

// refusals are the reasons that the audit trails of the real servers have for
// this account, or for its whole server.
func (c *cell) refusals() (out []string) {
	for _, s := range c.real {
		for e, err := range s.Policy.Audit(c.t.Context(), policystore.Filter{Kind: policystore.KindRefusal}) {
			must(c.t, err)
			ofServer := e.Actor == "" && e.Subject == "" && e.Server == string(c.x.Server())
			if e.Actor == string(c.x) || e.Subject == string(c.x) || ofServer {
				out = append(out, e.Reason)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// hidden fails where somebody who is out can be seen as a member by the one who
// looks: in the counts, the joined members, a key query.
func (c *cell) hidden() {
	c.t.Helper()
	joined := c.at.call(c.t, http.MethodGet, v3+"rooms/"+esc(string(c.room), "joined_members"), nil)
	if joined.Get("joined").Map()[string(c.x)].Exists() {
		c.t.Errorf("%s is among the joined members", c.x)
	}
	if c.xc == nil { // of a scripted server, which has no keys to tell
		return
	}
	keys := c.xc.call(c.t, http.MethodGet, v3+"rooms/"+esc(string(c.room), "messages")+"?dir=b", nil)
	if keys.status == http.StatusOK {
		c.t.Errorf("%s reads the room", c.x)
	}
}

// nobodyIsIn looks at everything once more when all is over: no sync answer has
// one who must be out, and no database a member whom the policy refuses.
func (w *world) nobodyIsIn(t *testing.T) {
	t.Helper()
	answer := w.alice.get(t, v3+"sync?timeout=0&full_state=true")
	seen := 0
	for id, room := range answer.Get("rooms.join").Map() {
		for _, list := range []string{"state.events", "timeline.events"} {
			for _, e := range room.Get(list).Array() {
				if e.Get("type").String() != "m.room.member" {
					continue
				}
				seen++
				user := matrix.UserID(e.Get("state_key").String())
				if way := w.out[place{matrix.RoomID(id), user}]; way != "" && e.Get("content.membership").String() == "join" {
					t.Errorf("sync shows %s, who tried %s, as a member", user, way)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("the sync answer has no members at all")
	}
	for name, s := range w.real {
		findings, err := storage.Verify(t.Context(), s.DB)
		must(t, err)
		for _, f := range findings {
			t.Errorf("%s: %s", name, f)
		}
		members, err := s.Policy.Preview(t.Context(), s.Policy.Engine().Snapshot())
		must(t, err)
		if name == "one.example" && members.Memberships == 0 || members.Findings.Total() != 0 {
			t.Errorf("%s: of %d memberships the document in force refuses %+v", name, members.Memberships, members.Findings)
		}
	}
}
