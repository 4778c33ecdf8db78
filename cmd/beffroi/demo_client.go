package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// demoTimeout is how long the demo waits for anything.
const demoTimeout = 20 * time.Second

// maxAnswer bounds what the demo reads of an answer.
const maxAnswer = 8 << 20

// demoUser is a client of one account: what any Matrix client does, and no more.
type demoUser struct {
	base     string // of the client API
	id       string
	password string
	token    string
	since    string // of the last sync
}

// answer is what a server said.
type answer struct {
	Status int
	Body   map[string]any
}

// text returns a string of the answer by its path, "" where there is none.
func (a answer) text(path ...string) string {
	var at any = a.Body
	for _, key := range path {
		object, _ := at.(map[string]any)
		at = object[key]
	}
	s, _ := at.(string)
	return s
}

// String returns the answer as it is told to people.
func (a answer) String() string {
	if reason := a.text("org.beffroi.policy", "reason"); reason != "" {
		return fmt.Sprintf("%d %s %s", a.Status, a.text("errcode"), reason)
	}
	return fmt.Sprintf("%d %s %s", a.Status, a.text("errcode"), a.text("error"))
}

// call asks the client API. An answer of any status is no error.
func (u *demoUser) call(ctx context.Context, method, path string, body any) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.base+path, reader)
	if err != nil {
		return answer{}, err
	}
	if u.token != "" {
		req.Header.Set("Authorization", "Bearer "+u.token)
	}
	req.Header.Set("Accept-Language", "en")
	return ask(http.DefaultClient, req)
}

func ask(client *http.Client, req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, err
	}
	a := answer{Status: resp.StatusCode}
	if err := json.Unmarshal(raw, &a.Body); err != nil {
		return a, fmt.Errorf("%s %s answered %d with no JSON object: %.100s", req.Method, req.URL.Path, resp.StatusCode, raw)
	}
	return a, nil
}

// must is call where anything but success is an error.
func (u *demoUser) must(ctx context.Context, method, path string, body any) (answer, error) {
	a, err := u.call(ctx, method, path, body)
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", method, path, a)
	}
	return a, err
}

func (u *demoUser) login(ctx context.Context) error {
	a, err := u.must(ctx, http.MethodPost, "/_matrix/client/v3/login", map[string]any{
		"type": "m.login.password", "password": u.password,
		"identifier": map[string]string{"type": "m.id.user", "user": u.id},
	})
	u.token = a.text("access_token")
	return err
}

func roomPath(room string, rest ...string) string {
	path := "/_matrix/client/v3/rooms/" + url.PathEscape(room)
	for _, part := range rest {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// say sends a message.
func (u *demoUser) say(ctx context.Context, room, body string) error {
	txn := fmt.Sprint(time.Now().UnixNano())
	_, err := u.must(ctx, http.MethodPut, roomPath(room, "send", "m.room.message", txn),
		map[string]string{"msgtype": "m.text", "body": body})
	return err
}

// until syncs until the answer, as text, contains all of what is wanted.
func (u *demoUser) until(ctx context.Context, wanted ...string) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	var seen strings.Builder
	for {
		a, err := u.must(ctx, http.MethodGet, "/_matrix/client/v3/sync?timeout=3000&since="+url.QueryEscape(u.since), nil)
		if err != nil {
			return fmt.Errorf("wait for %q: %w", wanted, err)
		}
		u.since = a.text("next_batch")
		raw, err := json.Marshal(a.Body)
		if err != nil {
			return err
		}
		seen.Write(raw)
		if containsAll(seen.String(), wanted) {
			return nil
		}
	}
}

func containsAll(text string, wanted []string) bool {
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// members returns who is joined or invited in a room, as the user sees it.
func (u *demoUser) members(ctx context.Context, room string) (map[string]string, error) {
	a, err := u.must(ctx, http.MethodGet, roomPath(room, "members"), nil)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	chunk, _ := a.Body["chunk"].([]any)
	for _, item := range chunk {
		e, _ := item.(map[string]any)
		content, _ := e["content"].(map[string]any)
		key, _ := e["state_key"].(string)
		out[key], _ = content["membership"].(string)
	}
	return out, nil
}
