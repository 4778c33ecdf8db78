package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// question is what policy explain asks.
type question struct {
	actor, action, subject, room, server, email, at, file, lang string
}

func policyExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain [DECISION-ID]", Args: cobra.MaximumNArgs(1),
		Short: "Say why something was refused, or what would be decided",
		Example: "  beffroi policy explain 01M807G7JFCP9MN9AJR50NJ47R\n" +
			"  beffroi policy explain --actor @a:x.example --action invite --subject @b:y.example --room '!r:x.example'",
	}
	flags := config.AddFlags(cmd.Flags())
	var q question
	for _, f := range []struct {
		into       *string
		name, text string
	}{
		{&q.actor, "actor", "the user ID of the account that acts"},
		{&q.action, "action", "what it does, such as join or invite"},
		{&q.subject, "subject", "the user ID of the account concerned; empty is the actor"},
		{&q.room, "room", "the ID of the room, as it is now"},
		{&q.server, "server", "the other server, where one asks or is asked"},
		{&q.email, "email", "the address that registers or is invited"},
		{&q.at, "at", "the time (2027-01-31T12:00:00Z); empty is now"},
		{&q.file, "document", "a document file to ask instead of the one in force"},
		{&q.lang, "lang", "en or fr; empty is that of LANG"},
	} {
		cmd.Flags().StringVar(f.into, f.name, "", f.text)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (len(args) == 0) == (q.action == "") {
			return errors.New("name a decision ID, or ask a question with --action")
		}
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(c *config.Config, db *storage.DB) error {
			if len(args) > 0 {
				return explainDecision(cmd, db, args[0], q.language())
			}
			return q.answer(cmd, c, db)
		})
	}
	return cmd
}

func (q *question) language() string {
	if q.lang == "fr" || q.lang == "" && strings.HasPrefix(os.Getenv("LANG"), "fr") {
		return "fr"
	}
	return "en"
}

// explainDecision prints a line of the audit trail and what it means.
func explainDecision(cmd *cobra.Command, db *storage.DB, id, lang string) error {
	e, err := policystore.Find(cmd.Context(), db, strings.ToUpper(id))
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"decision", e.ID}, {"when", time.UnixMilli(e.TS).Format(time.RFC3339)}, {"kind", e.Kind}, {"action", e.Action},
		{"actor", e.Actor}, {"subject", e.Subject}, {"server", e.Server}, {"room", e.Room}, {"came from", e.Source},
		{"reason", e.Reason}, {"meaning", policy.Reason(e.Reason).Text()[lang]}, {"rule", e.Rule},
		{"organisation", e.Organisation}, {"document", fmt.Sprint(e.Version)}, {"times", fmt.Sprint(e.Count)},
		{"detail", e.Detail}, {"line", fmt.Sprintf("%d, sha256 %s", e.Seq, e.Hash)},
	} {
		if row[1] != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
		}
	}
	return w.Flush()
}

// answer asks the document and prints each step to its answer.
func (q *question) answer(cmd *cobra.Command, c *config.Config, db *storage.DB) error {
	req, err := q.request()
	if err != nil {
		return err
	}
	_, snapshot, err := inForce(cmd.Context(), c, db)
	if q.file != "" {
		var doc *policy.Document
		if doc, err = readDocument(q.file); err == nil {
			snapshot, err = policystore.Validate(doc, c.ServerName, 0, req.Now)
			err = located(q.file, err)
		}
	}
	if err != nil {
		return err
	}
	if q.room != "" {
		if req.Room, err = roomFacts(cmd.Context(), db, matrix.RoomID(q.room), req); err != nil {
			return err
		}
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), snapshot.Explain(req).String(q.language()))
	return err
}

func (q *question) request() (*policy.Request, error) {
	action, ok := policy.ParseAction(q.action)
	if !ok {
		return nil, fmt.Errorf("--action is one of %v", policy.Actions())
	}
	req := &policy.Request{Action: action, Email: q.email, Now: time.Now()}
	var err error
	parse := func(flag, value string, read func() error) {
		if e := read(); value != "" && e != nil {
			err = errors.Join(err, fmt.Errorf("--%s: %w", flag, e))
		}
	}
	parse("actor", q.actor, func() (e error) { req.Actor, e = matrix.ParseUserID(q.actor); return e })
	parse("subject", q.subject, func() (e error) { req.Subject, e = matrix.ParseUserID(q.subject); return e })
	parse("server", q.server, func() (e error) { req.Server, e = matrix.ParseServerName(q.server); return e })
	parse("room", q.room, func() error { _, e := matrix.ParseRoomID(q.room); return e })
	if q.at != "" {
		parse("at", q.at, func() (e error) { req.Now, e = time.Parse(time.RFC3339, q.at); return e })
	}
	return req, err
}

// roomState is the state of a room now, as the policy reads it.
type roomState map[event.StateTuple]*event.Event

// Event returns the event of a type and key, or nil.
func (s roomState) Event(typ, key string) *event.Event {
	return s[event.StateTuple{Type: typ, StateKey: key}]
}

// Each calls fn with the events of a type.
func (s roomState) Each(typ string, fn func(*event.Event) bool) {
	for t, e := range s {
		if t.Type == typ && !fn(e) {
			return
		}
	}
}

// roomFacts reads from the database what decisions need to know of a room.
func roomFacts(ctx context.Context, db *storage.DB, id matrix.RoomID, req *policy.Request) (*policy.RoomFacts, error) {
	subject := req.Subject
	if subject == "" {
		subject = req.Actor
	}
	return factsFor(ctx, db, id, subject)
}

// factsFor reads the facts of a room for a decision about an account.
func factsFor(ctx context.Context, db *storage.DB, id matrix.RoomID, subject matrix.UserID) (*policy.RoomFacts, error) {
	state := make(roomState)
	err := db.View(ctx, func(r *storage.Reader) error {
		room, err := rooms.ByID(ctx, r, id)
		if err != nil {
			return err
		}
		nids, err := rooms.StateNIDs(ctx, r, room.NID)
		if err != nil {
			return err
		}
		events, err := rooms.EventsByNID(ctx, r, wanted(nids))
		for t, nid := range nids {
			if e := events[nid]; e != nil {
				state[t] = e.Event
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	facts := policy.Facts(state, state.Event("m.room.create", ""), subject)
	facts.ID = id
	state.Each("m.room.member", func(e *event.Event) bool {
		key, _ := e.StateKey()
		if m := e.Membership(); (m == "join" || m == "invite") && key != string(subject) {
			facts.Seats++
		}
		return true
	})
	return &facts, nil
}

// wanted returns the events of the state that facts are made of.
func wanted(state rooms.State) (nids []int64) {
	types := []string{"m.room.create", "m.room.join_rules", "m.room.encryption", "m.room.member", policy.TypeAccessRules}
	for t, nid := range state {
		if slices.Contains(types, t.Type) {
			nids = append(nids, nid)
		}
	}
	return nids
}
