package clientapi

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/syncapi"
)

// Limits of a request of sliding sync.
const (
	maxLists         = 100
	maxSubscriptions = 100
	maxListName      = 255
	maxConnID        = 255
	maxRanges        = 16
	// maxStatePatterns bounds what is asked of the state of one room: every
	// state event is held against every pattern.
	maxStatePatterns = 200
	// maxSlidingTimeline is how many events of a room one answer has.
	maxSlidingTimeline = 100
	// maxSlidingTags bounds what the rooms of a list are held against.
	maxSlidingTags = 100
	maxScope       = 1000
)

// slidingFilter is which rooms stand in a list, with the names of both forms.
type slidingFilter struct {
	IsDM         *bool           `json:"is_dm"`
	IsEncrypted  *bool           `json:"is_encrypted"`
	IsInvite     *bool           `json:"is_invite"`
	IsInvited    *bool           `json:"is_invited"`
	RoomTypes    []*string       `json:"room_types"`
	NotRoomTypes []*string       `json:"not_room_types"`
	Tags         []string        `json:"tags"`
	NotTags      []string        `json:"not_tags"`
	Spaces       []matrix.RoomID `json:"spaces"`
}

func (f *slidingFilter) filter() (syncapi.ListFilter, error) {
	if f == nil {
		return syncapi.ListFilter{}, nil
	}
	if max(len(f.RoomTypes), len(f.NotRoomTypes), len(f.Tags), len(f.NotTags), len(f.Spaces)) > maxSlidingTags {
		return syncapi.ListFilter{}, matrix.InvalidParam("a filter of a list has at most %d entries of a kind", maxSlidingTags)
	}
	out := syncapi.ListFilter{Direct: f.IsDM, Encrypted: f.IsEncrypted, Invited: f.IsInvite, RoomTypes: f.RoomTypes,
		NotRoomTypes: f.NotRoomTypes, Tags: f.Tags, NotTags: f.NotTags, Spaces: f.Spaces}
	if out.Invited == nil {
		out.Invited = f.IsInvited
	}
	return out, nil
}

// slidingExtensions is what a client wants to hear of beside the rooms.
type slidingExtensions struct {
	ToDevice struct {
		Enabled bool   `json:"enabled"`
		Since   string `json:"since"`
		Limit   *int   `json:"limit"`
	} `json:"to_device"`
	E2EE struct {
		Enabled bool `json:"enabled"`
	} `json:"e2ee"`
	AccountData slidingScope `json:"account_data"`
	Receipts    slidingScope `json:"receipts"`
	Typing      slidingScope `json:"typing"`
	Threads     struct {
		Enabled bool `json:"enabled"`
		Limit   *int `json:"limit"`
	} `json:"io.element.msc4308.thread_subscriptions"`
}

type slidingScope struct {
	Enabled bool            `json:"enabled"`
	Lists   []string        `json:"lists"`
	Rooms   []matrix.RoomID `json:"rooms"`
}

func (sc slidingScope) scope() (syncapi.Scope, error) {
	if max(len(sc.Lists), len(sc.Rooms)) > maxScope {
		return syncapi.Scope{}, matrix.InvalidParam("an extension names at most %d lists or rooms", maxScope)
	}
	out := syncapi.Scope{Enabled: sc.Enabled, Lists: sc.Lists, Rooms: sc.Rooms}
	if slices.Contains(sc.Lists, "*") {
		out.Lists = nil
	}
	if slices.Contains(sc.Rooms, "*") {
		out.Rooms = nil
	}
	return out, nil
}

func (e *slidingExtensions) extensions() (out syncapi.Extensions, err error) {
	out = syncapi.Extensions{E2EE: e.E2EE.Enabled, ToDevice: e.ToDevice.Enabled, ToDeviceSince: e.ToDevice.Since}
	if limit := e.ToDevice.Limit; limit != nil {
		if *limit < 1 {
			return out, matrix.InvalidParam("limit of to_device must be at least 1")
		}
		out.ToDeviceLimit = *limit
	}
	if out.Threads = e.Threads.Enabled; e.Threads.Limit != nil {
		if out.ThreadsLimit = *e.Threads.Limit; out.ThreadsLimit < 1 {
			return out, matrix.InvalidParam("limit of thread_subscriptions must be at least 1")
		}
	}
	for _, part := range []struct {
		in  slidingScope
		out *syncapi.Scope
	}{{e.AccountData, &out.AccountData}, {e.Receipts, &out.Receipts}, {e.Typing, &out.Typing}} {
		if *part.out, err = part.in.scope(); err != nil {
			return out, err
		}
	}
	return out, nil
}

// slidingCommon is what both forms of a request have alike.
type slidingCommon struct {
	ConnID     string            `json:"conn_id"`
	Extensions slidingExtensions `json:"extensions"`
}

// request begins the request that both forms become.
func (c *slidingCommon) request(who *caller, lists, subscriptions int) (*syncapi.SlidingRequest, error) {
	switch {
	case len(c.ConnID) > maxConnID:
		return nil, matrix.InvalidParam("conn_id has at most %d bytes", maxConnID)
	case lists > maxLists:
		return nil, matrix.InvalidParam("there are at most %d lists", maxLists)
	case subscriptions > maxSubscriptions:
		return nil, matrix.InvalidParam("there are at most %d room_subscriptions", maxSubscriptions)
	}
	extensions, err := c.Extensions.extensions()
	return &syncapi.SlidingRequest{User: who.User, Device: who.Device, ConnID: c.ConnID, Extensions: extensions,
		Lists: make(map[string]*syncapi.SlidingList), Subscriptions: make(map[matrix.RoomID]*syncapi.RoomConfig)}, err
}

// roomConfig is what a client wants to hear of a room.
func roomConfig(limit *int, wishes []syncapi.StateWish) (c syncapi.RoomConfig, err error) {
	if limit == nil {
		return c, matrix.MissingParam("a list or subscription needs a timeline_limit")
	}
	if *limit < 0 {
		return c, matrix.InvalidParam("timeline_limit is negative")
	}
	for _, w := range wishes {
		if len(w.Include)+len(w.Exclude) > maxStatePatterns {
			return c, matrix.InvalidParam("required_state has at most %d entries", maxStatePatterns)
		}
	}
	return syncapi.RoomConfig{TimelineLimit: min(*limit, maxSlidingTimeline), State: wishes}, nil
}

// slidingList makes a list of its parts.
func slidingList(name string, config syncapi.RoomConfig, ranges [][]int, f *slidingFilter) (*syncapi.SlidingList, error) {
	if len(name) > maxListName {
		return nil, matrix.InvalidParam("the name of a list has at most %d bytes", maxListName)
	}
	if len(ranges) > maxRanges {
		return nil, matrix.InvalidParam("a list has at most %d ranges", maxRanges)
	}
	out := &syncapi.SlidingList{RoomConfig: config}
	for _, r := range ranges {
		if len(r) != 2 || r[0] < 0 || r[1] < r[0] {
			return nil, matrix.InvalidParam("a range is [first, last], and neither is negative")
		}
		out.Ranges = append(out.Ranges, [2]int{r[0], r[1]})
	}
	var err error
	out.Filter, err = f.filter()
	return out, err
}

// presence reads how a user is there by asking. Who does not say is online.
func presence(word string) (string, error) {
	switch word {
	case "":
		return "online", nil
	case "online", "offline", "unavailable":
		return word, nil
	}
	return "", matrix.InvalidParam("set_presence must be offline, online or unavailable")
}

// acceptedSync is a request in the form in which MSC4186 was accepted.
type acceptedSync struct {
	slidingCommon
	Pos           string                     `json:"pos"`
	Timeout       int64                      `json:"timeout"`
	SetPresence   string                     `json:"set_presence"`
	Lists         map[string]*acceptedList   `json:"lists"`
	Subscriptions map[string]*acceptedConfig `json:"room_subscriptions"`
}

type acceptedConfig struct {
	TimelineLimit *int               `json:"timeline_limit"`
	RequiredState *syncapi.StateWish `json:"required_state"`
}

type acceptedList struct {
	acceptedConfig
	Range   []int          `json:"range"`
	Filters *slidingFilter `json:"filters"`
}

func (c *acceptedConfig) config() (syncapi.RoomConfig, error) {
	if c.RequiredState == nil {
		return syncapi.RoomConfig{}, matrix.MissingParam("a list or subscription needs a required_state")
	}
	return roomConfig(c.TimelineLimit, []syncapi.StateWish{*c.RequiredState})
}

// https://github.com/matrix-org/matrix-spec-proposals/pull/4186
func (s *Server) slidingSync(ctx context.Context, who *caller, _ *http.Request, in acceptedSync) (httpx.Raw, error) {
	req, err := in.request(who, len(in.Lists), len(in.Subscriptions))
	if err != nil {
		return nil, err
	}
	if in.Timeout < 0 {
		return nil, matrix.InvalidParam("timeout is negative")
	}
	if req.SetPresence, err = presence(in.SetPresence); err != nil {
		return nil, err
	}
	req.Accepted, req.Pos = true, in.Pos
	req.Timeout = time.Duration(min(in.Timeout, maxSyncTimeout.Milliseconds())) * time.Millisecond
	for _, name := range slices.Sorted(maps.Keys(in.Lists)) {
		l := in.Lists[name]
		if l == nil {
			return nil, matrix.BadJSON("a list is an object")
		}
		config, err := l.config()
		if err != nil {
			return nil, err
		}
		var ranges [][]int
		if l.Range != nil {
			ranges = [][]int{l.Range}
		}
		if req.Lists[name], err = slidingList(name, config, ranges, l.Filters); err != nil {
			return nil, err
		}
	}
	for id, sub := range in.Subscriptions {
		if sub == nil {
			return nil, matrix.BadJSON("a subscription is an object")
		}
		config, err := sub.config()
		if err != nil {
			return nil, err
		}
		req.Subscriptions[matrix.RoomID(id)] = &config
	}
	out, err := s.Sync.Slide(ctx, req)
	return httpx.Raw(out), err
}
