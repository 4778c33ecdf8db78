package roomserver

import (
	"context"
	"encoding/json"
	"strconv"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// Rendering says for whom events are rendered and how.
type Rendering struct {
	Sights *Sights         // of the user
	Device matrix.DeviceID // is told its own transaction IDs; "" is none
	// OmitRoomID leaves out room_id, as sync does.
	OmitRoomID bool
	// Plain leaves out what each state event replaced: in lists of state it
	// would be most of the bytes and of use to nobody.
	Plain bool

	// nested says how deep in the aggregations of other events these stand.
	nested int
}

// RenderEvents returns events in the form that clients get, with what this
// server says of them in unsigned. What the user may see of them is for the
// caller to have decided. They may be of several rooms: it takes at most some
// thirty queries for all of them, and three in the usual case.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-event-format
func (s *Server) RenderEvents(ctx context.Context, r *storage.Reader, events []*rooms.Event, how Rendering) ([]json.RawMessage, error) {
	b := renderer{Rendering: how, now: s.nowMS()}
	if err := b.load(ctx, r, events); err != nil {
		return nil, err
	}
	if !how.Plain && how.nested < maxNested {
		var err error
		if b.bundles, err = s.bundles(ctx, r, events, how); err != nil {
			return nil, err
		}
	}
	size := 0
	for _, e := range events {
		size += len(e.JSON()) + renderedBytes
	}
	buf := make([]byte, 0, size)
	ends := make([]int, len(events))
	for i, e := range events {
		buf = b.append(buf, e)
		ends[i] = len(buf)
	}
	out := make([]json.RawMessage, len(events))
	start := 0
	for i, end := range ends {
		out[i] = buf[start:end:end]
		start = end
	}
	return out, nil
}

// renderedBytes is about what a rendered event has that the stored one has not.
const renderedBytes = 256

// renderer is what rendering some events needs to know.
type renderer struct {
	Rendering
	now      int64
	unsigned []byte
	replaced map[int64]*rooms.Event          // by the number of the new one
	because  map[matrix.EventID]*rooms.Event // redactions
	txns     map[matrix.EventID]string       // of the device
	bundles  map[matrix.EventID]*bundle
}

func (b *renderer) load(ctx context.Context, r *storage.Reader, events []*rooms.Event) (err error) {
	var states []int64
	var redactions, own []matrix.EventID
	look := events
	for _, e := range events {
		if e.IsState() && e.Pos > 0 && !b.Plain {
			states = append(states, e.NID)
		}
		if e.RedactedBy != "" {
			redactions = append(redactions, e.RedactedBy)
		}
		if b.Device != "" && e.Sender() == b.Sights.user {
			own = append(own, e.ID())
		}
	}
	if b.replaced, err = rooms.Replaced(ctx, r, states); err != nil {
		return err
	}
	if b.because, err = rooms.Events(ctx, r, redactions); err != nil {
		return err
	}
	if len(b.replaced)+len(b.because) > 0 {
		look = look[:len(look):len(look)]
		for _, e := range b.replaced {
			look = append(look, e)
		}
		for _, e := range b.because {
			look = append(look, e)
		}
	}
	if err := b.Sights.Look(ctx, r, look); err != nil {
		return err
	}
	b.txns, err = rooms.TransactionIDs(ctx, r, b.Sights.user, b.Device, own)
	return err
}

func (b *renderer) append(dst []byte, e *rooms.Event) []byte {
	u := append(b.unsigned[:0], `{"age":`...)
	u = strconv.AppendInt(u, b.now-e.OriginServerTS(), 10)
	u = canonicaljson.AppendString(append(u, `,"membership":`...), b.Sights.Membership(e))
	if old := b.replaced[e.NID]; old != nil {
		if b.Sights.Sees(old) {
			u = append(append(u, `,"prev_content":`...), old.Content()...)
		}
		u = canonicaljson.AppendString(append(u, `,"replaces_state":`...), string(old.ID()))
	}
	if by := b.because[e.RedactedBy]; by != nil && b.Sights.Sees(by) {
		age := strconv.AppendInt([]byte(`{"age":`), b.now-by.OriginServerTS(), 10)
		form := event.ClientForm{OmitRoomID: b.OmitRoomID, Unsigned: append(age, '}')}
		u = by.AppendClient(append(u, `,"redacted_because":`...), form)
	}
	if txn, ok := b.txns[e.ID()]; ok {
		u = canonicaljson.AppendString(append(u, `,"transaction_id":`...), txn)
	}
	if relations := b.bundles[e.ID()]; relations != nil {
		u = relations.append(u, e)
	}
	b.unsigned = append(u, '}')
	return e.AppendClient(dst, event.ClientForm{OmitRoomID: b.OmitRoomID, Unsigned: b.unsigned})
}
