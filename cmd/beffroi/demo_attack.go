package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const federationV1 = "/_matrix/federation/v1"

// asServer asks the Ministry of the Interior something over federation, signed
// as another server.
func (s *story) asServer(ctx context.Context, key signing.Key, method, path string, body any) (answer, error) {
	const target = "interieur.example"
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return answer{}, err
		}
	}
	header, err := signing.SignRequest(key, method, path, target, raw)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+target+path, bytes.NewReader(raw))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", header)
	return ask(s.ca.client(target, s.servers[target].federation), req)
}

// partnerKey is what the partner's server signs with: a hostile partner is a
// server like any other.
func (s *story) partnerKey() signing.Key { return s.servers["externe.example"].Key }

func membershipPath(call, room, last string) string {
	return federationV1 + "/" + call + "/" + url.PathEscape(room) + "/" + url.PathEscape(last)
}

func (s *story) refuseMakeJoin(ctx context.Context) error {
	a, err := s.asServer(ctx, s.partnerKey(), http.MethodGet, membershipPath("make_join", s.room, s.users["eve"].id)+"?ver=12", nil)
	if err != nil {
		return err
	}
	return s.refused("interieur.example", "make_join", a)
}

func (s *story) refuseSendJoin(ctx context.Context) error {
	pdu, err := s.forge(ctx, "join")
	if err != nil {
		return err
	}
	path := strings.Replace(membershipPath("send_join", s.room, string(pdu.ID())), "/v1/", "/v2/", 1)
	a, err := s.asServer(ctx, s.partnerKey(), http.MethodPut, path, json.RawMessage(pdu.JSON()))
	if err != nil {
		return err
	}
	return s.refused("interieur.example", "send_join", a)
}

// refuseForgedJoin pushes a join through send. The transaction is answered, and
// the event is rejected.
func (s *story) refuseForgedJoin(ctx context.Context) error {
	pdu, err := s.forge(ctx, "join")
	if err != nil {
		return err
	}
	txn := map[string]any{"origin": "externe.example", "origin_server_ts": time.Now().UnixMilli(),
		"pdus": []json.RawMessage{pdu.JSON()}}
	a, err := s.asServer(ctx, s.partnerKey(), http.MethodPut, federationV1+"/send/"+fmt.Sprint(time.Now().UnixNano()), txn)
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		return fmt.Errorf("send: %s", a)
	}
	if err := s.waitForRejection(ctx, pdu.ID()); err != nil {
		return err
	}
	return s.absent(ctx)
}

// waitForRejection waits until the ministry has stored an event as rejected.
func (s *story) waitForRejection(ctx context.Context, id matrix.EventID) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var e *rooms.Event
		err := s.servers["interieur.example"].DB.View(ctx, func(r *storage.Reader) error {
			found, err := rooms.Events(ctx, r, []matrix.EventID{id})
			e = found[id]
			return err
		})
		switch {
		case err != nil:
			return err
		case e != nil && e.Status == rooms.Rejected:
			return nil
		case e != nil:
			return fmt.Errorf("the forged join was %s", e.Status)
		}
		select {
		case <-ctx.Done():
			return errors.New("the forged join was not judged")
		case <-tick.C:
		}
	}
}

// absent fails if the partner's account is in the room.
func (s *story) absent(ctx context.Context) error {
	members, err := s.agent.members(ctx, s.room)
	if err == nil && members[s.users["eve"].id] != "" {
		err = fmt.Errorf("the partner's account is in the room: %s", members[s.users["eve"].id])
	}
	return err
}

func (s *story) refuseKnock(ctx context.Context) error {
	a, err := s.asServer(ctx, s.partnerKey(), http.MethodGet, membershipPath("make_knock", s.room, s.users["eve"].id)+"?ver=12", nil)
	if err != nil {
		return err
	}
	if err := s.refused("interieur.example", "make_knock", a); err != nil {
		return err
	}
	pdu, err := s.forge(ctx, "knock")
	if err != nil {
		return err
	}
	a, err = s.asServer(ctx, s.partnerKey(), http.MethodPut, membershipPath("send_knock", s.room, string(pdu.ID())), json.RawMessage(pdu.JSON()))
	if err != nil {
		return err
	}
	return s.refused("interieur.example", "send_knock", a)
}

// forge builds a membership of the partner's account as a server would that
// does not ask: on the room as the agent sees it.
func (s *story) forge(ctx context.Context, membership string) (*event.Event, error) {
	rules, err := matrix.RoomVersion("12").Rules()
	if err != nil {
		return nil, err
	}
	auth, err := s.authEvents(ctx)
	if err != nil {
		return nil, err
	}
	tip, err := s.agent.must(ctx, http.MethodGet, roomPath(s.room, "messages")+"?dir=b&limit=1", nil)
	if err != nil {
		return nil, err
	}
	chunk, _ := tip.Body["chunk"].([]any)
	if len(chunk) == 0 {
		return nil, errors.New("the room has no messages")
	}
	last, _ := chunk[0].(map[string]any)
	id, _ := last["event_id"].(string)
	key := s.users["eve"].id
	p := event.Proto{RoomID: matrix.RoomID(s.room), Sender: matrix.UserID(key), Type: "m.room.member", StateKey: &key,
		Content:    json.RawMessage(`{"membership":"` + membership + `"}`),
		PrevEvents: []matrix.EventID{matrix.EventID(id)}, AuthEvents: auth, Depth: 100, OriginServerTS: time.Now().UnixMilli()}
	return p.Build(rules, s.partnerKey())
}

// authEvents returns the power levels and the join rules of the room.
func (s *story) authEvents(ctx context.Context) ([]matrix.EventID, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.agent.base+roomPath(s.room, "state"), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.agent.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var state []struct {
		ID   matrix.EventID `json:"event_id"`
		Type string         `json:"type"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&state); err != nil {
		return nil, err
	}
	var ids []matrix.EventID
	for _, e := range state {
		if e.Type == "m.room.power_levels" || e.Type == "m.room.join_rules" {
			ids = append(ids, e.ID)
		}
	}
	return ids, nil
}

// refuseStranger asks as a server that no document names. It is refused at
// once: nobody calls it to ask for its keys.
func (s *story) refuseStranger(ctx context.Context) error {
	key, err := signing.NewKey(strangerName, "a1")
	if err != nil {
		return err
	}
	a, err := s.asServer(ctx, key, http.MethodGet, membershipPath("make_join", s.room, "@mallory:"+strangerName)+"?ver=12", nil)
	if err != nil {
		return err
	}
	if n := s.ca.strangerCalls.Load(); n != 0 {
		return fmt.Errorf("the unknown server was called %d times", n)
	}
	return s.refused("interieur.example", "unknown server", a)
}
