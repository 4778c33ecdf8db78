package syncapi_test

import (
	"encoding/json"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"beffroi/matrix"
	"beffroi/syncapi"
)

// slidingClient is a client that keeps a list of rooms as Element X does.
type slidingClient struct {
	s    *server
	user matrix.UserID
	req  syncapi.SlidingRequest
	// nodes answer in turn: what one has told, the other must know.
	nodes []*syncapi.Server
	asked int

	pos    string
	rooms  map[matrix.RoomID]*slidingView
	inList map[matrix.RoomID]bool // stands in the window of the list
	was    map[matrix.RoomID]bool // has joined
	count  int
	data   map[string]string // account data of rooms, by room and type
	read   map[matrix.RoomID]matrix.EventID
}

// slidingView is what the client believes of a room.
type slidingView struct {
	membership, name string
	direct           bool
	joined, invited  int
	state            map[string]matrix.EventID
	timeline         []matrix.EventID
	own              map[matrix.EventID]bool // memberships of the user in it
	lazy             bool                    // its wish was, when the client looked at it last
}

type slidingAnswer struct {
	Pos   string `json:"pos"`
	Lists map[string]struct {
		Count int `json:"count"`
	} `json:"lists"`
	Rooms map[matrix.RoomID]*struct {
		Initial    bool     `json:"initial"`
		Membership string   `json:"membership"`
		Lists      []string `json:"lists"`
		Direct     *bool    `json:"is_dm"`
		Name       nullable `json:"name"`
		Joined     *int     `json:"joined_count"`
		Invited    *int     `json:"invited_count"`
		State      []event  `json:"required_state"`
		Timeline   []event  `json:"timeline"`
		Limited    bool     `json:"limited"`
		Expanded   bool     `json:"expanded_timeline"`
		Live       int      `json:"num_live"`
		Stripped   []event  `json:"stripped_state"`
	} `json:"rooms"`
	Extensions struct {
		AccountData struct {
			Rooms map[matrix.RoomID][]struct {
				Type    string          `json:"type"`
				Content json.RawMessage `json:"content"`
			} `json:"rooms"`
		} `json:"account_data"`
		Receipts struct {
			Rooms map[matrix.RoomID]struct {
				Content map[matrix.EventID]map[string]map[matrix.UserID]json.RawMessage `json:"content"`
			} `json:"rooms"`
		} `json:"receipts"`
	} `json:"extensions"`
}

// nullable tells a field that is null from one that is not there.
type nullable struct {
	there bool
	text  string
}

func (n *nullable) UnmarshalJSON(raw []byte) error {
	n.there, n.text = true, ""
	if string(raw) == "null" {
		return nil
	}
	return json.Unmarshal(raw, &n.text)
}

// ask asks once. A lost answer is one that the client does not look at.
func (c *slidingClient) ask(rt *rapid.T, lost bool) *slidingAnswer {
	req := c.req
	req.Pos = c.pos
	node := c.nodes[c.asked%len(c.nodes)]
	c.asked++
	raw, err := node.Slide(c.s.t.Context(), &req)
	if err != nil {
		rt.Fatalf("pos %q: %v", c.pos, err)
	}
	var out slidingAnswer
	if err := json.Unmarshal(raw, &out); err != nil {
		rt.Fatalf("%v in %s", err, raw)
	}
	if !lost {
		c.apply(rt, &out)
	}
	return &out
}

// apply does with an answer what MSC4186 tells clients to do.
func (c *slidingClient) apply(rt *rapid.T, out *slidingAnswer) {
	c.pos = out.Pos
	c.count = out.Lists["all"].Count
	for id, r := range out.Rooms {
		c.inList[id] = len(r.Lists) > 0
		v := c.rooms[id]
		if v == nil || r.Initial {
			if !r.Initial && r.Membership == "join" {
				rt.Fatalf("%s is not initial, and the client does not know it", id)
			}
			v = &slidingView{state: make(map[string]matrix.EventID), lazy: c.lazy(id), own: make(map[matrix.EventID]bool)}
			c.rooms[id] = v
			delete(c.read, id)
		}
		v.membership = r.Membership
		if r.Direct != nil {
			v.direct = *r.Direct
		}
		if r.Name.there {
			v.name = r.Name.text
		}
		if r.Joined != nil {
			v.joined, v.invited = *r.Joined, *r.Invited
		}
		if r.Limited && !r.Expanded { // a gap: the members of before may be wrong
			for key := range v.state {
				if strings.HasPrefix(key, "m.room.member|") && !c.wants(id, "m.room.member", key[len("m.room.member|"):]) {
					delete(v.state, key)
				}
			}
		}
		for _, e := range r.State {
			if e.Content == nil {
				delete(v.state, e.Type+"|"+*e.StateKey)
				continue
			}
			v.state[e.Type+"|"+*e.StateKey] = e.ID
		}
		if r.Initial || r.Expanded || r.Limited {
			v.timeline = nil
		}
		for _, e := range r.Timeline {
			v.timeline = append(v.timeline, e.ID)
			v.own[e.ID] = e.Type == "m.room.member" && *e.StateKey == string(c.user)
			if v.state["m.room.member|"+string(e.Sender)] == "" && c.lazy(id) && r.Membership == "join" {
				rt.Fatalf("%s: the client lacks the member who sent %s", id, e.ID)
			}
		}
		if r.Live > len(r.Timeline) {
			rt.Fatalf("%s: %d live of %d", id, r.Live, len(r.Timeline))
		}
	}
	for id, list := range out.Extensions.AccountData.Rooms {
		for _, d := range list {
			c.data[string(id)+"|"+d.Type] = string(d.Content)
		}
	}
	for id, r := range out.Extensions.Receipts.Rooms {
		for at, types := range r.Content {
			if types["m.read"][carolOf(c.user)] != nil {
				c.read[id] = at
			}
		}
	}
}

// carolOf is whose receipts the client of a walk follows.
func carolOf(user matrix.UserID) matrix.UserID { return "@carol" + user[len("@bob"):] }

// window returns which rooms the client must know by heart: those of its
// window, in the order of the truth, and the one that it has opened.
func (c *slidingClient) window(truth []matrix.RoomID) []matrix.RoomID {
	last := len(truth)
	if ranges := c.req.Lists["all"].Ranges; ranges != nil {
		last = min(last, ranges[0][1]+1)
	}
	list := slices.Clone(truth[:last])
	for i, id := range truth {
		c.inList[id] = i < last
	}
	for id := range c.req.Subscriptions {
		if slices.Contains(truth, id) && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}

func patterns(pairs ...string) (list []syncapi.StatePattern) {
	for i := 0; i < len(pairs); i += 2 {
		var p syncapi.StatePattern
		if pairs[i] != "*" {
			p.Type = &pairs[i]
		}
		if pairs[i+1] != "*" {
			p.StateKey = &pairs[i+1]
		}
		list = append(list, p)
	}
	return list
}

// wishes is what the client asks for of a room that it looks at.
func (c *slidingClient) wishes(id matrix.RoomID) []syncapi.StateWish {
	var list []syncapi.StateWish
	if c.inList[id] {
		list = slices.Clone(c.req.Lists["all"].State)
	}
	if sub := c.req.Subscriptions[id]; sub != nil {
		list = append(list, sub.State...)
	}
	return list
}

// wants reports whether the client asks for a state event by its type and key.
func (c *slidingClient) wants(id matrix.RoomID, typ, key string) bool {
	match := func(w syncapi.StateWish, list []syncapi.StatePattern, by bool) bool {
		return slices.ContainsFunc(list, func(p syncapi.StatePattern) bool {
			return (p.Type == nil || *p.Type == typ) && (p.StateKey == nil || *p.StateKey == key) &&
				!(by && w.LazyMembers && typ == "m.room.member" && p.StateKey == nil)
		})
	}
	return slices.ContainsFunc(c.wishes(id), func(w syncapi.StateWish) bool {
		return match(w, w.Include, true) && !match(w, w.Exclude, false)
	})
}

func (c *slidingClient) lazy(id matrix.RoomID) bool {
	return slices.ContainsFunc(c.wishes(id), func(w syncapi.StateWish) bool { return w.LazyMembers })
}

// forgets drops the state that the client no longer asks for.
func (c *slidingClient) forgets(id matrix.RoomID, v *slidingView) {
	lazy := c.lazy(id)
	for key := range v.state {
		typ, stateKey, _ := strings.Cut(key, "|")
		if !c.wants(id, typ, stateKey) && !(typ == "m.room.member" && lazy && v.lazy) {
			delete(v.state, key)
		}
	}
	v.lazy = lazy
}
