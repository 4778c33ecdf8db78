package homeserver

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// CreateRoom makes a room that anybody of the server may join, and returns its
// ID.
func (u *User) CreateRoom(ctx context.Context, name string) (string, error) {
	body, err := json.Marshal(map[string]string{"name": name, "preset": "public_chat", "visibility": "private"})
	if err != nil {
		return "", err
	}
	raw, err := u.do(ctx, request{method: http.MethodPost, path: api("createRoom"), body: body})
	if err != nil {
		return "", err
	}
	return field(raw, "room_id")
}

// Join joins a room. Via names a server that is in it, "" where ours is.
func (u *User) Join(ctx context.Context, room, via string) error {
	path := api("join", room)
	if via != "" {
		// The second name is that of servers before version 1.12.
		path += "?" + url.Values{"via": {via}, "server_name": {via}}.Encode()
	}
	raw, err := u.do(ctx, request{method: http.MethodPost, path: path, body: []byte("{}")})
	if err != nil {
		return err
	}
	_, err = field(raw, "room_id")
	return err
}

// Send sends a message with a content, a JSON object, and returns the ID of its
// event.
func (u *User) Send(ctx context.Context, room, txn string, content []byte) (string, error) {
	raw, err := u.do(ctx, request{
		method: http.MethodPut, path: api("rooms", room, "send", "m.room.message", txn), body: content,
	})
	if err != nil {
		return "", err
	}
	return field(raw, "event_id")
}

// Type says that the user is typing.
func (u *User) Type(ctx context.Context, room string) error {
	_, err := u.do(ctx, request{
		method: http.MethodPut, path: api("rooms", room, "typing", u.ID), body: []byte(`{"typing":true,"timeout":20000}`),
	})
	return err
}

// Read says that the user has read up to an event.
func (u *User) Read(ctx context.Context, room, event string) error {
	_, err := u.do(ctx, request{
		method: http.MethodPost, path: api("rooms", room, "receipt", "m.read", event), body: []byte("{}"),
	})
	return err
}

// History reads the latest events of a room, newest first, and returns the
// size of the answer.
func (u *User) History(ctx context.Context, room string, limit int) (int, error) {
	raw, err := u.do(ctx, request{
		method: http.MethodGet, path: api("rooms", room, "messages") + "?dir=b&limit=" + strconv.Itoa(limit),
	})
	if err == nil && !gjson.GetBytes(raw, "chunk").IsArray() {
		err = unexpected("chunk", raw)
	}
	return len(raw), err
}

// Host is the server name in the user's ID.
func (u *User) Host() string {
	_, host, _ := strings.Cut(u.ID, ":")
	return host
}

// field returns a string that an answer must have.
func field(raw []byte, name string) (string, error) {
	s := gjson.GetBytes(raw, name).String()
	if s == "" {
		return "", unexpected(name, raw)
	}
	return s, nil
}
