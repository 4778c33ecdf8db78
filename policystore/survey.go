package policystore

import (
	"context"
	"encoding/json"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// surveyPage is how many memberships are read in one snapshot: none lives
// longer than some milliseconds.
const surveyPage = 5000

// place is where a survey stands: the last membership it looked at.
type place struct {
	room int64
	user matrix.UserID
}

// surveyed is a page of memberships with the rooms they are in.
type surveyed struct {
	present []rooms.Present
	rooms   map[int64]*policy.RoomFacts // without rooms that are being removed
}

// surveyAfter reads the memberships after a place: one query for them and
// three for 500 rooms, so the cost follows the members and nothing else.
func surveyAfter(ctx context.Context, db *storage.DB, after place, limit int) (page surveyed, err error) {
	err = db.View(ctx, func(r *storage.Reader) error {
		if page.present, err = rooms.PresentAfter(ctx, r, after.room, after.user, limit); err != nil {
			return err
		}
		var nids []int64
		for _, p := range page.present {
			if len(nids) == 0 || nids[len(nids)-1] != p.RoomNID { // they come room by room
				nids = append(nids, p.RoomNID)
			}
		}
		found, err := rooms.Survey(ctx, r, nids)
		page.rooms = make(map[int64]*policy.RoomFacts, len(found))
		for nid, s := range found {
			page.rooms[nid] = factsOf(s)
		}
		return err
	})
	return page, err
}

// last returns where the page ends.
func (p *surveyed) last(before place) place {
	if n := len(p.present); n > 0 {
		return place{p.present[n-1].RoomNID, p.present[n-1].User}
	}
	return before
}

// factsOf returns what decisions know of a room, as the gate for events sees it.
func factsOf(s *rooms.Surveyed) *policy.RoomFacts {
	var facts policy.RoomFacts
	if len(s.State) > 0 {
		state := surveyedState(s.State)
		facts = policy.Facts(state, state.Event("m.room.create", ""), "")
	} else if s.Stripped != "" {
		facts = strippedFacts(s.Stripped)
	}
	facts.ID = s.ID
	return &facts
}

// surveyedState is the part of the state that a survey reads.
type surveyedState map[string]*rooms.Event

// Event implements [policy.RoomState].
func (s surveyedState) Event(typ, key string) *event.Event {
	if e := s[typ]; e != nil && key == "" {
		return e.Event
	}
	return nil
}

// Each implements [policy.RoomState].
func (s surveyedState) Each(typ string, fn func(*event.Event) bool) {
	if e := s.Event(typ, ""); e != nil {
		fn(e)
	}
}

func strippedFacts(list string) policy.RoomFacts {
	var told []struct {
		Type     string          `json:"type"`
		StateKey string          `json:"state_key"`
		Sender   matrix.UserID   `json:"sender"`
		Content  json.RawMessage `json:"content"`
	}
	if json.Unmarshal([]byte(list), &told) != nil {
		return policy.RoomFacts{} // nothing is known: restricted
	}
	events := make([]policy.StrippedEvent, len(told))
	for i, e := range told {
		events[i] = policy.StrippedEvent{Type: e.Type, StateKey: e.StateKey, Sender: e.Sender, Content: e.Content}
	}
	return policy.StrippedFacts(events)
}
