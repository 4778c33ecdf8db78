package roomserver

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
	"beffroi/storage/search"
)

const (
	// maxMessageTerm bounds what is searched for, and maxSearchWords its words.
	maxMessageTerm = 1024
	maxSearchWords = 20
	// maxSearchRooms bounds the rooms that are searched: those with the latest
	// news.
	maxSearchRooms = 1000
	// searchChunk is how many hits are looked at at a time, and maxSearchHits
	// how many for one answer.
	searchChunk   = 100
	maxSearchHits = 500
	// maxSearchPage bounds the results of one answer.
	maxSearchPage = 50
	// maxAround bounds the events on each side of a result.
	maxAround = 20
)

// SearchRequest asks for messages.
type SearchRequest struct {
	User   matrix.UserID
	Device matrix.DeviceID
	Term   string
	Fields []string // of content: body, name, topic; nil is all
	Filter Filter
	ByRank bool
	From   string // a next_batch, "" is the beginning
	// Before and After are how many events around each result are told; nil
	// where none are, and no context.
	Before, After *int
	Profiles      bool // of the senders in the context
	State         bool // of the rooms of the results
}

// Found is the answer of a search.
type Found struct {
	Count      int                                 `json:"count"`
	Highlights []string                            `json:"highlights"`
	Results    []Result                            `json:"results"`
	Next       string                              `json:"next_batch,omitempty"`
	State      map[matrix.RoomID][]json.RawMessage `json:"state,omitempty"`

	events []*rooms.Event // of the results
}

// Result is a message that was found.
type Result struct {
	Rank    float64         `json:"rank"`
	Result  json.RawMessage `json:"result"`
	Context *Around         `json:"context,omitempty"`
	ID      matrix.EventID  `json:"-"`
	Room    matrix.RoomID   `json:"-"`
	Sender  matrix.UserID   `json:"-"`
}

// Search finds messages in the rooms that a user is or was in, as far as they
// may see them. Encrypted ones are found by nobody.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
func (s *Server) Search(ctx context.Context, req SearchRequest) (out Found, err error) {
	out = Found{Results: []Result{}, Highlights: []string{}}
	q, skip, err := req.query()
	if err != nil || len(q.Words) == 0 {
		return out, err
	}
	out.Highlights = highlights(req.Term)
	err = s.db.View(ctx, func(r *storage.Reader) error {
		mine, err := rooms.RoomsForSearch(ctx, r, req.User, maxSearchRooms)
		if err != nil {
			return err
		}
		for id, nid := range mine {
			if req.Filter.WantsRoom(id) {
				q.Rooms = append(q.Rooms, nid)
			}
		}
		slices.Sort(q.Rooms)
		hits, err := search.Messages(ctx, r, s.db.Engine(), q)
		if err != nil {
			return err
		}
		if err := s.take(ctx, r, &req, &out, hits, skip); err != nil {
			return err
		}
		return s.renderFound(ctx, r, &req, &out)
	})
	return out, err
}

// query checks the request. skip is how many results the client has.
func (req *SearchRequest) query() (q search.Query, skip int, err error) {
	q = search.Query{Fields: req.Fields, Before: int64(lastPosition), ByRank: req.ByRank, Limit: maxSearchHits}
	if len(req.Term) > maxMessageTerm {
		return q, 0, matrix.InvalidParam("search_term has at most %d bytes", maxMessageTerm)
	}
	if q.Fields == nil {
		q.Fields = []string{search.FieldBody, search.FieldName, search.FieldTopic}
	}
	q.Words = search.Words(req.Term)
	q.Words = q.Words[:min(len(q.Words), maxSearchWords)]
	if req.Filter.Limit <= 0 {
		req.Filter.Limit = defaultPage
	}
	req.Filter.Limit = min(req.Filter.Limit, maxSearchPage)
	if req.From == "" {
		return q, 0, nil
	}
	kind := "n"
	if req.ByRank {
		kind = "r"
	}
	digits, ok := strings.CutPrefix(req.From, kind)
	n, err := strconv.ParseInt(digits, 10, 63)
	if !ok || err != nil || n < 0 || len(req.From) > maxToken {
		return q, 0, matrix.InvalidParam("next_batch is not of such a search")
	}
	if req.ByRank {
		return q, int(min(n, maxSearchHits)), nil
	}
	q.Before = n
	return q, 0, nil
}

// highlights are the words that a client marks.
func highlights(term string) []string {
	words := strings.Fields(term)
	return words[:min(len(words), maxSearchWords)]
}

// take picks the hits that the user may see and wants. It counts those of all
// hits: a count of what they may not see would tell what stands there.
func (s *Server) take(ctx context.Context, r *storage.Reader, req *SearchRequest, out *Found, hits []search.Hit, skip int) error {
	sights := NewSights(req.User, nil)
	skip = min(skip, len(hits))
	at := len(hits)
	for from := 0; from < len(hits); from += searchChunk {
		chunk := hits[from:min(from+searchChunk, len(hits))]
		nids := make([]int64, len(chunk))
		for i, h := range chunk {
			nids[i] = h.EventNID
		}
		found, err := rooms.EventsByNID(ctx, r, nids)
		if err != nil {
			return err
		}
		var list []*rooms.Event
		for _, e := range found {
			list = append(list, e)
		}
		if err := sights.Look(ctx, r, list); err != nil {
			return err
		}
		for i, h := range chunk {
			e := found[h.EventNID]
			if e == nil || e.RedactedBy != "" || !sights.Sees(e) || !req.Filter.Wants(e) {
				continue
			}
			out.Count++
			if from+i < skip || len(out.Results) == req.Filter.Limit {
				continue
			}
			out.events = append(out.events, e)
			out.Results = append(out.Results, Result{Rank: h.Rank, ID: e.ID(), Room: e.RoomID(), Sender: e.Sender()})
			if len(out.Results) == req.Filter.Limit {
				at = from + i + 1
			}
		}
	}
	switch {
	case at < len(hits) && req.ByRank:
		out.Next = "r" + strconv.Itoa(at)
	case at < len(hits) || len(hits) == maxSearchHits && !req.ByRank:
		out.Next = "n" + strconv.FormatInt(hits[at-1].EventNID, 10)
	}
	return nil
}

func (s *Server) renderFound(ctx context.Context, r *storage.Reader, req *SearchRequest, out *Found) error {
	sights := NewSights(req.User, nil)
	if err := sights.Look(ctx, r, out.events); err != nil {
		return err
	}
	rendered, err := s.RenderEvents(ctx, r, out.events, Rendering{Sights: sights, Device: req.Device})
	if err != nil {
		return err
	}
	reaches := make(map[matrix.RoomID]*reach)
	for i, e := range out.events {
		res := &out.Results[i]
		res.Result = rendered[i]
		if req.Before == nil && !req.State {
			continue
		}
		if reaches[e.RoomID()] == nil {
			if reaches[e.RoomID()], err = s.reach(ctx, r, req.User, e.RoomID()); err != nil {
				return err
			}
		}
		if req.Before != nil {
			if res.Context, err = s.around(ctx, r, reaches[e.RoomID()], e, req); err != nil {
				return err
			}
		}
	}
	if !req.State {
		return nil
	}
	out.State = make(map[matrix.RoomID][]json.RawMessage, len(reaches))
	for id, a := range reaches {
		state, err := a.state(ctx, r)
		if err != nil {
			return err
		}
		if out.State[id], err = s.RenderEvents(ctx, r, state, Rendering{Sights: a.sights, Plain: true}); err != nil {
			return err
		}
	}
	return nil
}

// Around is what stands around a result.
type Around struct {
	Before   []json.RawMessage            `json:"events_before"` // newest first
	After    []json.RawMessage            `json:"events_after"`  // oldest first
	Start    string                       `json:"start"`
	End      string                       `json:"end"`
	Profiles map[matrix.UserID]SenderInfo `json:"profile_info,omitempty"`
}

// SenderInfo is the profile that a sender had in the room.
type SenderInfo struct {
	DisplayName string `json:"displayname,omitempty"`
	AvatarURL   string `json:"avatar_url,omitempty"`
}

func (s *Server) around(ctx context.Context, r *storage.Reader, a *reach, e *rooms.Event, req *SearchRequest) (*Around, error) {
	side := func(n *int) int { return min(max(*n, 0), maxAround) }
	before, after := a.walk(side(req.Before), &Filter{}), a.walk(side(req.After), &Filter{})
	if err := before.back(ctx, r, e.Pos-1, nil); err != nil {
		return nil, err
	}
	if err := after.forth(ctx, r, e.Pos, nil); err != nil {
		return nil, err
	}
	all := slices.Concat(before.events, after.events)
	rendered, err := s.RenderEvents(ctx, r, all, Rendering{Sights: a.sights, Device: req.Device})
	if err != nil {
		return nil, err
	}
	n, oldest, newest := len(before.events), e.Pos, e.Pos
	if n > 0 {
		oldest = before.events[n-1].Pos
	}
	if m := len(after.events); m > 0 {
		newest = after.events[m-1].Pos
	}
	out := &Around{Before: append([]json.RawMessage{}, rendered[:n]...), After: append([]json.RawMessage{}, rendered[n:]...),
		Start: Token(oldest - 1), End: Token(newest)}
	if !req.Profiles {
		return out, nil
	}
	out.Profiles = make(map[matrix.UserID]SenderInfo)
	for _, from := range append(all, e) {
		user := from.Sender()
		if _, known := out.Profiles[user]; known {
			continue
		}
		member, err := rooms.StateEventBefore(ctx, r, a.room.NID, event.StateTuple{Type: "m.room.member", StateKey: string(user)}, a.bound(from.Pos))
		if err != nil {
			return nil, err
		}
		var info SenderInfo
		if member != nil {
			info = SenderInfo{stringField(member.Content(), "displayname"), stringField(member.Content(), "avatar_url")}
		}
		out.Profiles[user] = info
	}
	return out, nil
}
