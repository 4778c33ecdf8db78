package roomserver

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// defaultDirectoryPage and maxDirectoryPage are how many rooms one answer has.
	defaultDirectoryPage = 100
	maxDirectoryPage     = 500
	// maxDirectorySearch is how many rooms, the largest first, a search looks at.
	maxDirectorySearch = 10_000
	// maxSearchTerm bounds what is searched for, in bytes.
	maxSearchTerm = 512
)

// SetPublished puts a room into the directory of this server or takes it out.
// That needs the power to set the canonical alias.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid
func (s *Server) SetPublished(ctx context.Context, user matrix.UserID, id matrix.RoomID, published bool) error {
	var room rooms.Room
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		if room, err = rooms.ByID(ctx, r, id); err != nil {
			return err
		}
		if err := s.maySet(ctx, r, user, id, typeCanonicalAlias); err != nil || !published {
			return err
		}
		return s.checkRoom(ctx, r, policy.ActionPublishRoom, user, room)
	}); err != nil || room.Published == published {
		return err
	}
	_, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return rooms.SetPublished(ctx, tx, room.NID, published)
	})
	return err
}

// Published reports whether a room is in the directory, or M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid
func (s *Server) Published(ctx context.Context, id matrix.RoomID) (published bool, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		room, err := rooms.ByID(ctx, r, id)
		published = room.Published
		return err
	})
	return published, err
}

// DirectoryRequest asks for rooms of the directory of this server, for a user,
// or for another server where User is "".
type DirectoryRequest struct {
	User   matrix.UserID
	Server matrix.ServerName
	Limit  int // 0 is 100
	Since  string
	Term   string // in the name, topic or alias; "" is any
	// RoomTypes are those wanted, nil is every one; a nil entry is the rooms
	// without a type.
	RoomTypes []*string
}

// DirectoryPage is a page of the directory.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms
type DirectoryPage struct {
	Chunk     []PublicRoom `json:"chunk"`
	NextBatch string       `json:"next_batch,omitempty"`
	PrevBatch string       `json:"prev_batch,omitempty"`
	Total     int          `json:"total_room_count_estimate"`
}

// PublicRoom is what strangers are told of a room.
type PublicRoom struct {
	RoomID         matrix.RoomID `json:"room_id"`
	Name           string        `json:"name,omitempty"`
	Topic          string        `json:"topic,omitempty"`
	CanonicalAlias string        `json:"canonical_alias,omitempty"`
	AvatarURL      string        `json:"avatar_url,omitempty"`
	Joined         int64         `json:"num_joined_members"`
	WorldReadable  bool          `json:"world_readable"`
	GuestCanJoin   bool          `json:"guest_can_join"`
	JoinRule       string        `json:"join_rule,omitempty"`
	RoomType       string        `json:"room_type,omitempty"`
}

// PublicRooms returns a page of the directory of this server, the largest rooms
// first. Who may not see it gets what the policy says.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
func (s *Server) PublicRooms(ctx context.Context, req DirectoryRequest) (page DirectoryPage, err error) {
	page.Chunk = []PublicRoom{}
	skip, err := checkDirectoryRequest(&req)
	if err != nil {
		return page, err
	}
	if err := s.checkLister(ctx, req.User, req.Server); err != nil {
		return page, err
	}
	err = s.db.View(ctx, func(r *storage.Reader) error {
		if req.Term == "" && req.RoomTypes == nil && req.Server == "" {
			return listRooms(ctx, r, &page, skip, req.Limit)
		}
		return searchRooms(ctx, r, &page, skip, req)
	})
	if skip > 0 {
		page.PrevBatch = "p" + strconv.Itoa(max(skip-req.Limit, 0))
	}
	if next := skip + len(page.Chunk); next < page.Total && len(page.Chunk) > 0 {
		page.NextBatch = "p" + strconv.Itoa(next)
	}
	return page, err
}

func checkDirectoryRequest(req *DirectoryRequest) (skip int, err error) {
	switch {
	case req.Limit < 0:
		return 0, matrix.InvalidParam("the limit is negative")
	case req.Limit == 0:
		req.Limit = defaultDirectoryPage
	}
	req.Limit = min(req.Limit, maxDirectoryPage)
	if len(req.Term) > maxSearchTerm {
		return 0, matrix.NewError(http.StatusBadRequest, "M_INVALID_PARAM", "a search term has at most %d bytes", maxSearchTerm)
	}
	if len(req.RoomTypes) > maxFilterEntries {
		return 0, matrix.InvalidParam("a list of a filter has at most %d entries", maxFilterEntries)
	}
	if req.Since == "" {
		return 0, nil
	}
	digits, ok := strings.CutPrefix(req.Since, "p")
	n, parseErr := strconv.ParseUint(digits, 10, 31)
	if !ok || parseErr != nil {
		return 0, matrix.InvalidParam("since is no token of this server")
	}
	return int(n), nil
}

// listRooms fills a page by reading only the rooms on it.
func listRooms(ctx context.Context, r *storage.Reader, page *DirectoryPage, skip, limit int) (err error) {
	if page.Total, err = rooms.DirectorySize(ctx, r); err != nil {
		return err
	}
	list, err := rooms.DirectoryPage(ctx, r, skip, limit)
	if err != nil {
		return err
	}
	state, err := rooms.SummaryState(ctx, r, numbers(slices.Values(list)))
	for _, room := range list {
		page.Chunk = append(page.Chunk, publicRoom(room, state[room.NID]))
	}
	return err
}

// searchRooms fills a page with those rooms that are asked for.
func searchRooms(ctx context.Context, r *storage.Reader, page *DirectoryPage, skip int, req DirectoryRequest) error {
	list, err := rooms.DirectoryPage(ctx, r, 0, maxDirectorySearch)
	if err != nil {
		return err
	}
	state, err := rooms.SummaryState(ctx, r, numbers(slices.Values(list)))
	if err != nil {
		return err
	}
	term := strings.ToLower(req.Term)
	for _, room := range list {
		of := state[room.NID]
		if req.Server != "" && !federates(of) {
			continue
		}
		entry := publicRoom(room, of)
		if !entry.wanted(term, req.RoomTypes) {
			continue
		}
		if page.Total++; page.Total > skip && len(page.Chunk) < req.Limit {
			page.Chunk = append(page.Chunk, entry)
		}
	}
	return nil
}

// numbers returns the numbers of rooms.
func numbers(list iter.Seq[rooms.Room]) (nids []int64) {
	for room := range list {
		nids = append(nids, room.NID)
	}
	return nids
}

func federates(state map[string]*rooms.Event) bool {
	create := state["m.room.create"]
	return create != nil && string(canonicaljson.Field(create.Content(), "m.federate")) != "false"
}

func (p *PublicRoom) wanted(term string, types []*string) bool {
	if types != nil && !slices.ContainsFunc(types, func(t *string) bool {
		return t == nil && p.RoomType == "" || t != nil && *t != "" && *t == p.RoomType
	}) {
		return false
	}
	for _, text := range []string{p.Name, p.Topic, p.CanonicalAlias} {
		if strings.Contains(strings.ToLower(text), term) {
			return true
		}
	}
	return false
}

// publicRoom makes an entry of a room and what [rooms.SummaryState] has of it.
func publicRoom(room rooms.Room, state map[string]*rooms.Event) PublicRoom {
	field := func(typ, key string) string {
		if e := state[typ]; e != nil {
			return stringField(e.Content(), key)
		}
		return ""
	}
	rule := field("m.room.join_rules", "join_rule")
	if rule == "" {
		rule = "invite"
	}
	return PublicRoom{
		RoomID: room.ID, Joined: room.Joined, JoinRule: rule,
		Name: field("m.room.name", "name"), Topic: field("m.room.topic", "topic"),
		CanonicalAlias: field(typeCanonicalAlias, "alias"), AvatarURL: field("m.room.avatar", "url"),
		WorldReadable: visibilityWord(state["m.room.history_visibility"]) == visWorldReadable,
		GuestCanJoin:  field("m.room.guest_access", "guest_access") == "can_join",
		RoomType:      field("m.room.create", "type"),
	}
}
