package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/policystore"
	"beffroi/storage"
)

// auditCommand is "beffroi audit": read the audit trail and prove that it is
// whole.
func auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Read and verify the audit trail"}
	cmd.AddCommand(auditVerifyCommand(), auditListCommand(), auditExportCommand())
	return cmd
}

func auditVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify", Args: cobra.NoArgs, Short: "Prove that nothing of the audit trail was cut or altered",
		Long: "Recomputes the chain of hashes. Note down what it prints and give it to --noted the next time:\n" +
			"whoever can write to the database could make a new chain, but not one with the same beginning.",
	}
	flags := config.AddFlags(cmd.Flags())
	noted := cmd.Flags().String("noted", "", "LINES:HASH that an earlier verification printed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		before, err := parseNoted(*noted)
		if err != nil {
			return err
		}
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(_ *config.Config, db *storage.DB) error {
			trail, err := policystore.VerifyAudit(cmd.Context(), db, before)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the audit trail is whole\n%d:%s\n", trail.Entries, trail.Hash)
			return err
		})
	}
	return cmd
}

func parseNoted(text string) (*policystore.Trail, error) {
	if text == "" {
		return nil, nil
	}
	number, hash, ok := strings.Cut(text, ":")
	lines, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || lines < 0 {
		return nil, errors.New("--noted has the form LINES:HASH")
	}
	return &policystore.Trail{Entries: lines, Hash: hash}, nil
}

func auditListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "Print lines of the audit trail"}
	flags := config.AddFlags(cmd.Flags())
	var f policystore.Filter
	for _, field := range []struct {
		into       *string
		name, text string
	}{
		{&f.Kind, "kind", "only lines of a kind: refusal, activation, document_refused, call"},
		{&f.Action, "action", "only lines about an action, such as join"},
		{&f.Reason, "reason", "only refusals for a reason"},
		{&f.Actor, "actor", "only lines about what this account did"},
		{&f.Server, "server", "only lines about this server"},
		{&f.Room, "room", "only lines about this room"},
	} {
		cmd.Flags().StringVar(field.into, field.name, "", field.text)
	}
	since := cmd.Flags().String("since", "24h", "how far back, as a duration, a time (2027-01-31T12:00:00Z) or all")
	until := cmd.Flags().String("until", "", "the end, as a duration back from now or a time")
	asJSON := cmd.Flags().Bool("json", false, "print one JSON object a line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if f.Since, err = parseMoment(*since); err != nil {
			return fmt.Errorf("--since: %w", err)
		}
		if f.Until, err = parseMoment(*until); err != nil {
			return fmt.Errorf("--until: %w", err)
		}
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(_ *config.Config, db *storage.DB) error {
			if *asJSON {
				return listJSON(cmd, db, f)
			}
			return listTable(cmd, db, f)
		})
	}
	return cmd
}

// parseMoment returns milliseconds, 0 for "all" and nothing.
func parseMoment(text string) (int64, error) {
	if text == "" || text == "all" {
		return 0, nil
	}
	if back, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-back).UnixMilli(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, errors.New("give a duration such as 90m, or a time such as 2027-01-31T12:00:00Z")
	}
	return at.UnixMilli(), nil
}

func listJSON(cmd *cobra.Command, db *storage.DB, f policystore.Filter) error {
	out := json.NewEncoder(cmd.OutOrStdout())
	for e, err := range policystore.Audit(cmd.Context(), db, f) {
		if err != nil {
			return err
		}
		if err := out.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

// flushLines is how many lines of a table are kept to align their columns.
const flushLines = 1000

func listTable(cmd *cobra.Command, db *storage.DB, f policystore.Filter) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "WHEN\tDECISION\tKIND\tACTION\tACTOR\tSUBJECT\tSERVER\tROOM\tREASON\tTIMES")
	n := 0
	for e, err := range policystore.Audit(cmd.Context(), db, f) {
		if err != nil {
			return errors.Join(err, w.Flush())
		}
		if n++; n%flushLines == 0 {
			_ = w.Flush() // an error comes back at the end
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", time.UnixMilli(e.TS).Format(time.DateTime), e.ID,
			e.Kind, dash(e.Action), dash(e.Actor), dash(e.Subject), dash(e.Server), dash(e.Room), dash(e.Reason), e.Count)
	}
	return w.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
