package roomserver

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// defaultSpacePage and maxSpacePage are how many rooms one answer has.
	defaultSpacePage = 50
	maxSpacePage     = 100
	// maxSpaceDepth bounds how deep spaces stand in each other.
	maxSpaceDepth = 10
	// maxSpaceChildren bounds the children of one space, and maxSpaceRooms all
	// rooms of a tree: a tree that is larger ends there.
	maxSpaceChildren = 1000
	maxSpaceRooms    = 2000
	// maxSpaceQuestions bounds the other servers that one request asks, and
	// spaceTimeout how long it waits for all of them.
	maxSpaceQuestions = 30
	spaceTimeout      = 20 * time.Second
	// maxOrder bounds the order of a child, in bytes.
	maxOrder = 50
)

// HierarchyRequest asks for the rooms of a space.
type HierarchyRequest struct {
	User          matrix.UserID
	Room          matrix.RoomID
	SuggestedOnly bool
	MaxDepth      *int // nil is the deepest there is
	Limit         int  // 0 is 50
	From          string
}

// SpaceRoom is a room of a space.
type SpaceRoom struct {
	Summary
	Children []*SpaceChild `json:"children_state"`
}

// SpaceChild is an event m.space.child, which links a room into a space.
//
// https://spec.matrix.org/v1.19/client-server-api/#mspacechild
type SpaceChild struct {
	Type           string          `json:"type"`
	StateKey       matrix.RoomID   `json:"state_key"`
	Sender         matrix.UserID   `json:"sender"`
	Content        json.RawMessage `json:"content"` // canonical
	OriginServerTS int64           `json:"origin_server_ts"`

	via       []matrix.ServerName
	order     string // "" for none
	suggested bool
}

// valid reads the content of a link. A link that is not valid is nil.
func (c *SpaceChild) valid() *SpaceChild {
	if _, err := matrix.ParseRoomID(string(c.StateKey)); err != nil || c.Type != typeSpaceChild {
		return nil
	}
	if c.via = viaOf(c.Content); len(c.via) == 0 {
		return nil
	}
	c.suggested = string(canonicaljson.Field(c.Content, "suggested")) == "true"
	c.order = stringField(c.Content, "order")
	beyond := func(r rune) bool { return r < ' ' || r > '~' }
	if len(c.order) > maxOrder || strings.ContainsFunc(c.order, beyond) {
		c.order = ""
	}
	return c
}

// sortChildren puts the children of a space into their order.
//
// https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space
func sortChildren(list []*SpaceChild) {
	slices.SortFunc(list, func(a, b *SpaceChild) int {
		if (a.order == "") != (b.order == "") {
			return strings.Compare(b.order, a.order) // what has an order comes first
		}
		return cmp.Or(strings.Compare(a.order, b.order), cmp.Compare(a.OriginServerTS, b.OriginServerTS), cmp.Compare(a.StateKey, b.StateKey))
	})
}

// Hierarchy returns a page of the tree of a space, depth first, as far as a user
// may see it, and the token of the next page, "" for none. What this server is
// not in it asks of others. A space that the user may not see is 403 M_FORBIDDEN.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
func (s *Server) Hierarchy(ctx context.Context, req HierarchyRequest) (page []SpaceRoom, next string, err error) {
	depth := maxSpaceDepth
	if req.MaxDepth != nil {
		depth = min(*req.MaxDepth, maxSpaceDepth)
	}
	if req.Limit == 0 {
		req.Limit = defaultSpacePage
	}
	skip, err := readSpaceToken(req, depth)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, spaceTimeout)
	defer cancel()
	w := spaceWalk{s: s, who: asker{user: req.User}, suggested: req.SuggestedOnly, depth: depth, skip: skip,
		limit: min(req.Limit, maxSpacePage), seen: make(map[matrix.RoomID]bool), known: make(map[matrix.RoomID]*place)}
	if err := w.run(ctx, req.Room); err != nil {
		return nil, "", err
	}
	if w.more {
		next = spaceToken(skip+len(w.page), req.SuggestedOnly, depth)
	}
	return w.page, next, nil
}

// spaceToken says how many rooms were told before, and of which tree.
func spaceToken(told int, suggested bool, depth int) string {
	return fmt.Sprintf("h%d_%t_%d", told, suggested, depth)
}

func readSpaceToken(req HierarchyRequest, depth int) (told int, err error) {
	if req.From == "" {
		return 0, nil
	}
	if n, err := fmt.Sscanf(req.From, "h%d_", &told); n != 1 || err != nil || told < 1 || told > maxSpaceRooms {
		return 0, matrix.InvalidParam("from is no token of this server")
	}
	if req.From != spaceToken(told, req.SuggestedOnly, depth) {
		return 0, matrix.InvalidParam("suggested_only and max_depth cannot change from one page to the next")
	}
	return told, nil
}

// spaceWalk is one walk through a tree.
type spaceWalk struct {
	s           *Server
	who         asker
	suggested   bool
	depth       int
	skip, limit int

	stack []spaceStep
	seen  map[matrix.RoomID]bool
	known map[matrix.RoomID]*place // rooms of the database
	asked int
	found int // rooms that the user may see

	page []SpaceRoom
	more bool
}

// spaceStep is a room to look at.
type spaceStep struct {
	id    matrix.RoomID
	depth int
	via   []matrix.ServerName
	told  *SpaceRoom // by the server that told of its parent, or nil
	shut  bool       // that server says that nobody can see it from here
}

func (w *spaceWalk) run(ctx context.Context, root matrix.RoomID) error {
	if err := w.learn(ctx, []matrix.RoomID{root}); err != nil {
		return err
	}
	via, err := w.s.helpers(ctx, nil, root, w.known[root].memberRow())
	if err != nil {
		return err
	}
	w.stack = []spaceStep{{id: root, via: via}}
	for len(w.stack) > 0 && len(w.seen) < maxSpaceRooms {
		step := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		if w.seen[step.id] {
			continue
		}
		w.seen[step.id] = true
		room, from, err := w.look(ctx, step)
		if err != nil {
			return err
		}
		if room == nil {
			if step.id == root {
				return matrix.Forbidden("You are not allowed to view this room")
			}
			continue
		}
		if w.found++; w.found > w.skip {
			if len(w.page) == w.limit {
				w.more = true
				return nil
			}
			w.page = append(w.page, *room)
		}
		if err := w.push(ctx, step, room, from); err != nil {
			return err
		}
	}
	return nil
}

// learn reads what the database has of some rooms.
func (w *spaceWalk) learn(ctx context.Context, ids []matrix.RoomID) error {
	found, err := w.s.lookAt(ctx, w.who, ids)
	for id, p := range found {
		w.known[id] = p
	}
	return err
}

// look returns a room if the user may see it, or nil, and what another server
// told of its children.
func (w *spaceWalk) look(ctx context.Context, step spaceStep) (*SpaceRoom, *toldSpace, error) {
	p := w.known[step.id]
	if p != nil && p.resident {
		may, err := w.s.mayKnow(ctx, w.who, p)
		if err != nil || !may {
			return nil, nil, err
		}
		room, err := w.s.spaceRoom(ctx, p, w.suggested)
		return room, nil, err
	}
	told, from := step.told, (*toldSpace)(nil)
	if told == nil && !step.shut || told != nil && told.RoomType == typeSpace && step.depth < w.depth {
		if from = w.ask(ctx, step); from != nil {
			told = from.Room
		}
	}
	if told == nil {
		if offered, ok := p.offered(); ok {
			return &SpaceRoom{Summary: offered, Children: []*SpaceChild{}}, nil, nil
		}
		return nil, nil, nil
	}
	may, err := w.s.mayKnowRemote(ctx, w.who, &told.Summary, p.membership())
	if err != nil || !may {
		return nil, nil, err
	}
	return told, from, nil
}

// ask asks other servers for a room that this one is not in.
func (w *spaceWalk) ask(ctx context.Context, step spaceStep) *toldSpace {
	if w.asked >= maxSpaceQuestions {
		return nil
	}
	w.asked++
	return w.s.askSpace(ctx, step.id, step.via, w.suggested)
}

// push puts the children of a space onto the stack, the first on top.
func (w *spaceWalk) push(ctx context.Context, step spaceStep, room *SpaceRoom, from *toldSpace) error {
	if room.RoomType != typeSpace || step.depth >= w.depth {
		return nil
	}
	var unknown []matrix.RoomID
	for _, child := range slices.Backward(room.Children) {
		if w.seen[child.StateKey] {
			continue
		}
		next := spaceStep{id: child.StateKey, depth: step.depth + 1, via: child.via[:min(len(child.via), maxHelpers)]}
		if from != nil {
			next.told, next.shut = from.children[child.StateKey], from.shut[child.StateKey]
		}
		w.stack = append(w.stack, next)
		if w.known[child.StateKey] == nil {
			unknown = append(unknown, child.StateKey)
		}
	}
	return w.learn(ctx, unknown)
}

const typeSpace = "m.space"

// spaceRoom returns a room that this server is in, with its children if it is a
// space.
func (s *Server) spaceRoom(ctx context.Context, p *place, suggestedOnly bool) (*SpaceRoom, error) {
	out := &SpaceRoom{Summary: p.summary(), Children: []*SpaceChild{}}
	if out.RoomType != typeSpace {
		return out, nil
	}
	var list []*rooms.Event
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		list, err = rooms.ChildLinks(ctx, r, p.room.NID, maxSpaceChildren)
		return err
	}); err != nil {
		return nil, err
	}
	for _, e := range list {
		if child := childOf(e.Event); child != nil && (child.suggested || !suggestedOnly) {
			out.Children = append(out.Children, child)
		}
	}
	sortChildren(out.Children)
	return out, nil
}
