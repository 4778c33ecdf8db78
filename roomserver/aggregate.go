package roomserver

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// maxNested is how deep aggregations stand in each other: the newest event
	// of a thread has its edit, which has nothing.
	maxNested = 2
	// maxReferences bounds the references that are told with an event.
	maxReferences = 100
)

// bundle is what this server tells with an event of those that relate to it.
//
// https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
type bundle struct {
	replaced   json.RawMessage // the newest edit, rendered
	latest     json.RawMessage // the newest event of the thread, rendered
	count      int64           // of the thread
	byUser     bool            // the user wrote in the thread
	user       matrix.UserID
	references []matrix.EventID
}

// append adds the member m.relations to an unfinished object, if there is
// anything to tell.
func (b *bundle) append(dst []byte, e *rooms.Event) []byte {
	if b.replaced == nil && b.latest == nil && len(b.references) == 0 {
		return dst
	}
	start := len(dst)
	if b.latest != nil {
		dst = strconv.AppendInt(append(dst, `,"m.thread":{"count":`...), b.count, 10)
		dst = strconv.AppendBool(append(dst, `,"current_user_participated":`...), b.byUser || e.Sender() == b.user)
		dst = append(append(append(dst, `,"latest_event":`...), b.latest...), '}')
	}
	if b.replaced != nil {
		dst = append(append(dst, `,"m.replace":`...), b.replaced...)
	}
	for i, id := range b.references {
		prefix := `},{"event_id":`
		if i == 0 {
			prefix = `,"m.reference":{"chunk":[{"event_id":`
		}
		dst = canonicaljson.AppendString(append(dst, prefix...), string(id))
	}
	if len(b.references) > 0 {
		dst = append(dst, `}]}`...)
	}
	inner := bytes.Clone(dst[start+1:])
	return append(append(append(dst[:start], `,"m.relations":{`...), inner...), '}')
}

// related is what is read for bundles.
type related struct {
	out      map[matrix.EventID]*bundle
	parents  map[matrix.EventID]*rooms.Event
	newest   map[matrix.EventID]storage.Position // of threads
	edited   []matrix.EventID
	referred []matrix.EventID
}

// bundles aggregates what relates to some events and the user may see. State
// has no aggregations, and what was redacted has no edits.
func (s *Server) bundles(ctx context.Context, r *storage.Reader, events []*rooms.Event, how Rendering) (map[matrix.EventID]*bundle, error) {
	in := related{out: map[matrix.EventID]*bundle{}, parents: map[matrix.EventID]*rooms.Event{}, newest: map[matrix.EventID]storage.Position{}}
	if err := in.read(ctx, r, events, how.Sights.user); err != nil || len(in.out) == 0 {
		return nil, err
	}
	if err := in.refer(ctx, r, how.Sights); err != nil {
		return nil, err
	}
	threads, err := in.threads(ctx, r)
	if err != nil {
		return nil, err
	}
	edits, err := in.edits(ctx, r)
	if err != nil {
		return nil, err
	}
	deeper := how
	deeper.nested++
	if err := s.renderInto(ctx, r, threads, deeper, func(b *bundle, raw json.RawMessage) { b.latest = raw }, in.out); err != nil {
		return nil, err
	}
	deeper.nested = maxNested
	return in.out, s.renderInto(ctx, r, edits, deeper, func(b *bundle, raw json.RawMessage) { b.replaced = raw }, in.out)
}

// read finds which of the events others relate to.
func (in *related) read(ctx context.Context, r *storage.Reader, events []*rooms.Event, user matrix.UserID) error {
	var ids []matrix.EventID
	for _, e := range events {
		if !e.IsState() && e.Status == rooms.Accepted && in.parents[e.ID()] == nil {
			in.parents[e.ID()] = e
			ids = append(ids, e.ID())
		}
	}
	return rooms.Aggregates(ctx, r, user, ids, func(id matrix.EventID, a rooms.Aggregate) {
		b := in.out[id]
		if b == nil {
			b = &bundle{user: user}
			in.out[id] = b
		}
		switch a.RelType {
		case rooms.RelThread:
			b.count, b.byUser = a.Count, a.ByUser
			in.newest[id] = a.Latest
		case rooms.RelReplace:
			if in.parents[id].RedactedBy == "" {
				in.edited = append(in.edited, id)
			}
		case rooms.RelReference:
			in.referred = append(in.referred, id)
		}
	})
}

// refer collects the references that the user may see.
func (in *related) refer(ctx context.Context, r *storage.Reader, sights *Sights) error {
	var list []*rooms.Event
	found := map[matrix.EventID][]*rooms.Event{}
	if err := rooms.References(ctx, r, in.referred, maxReferences, func(id matrix.EventID, e *rooms.Event) {
		list = append(list, e)
		found[id] = append(found[id], e)
	}); err != nil {
		return err
	}
	if err := sights.Look(ctx, r, list); err != nil {
		return err
	}
	for id, events := range found {
		for _, e := range sights.Visible(events) {
			in.out[id].references = append(in.out[id].references, e.ID())
		}
	}
	return nil
}

// threads returns the newest event of each thread.
func (in *related) threads(ctx context.Context, r *storage.Reader) (map[matrix.EventID]*rooms.Event, error) {
	at := map[int64][]storage.Position{}
	for id, pos := range in.newest {
		at[in.parents[id].RoomNID] = append(at[in.parents[id].RoomNID], pos)
	}
	events, err := rooms.EventsAt(ctx, r, at)
	found := make(map[matrix.EventID]*rooms.Event, len(events))
	for _, e := range events {
		root, _ := rooms.RelatesTo(e.Content())
		if pos, ok := in.newest[root]; ok && pos == e.Pos {
			found[root] = e
		}
	}
	return found, err
}

// edits returns the newest edit of each event. One without the new content is
// none, unless that is encrypted.
func (in *related) edits(ctx context.Context, r *storage.Reader) (map[matrix.EventID]*rooms.Event, error) {
	newest, err := rooms.Replacements(ctx, r, in.edited)
	if err != nil {
		return nil, err
	}
	nids := make([]int64, 0, len(newest))
	for _, nid := range newest {
		nids = append(nids, nid)
	}
	events, err := rooms.EventsByNID(ctx, r, nids)
	found := make(map[matrix.EventID]*rooms.Event, len(newest))
	for id, nid := range newest {
		e := events[nid]
		if e != nil && (e.Type() == "m.room.encrypted" || bytes.Contains(e.Content(), []byte(`"m.new_content"`))) {
			found[id] = e
		}
	}
	return found, err
}

// renderInto renders those of the events that the user may see, each into the
// bundle of its parent.
func (s *Server) renderInto(ctx context.Context, r *storage.Reader, children map[matrix.EventID]*rooms.Event, how Rendering,
	set func(*bundle, json.RawMessage), out map[matrix.EventID]*bundle) error {
	if len(children) == 0 {
		return nil
	}
	list := make([]*rooms.Event, 0, len(children))
	for _, e := range children {
		list = append(list, e)
	}
	if err := how.Sights.Look(ctx, r, list); err != nil {
		return err
	}
	parents := make([]matrix.EventID, 0, len(children))
	list = list[:0]
	for id, e := range children {
		if how.Sights.Sees(e) {
			parents, list = append(parents, id), append(list, e)
		}
	}
	rendered, err := s.RenderEvents(ctx, r, list, how)
	for i, raw := range rendered {
		set(out[parents[i]], raw)
	}
	return err
}
