package account

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/users"
)

const (
	// maxAccountDataBytes bounds one entry, like an event.
	maxAccountDataBytes = 64 << 10
	// maxAccountDataTotal and maxAccountDataEntries bound what an account
	// keeps: an initial sync carries all of it.
	maxAccountDataTotal   = 8 << 20
	maxAccountDataEntries = 10_000
	// smallData is what an entry may grow to without all of them being added
	// up: read markers change all the time.
	smallData    = 512
	maxTypeBytes = 255
	// maxFilterBytes and maxFilters bound the filters of an account. Clients
	// have a handful.
	maxFilterBytes = 64 << 10
	maxFilters     = 100
)

// Types of account data that the server manages itself.
const (
	TypeFullyRead = "m.fully_read"
	TypePushRules = "m.push_rules"
)

// AccountData returns the content of one type of account data, of a room or
// with "" of the account, or M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype
func (s *Server) AccountData(ctx context.Context, user matrix.UserID, room matrix.RoomID, typ string) (content json.RawMessage, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		text, err := users.AccountDataOf(ctx, r, user, room, typ)
		content = json.RawMessage(text)
		return err
	})
	return content, err
}

// SetAccountData stores what a client keeps. What the server manages itself is
// 405 M_BAD_JSON, and a content that is too large M_TOO_LARGE. It takes a
// position in the log.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype
func (s *Server) SetAccountData(ctx context.Context, user matrix.UserID, room matrix.RoomID, typ string, content json.RawMessage) error {
	if typ == TypeFullyRead || typ == TypePushRules {
		return matrix.NewError(http.StatusMethodNotAllowed, "M_BAD_JSON", "%s is managed by the server", typ)
	}
	return s.SetManagedData(ctx, user, room, typ, content)
}

// SetManagedData is [Server.SetAccountData] for the server itself: it may write
// the fully-read marker and push rules, too.
func (s *Server) SetManagedData(ctx context.Context, user matrix.UserID, room matrix.RoomID, typ string, content json.RawMessage) error {
	canonical, err := accountData(typ, content)
	if err != nil {
		return err
	}
	return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		have, err := users.AccountDataOf(ctx, &tx.Reader, user, room, typ)
		switch {
		case err == nil && have == canonical:
			return nil // nobody need wake up
		case err == nil && len(canonical) <= max(len(have), smallData):
			return users.SetAccountData(ctx, tx, user, room, typ, canonical)
		case err != nil && !matrix.IsCode(err, "M_NOT_FOUND"):
			return err
		}
		entries, bytes, err := users.AccountDataSize(ctx, &tx.Reader, user, room, typ)
		if err != nil {
			return err
		}
		if entries >= maxAccountDataEntries || bytes+int64(len(canonical)) > maxAccountDataTotal {
			return matrix.TooLarge("account data is limited to %d bytes in %d entries", maxAccountDataTotal, maxAccountDataEntries)
		}
		return users.SetAccountData(ctx, tx, user, room, typ, canonical)
	})
}

func accountData(typ string, content json.RawMessage) (string, error) {
	if typ == "" || !plain(typ, maxTypeBytes) {
		return "", matrix.InvalidParam("a type has 1 to %d bytes and no control characters", maxTypeBytes)
	}
	return object(content, maxAccountDataBytes)
}

// object returns a JSON object in canonical form.
func object(raw json.RawMessage, maxBytes int) (string, error) {
	if len(raw) > maxBytes {
		return "", matrix.TooLarge("the content is longer than %d bytes", maxBytes)
	}
	canonical, err := canonicaljson.Canonicalise(raw, canonicaljson.Lenient) // a float does no harm here
	if err != nil {
		return "", err
	}
	if canonical[0] != '{' {
		return "", matrix.BadJSON("the content must be an object")
	}
	return string(canonical), nil
}

// AddFilter stores a filter and returns its ID. The same filter has the same
// ID, which is never one that begins with a brace.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
func (s *Server) AddFilter(ctx context.Context, user matrix.UserID, content json.RawMessage) (id string, err error) {
	canonical, err := object(content, maxFilterBytes)
	if err != nil {
		return "", err
	}
	if err := checkFilter([]byte(canonical)); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(canonical))
	id = signing.EncodeBase64URL(sum[:12])
	return id, s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		return users.AddFilter(ctx, tx, user, id, canonical, s.now(), maxFilters)
	})
}

// Filter returns a filter of an account, or M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid
func (s *Server) Filter(ctx context.Context, user matrix.UserID, id string) (content json.RawMessage, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		text, err := users.Filter(ctx, r, user, id)
		content = json.RawMessage(text)
		return err
	})
	return content, err
}

// CheckFilter returns why a filter, such as one in the query of a sync, cannot
// be used.
func CheckFilter(content json.RawMessage) error {
	canonical, err := object(content, maxFilterBytes)
	if err != nil {
		return err
	}
	return checkFilter([]byte(canonical))
}

// filter is what the specification says of the form of a filter. Other fields
// are allowed: clients send those of later versions.
//
// https://spec.matrix.org/v1.19/client-server-api/#filtering
type filter struct {
	EventFields []string    `json:"event_fields"`
	EventFormat string      `json:"event_format"`
	Presence    eventFilter `json:"presence"`
	AccountData eventFilter `json:"account_data"`
	Room        struct {
		Rooms        []matrix.RoomID `json:"rooms"`
		NotRooms     []matrix.RoomID `json:"not_rooms"`
		IncludeLeave bool            `json:"include_leave"`
		AccountData  roomFilter      `json:"account_data"`
		Ephemeral    roomFilter      `json:"ephemeral"`
		State        roomFilter      `json:"state"`
		Timeline     roomFilter      `json:"timeline"`
	} `json:"room"`
}

type eventFilter struct {
	Limit      *int64          `json:"limit"`
	Types      []string        `json:"types"`
	NotTypes   []string        `json:"not_types"`
	Senders    []matrix.UserID `json:"senders"`
	NotSenders []matrix.UserID `json:"not_senders"`
}

type roomFilter struct {
	eventFilter
	Rooms         []matrix.RoomID `json:"rooms"`
	NotRooms      []matrix.RoomID `json:"not_rooms"`
	ContainsURL   *bool           `json:"contains_url"`
	LazyLoad      bool            `json:"lazy_load_members"`
	Redundant     bool            `json:"include_redundant_members"`
	UnreadThreads bool            `json:"unread_thread_notifications"`
}

func checkFilter(canonical []byte) error {
	var f filter
	if err := json.Unmarshal(canonical, &f); err != nil {
		return matrix.BadJSON("a field of the filter is not of its type")
	}
	if f.EventFormat != "" && f.EventFormat != "client" && f.EventFormat != "federation" {
		return matrix.InvalidParam("event_format is client or federation")
	}
	for _, e := range []eventFilter{f.Presence, f.AccountData, f.Room.AccountData.eventFilter,
		f.Room.Ephemeral.eventFilter, f.Room.State.eventFilter, f.Room.Timeline.eventFilter} {
		if e.Limit != nil && *e.Limit < 0 {
			return matrix.InvalidParam("limit must not be negative")
		}
		for _, user := range append(e.Senders, e.NotSenders...) {
			if _, err := matrix.ParseUserID(string(user)); err != nil {
				return err
			}
		}
	}
	rooms := append(f.Room.Rooms, f.Room.NotRooms...)
	for _, r := range []roomFilter{f.Room.AccountData, f.Room.Ephemeral, f.Room.State, f.Room.Timeline} {
		rooms = append(append(rooms, r.Rooms...), r.NotRooms...)
	}
	for _, room := range rooms {
		if _, err := matrix.ParseRoomID(string(room)); err != nil {
			return err
		}
	}
	return nil
}
