package roomserver

import (
	"context"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// mayRedact refuses a redaction by which a user of this server would have no
// effect, or would have one only because its target is of this server too:
// between servers that is a server's affair, among its users it is a question
// of power.
//
// https://spec.matrix.org/v1.19/client-server-api/#redactions
func (s *Server) mayRedact(ctx context.Context, d *draft, req SendRequest) error {
	if req.Type != "m.room.redaction" || req.Redacts == "" {
		return nil
	}
	target, err := s.stored(ctx, req.Redacts)
	if err != nil || target != nil && target.RoomID() == req.Room && target.Sender() == req.Sender {
		return err
	}
	levels, err := d.cur.PowerLevels()
	if err == nil && levels.User(req.Sender) < levels.Redact() {
		err = matrix.Forbidden("to redact an event of somebody else takes a power level of %d", levels.Redact())
	}
	return err
}

// redact applies a redaction that a draft adds, or a redaction that came
// before its event: the content is gone from the store in the same commit.
//
// https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
func (s *Server) redact(ctx context.Context, d *draft, e *event.Event) error {
	if e.Type() != "m.room.redaction" || e.Redacts() == "" {
		return nil
	}
	target, err := s.stored(ctx, e.Redacts())
	if err != nil {
		return err
	}
	if target == nil {
		d.also(func(_ context.Context, tx *storage.Tx) error {
			rooms.AddPendingRedaction(tx, d.rm.nid, e.Redacts(), e.ID())
			return nil
		})
		return nil
	}
	return s.applyRedaction(d, e, target)
}

// maxRelatedRedactions bounds the events that go with one that is redacted.
const maxRelatedRedactions = 500

// RedactRelated redacts the events that relate to one, by one of some types of
// relations ("*" is any), as far as the user may.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3912
func (s *Server) RedactRelated(ctx context.Context, req SendRequest, relTypes []string) error {
	var refs []rooms.RelatedRef
	var targets map[int64]*rooms.Event
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		room, err := rooms.ByID(ctx, r, req.Room)
		if err != nil {
			return err
		}
		if refs, err = rooms.RelatedToAny(ctx, r, room.NID, []matrix.EventID{req.Redacts}, maxRelated); err != nil {
			return err
		}
		refs = slices.DeleteFunc(refs, func(ref rooms.RelatedRef) bool {
			return !slices.Contains(relTypes, ref.RelType) && !slices.Contains(relTypes, "*")
		})
		nids := make([]int64, len(refs))
		for i, ref := range refs {
			nids[i] = ref.NID
		}
		targets, err = rooms.EventsByNID(ctx, r, nids)
		return err
	}); err != nil || len(refs) == 0 {
		return err
	}
	return s.change(ctx, req.Room, func(ctx context.Context, d *draft) error {
		levels, err := d.cur.PowerLevels()
		if err != nil {
			return err
		}
		for _, ref := range refs[:min(len(refs), maxRelatedRedactions)] {
			target := targets[ref.NID]
			if target.Sender() != req.Sender && levels.User(req.Sender) < levels.Redact() {
				continue
			}
			p := event.Proto{Sender: req.Sender, Type: "m.room.redaction", Content: req.Content, Redacts: target.ID()}
			if _, err := s.build(ctx, d, p, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// stored returns an event with what became of it, or nil.
func (s *Server) stored(ctx context.Context, id matrix.EventID) (e *rooms.Event, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		found, err := rooms.Events(ctx, r, []matrix.EventID{id})
		e = found[id]
		return err
	})
	return e, err
}

// applyRedaction redacts the target if the sender of the redaction may: by
// power, or because both are of one server. What may not is kept as an event
// without an effect.
func (s *Server) applyRedaction(d *draft, redaction *event.Event, target *rooms.Event) error {
	if target.RoomID() != d.rm.id || target.RedactedBy != "" || target.Type() == "m.room.create" {
		return nil
	}
	if redaction.Sender().Server() != target.Sender().Server() {
		levels, err := d.cur.PowerLevels()
		if err != nil {
			return err
		}
		if levels.User(redaction.Sender()) < levels.Redact() {
			return nil
		}
	}
	redacted, err := target.Redact()
	if err != nil {
		return err
	}
	nid := target.NID
	d.also(func(ctx context.Context, tx *storage.Tx) error {
		return rooms.ReplaceEvent(ctx, tx, nid, redacted, redaction.ID())
	})
	d.replaced = append(d.replaced, redacted)
	return nil
}

// redactLate applies the redactions that came before the event that they name.
func (s *Server) redactLate(ctx context.Context, d *draft, p *placement) error {
	var pending []matrix.EventID
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		pending, err = rooms.PendingRedactions(ctx, r, d.rm.nid, p.ID())
		return err
	}); err != nil || len(pending) == 0 {
		return err
	}
	for _, id := range pending {
		redaction, err := s.event(ctx, id)
		if err != nil {
			return err
		}
		d.also(func(ctx context.Context, tx *storage.Tx) error {
			return rooms.RemovePendingRedaction(ctx, tx, d.rm.nid, p.ID(), id)
		})
		target := p.Event
		before := len(d.replaced)
		if err := s.applyRedaction(d, redaction, target); err != nil {
			return err
		}
		if len(d.replaced) > before {
			// The number of the event is known only in the commit: it is written redacted.
			d.more = d.more[:len(d.more)-1]
			p.Event.Event, p.Event.RedactedBy = d.replaced[before], id
			return nil
		}
	}
	return nil
}
