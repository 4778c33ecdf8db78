package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
)

// policyCommand is "beffroi policy": look at documents and decisions, and
// change the document in force.
func policyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Check, show, explain and change the policy"}
	cmd.AddCommand(policySchemaCommand(), policyCheckCommand(), policyShowCommand(), policyExplainCommand(),
		policyPreviewCommand(), policyApplyCommand(), policyApproveCommand(), policyShadowCommand(),
		policyDiffCommand(), policyTestCommand(), policyRollbackCommand(), policyExportCommand(), policyImportCommand(), policyPeersCommand())
	return cmd
}

// openExisting opens the database of the configuration, which a command does
// not create.
func openExisting(ctx context.Context, c *config.Config) (*storage.DB, error) {
	source := c.DatabaseSource()
	if !c.IsPostgres() {
		if _, err := os.Stat(source); err != nil {
			return nil, fmt.Errorf("there is no database yet: %w", err)
		}
	}
	return storage.Open(ctx, source)
}

// withDatabase loads the configuration, opens the database and calls run.
func withDatabase(cmd *cobra.Command, flags *config.Flags, run func(*config.Config, *storage.DB) error) error {
	c, err := config.Load(flags, os.Environ())
	if err != nil {
		return err
	}
	db, err := openExisting(cmd.Context(), &c)
	if err != nil {
		return err
	}
	return errors.Join(run(&c, db), db.Close())
}

func policyCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check FILE", Args: cobra.ExactArgs(1), Short: "Say what is wrong with a policy document, and run its tests",
		Long: "Checks a document as the server does before it activates it. If there is a database,\n" +
			"the version must be greater than that of the active document.",
	}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		c, err := config.Load(flags, os.Environ())
		if err != nil {
			return err
		}
		doc, err := readDocument(args[0])
		if err != nil {
			return err
		}
		active := activeVersion(cmd, &c, doc)
		snapshot, err := policystore.Validate(doc, c.ServerName, active, time.Now())
		if err != nil {
			return located(args[0], err)
		}
		describe(cmd.OutOrStdout(), snapshot)
		return nil
	}
	return cmd
}

func readDocument(name string) (*policy.Document, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, policy.MaxDocumentBytes+1))
	if err != nil {
		return nil, err
	}
	doc, err := policy.ParseDocument(raw)
	return doc, located(name, err)
}

// located writes mistakes as editors read them: FILE:LINE: text.
func located(name string, err error) error {
	mistakes, ok := errors.AsType[policy.Mistakes](err)
	if !ok {
		return err
	}
	lines := []string{fmt.Sprintf("%d mistakes", len(mistakes))}
	if len(mistakes) == 1 {
		lines[0] = "1 mistake"
	}
	for _, m := range mistakes {
		at := name
		if m.Line > 0 {
			at = fmt.Sprintf("%s:%d", name, m.Line)
			m.Line = 0
		}
		lines = append(lines, at+": "+m.String())
	}
	return errors.New(strings.Join(lines, "\n"))
}

// activeVersion returns the version that doc must exceed, or 0 where there is
// none, where it cannot be known, and where doc is the active document.
func activeVersion(cmd *cobra.Command, c *config.Config, doc *policy.Document) int64 {
	db, err := openExisting(cmd.Context(), c)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	var active policystore.Active
	if err == nil {
		active, _, err = policystore.Read(cmd.Context(), db, c.ServerName)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		cmd.PrintErrln("The active document cannot be read, so the version is not compared:", err)
		return 0
	}
	if same, err := policystore.SHA256(doc); err == nil && same == active.SHA256 {
		return 0
	}
	return active.Version
}

func describe(w io.Writer, s *policy.Snapshot) {
	doc := s.Document()
	classes := map[string]int{}
	servers, domains := 0, 0
	for _, o := range doc.Organisations {
		classes[o.Class]++
		servers += len(o.Homeservers)
		domains += len(o.EmailDomains)
	}
	_, _ = fmt.Fprintf(w, "version %d is valid for %s\n", doc.Version, s.Self())
	_, _ = fmt.Fprintf(w, "%d organisations (%d government, %d external, %d blocked), %d servers, %d e-mail domains\n",
		len(doc.Organisations), classes["government"], classes["external"], classes["blocked"], servers, domains)
	_, _ = fmt.Fprintf(w, "%d rules, %d tests passed\n", len(doc.Rules), len(doc.Tests))
}

func policyShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show", Args: cobra.NoArgs, Short: "Print the document in force, or the journal of documents"}
	flags := config.AddFlags(cmd.Flags())
	asJSON := cmd.Flags().Bool("json", false, "print JSON instead of YAML")
	journal := cmd.Flags().Bool("journal", false, "list the documents that were activated")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(c *config.Config, db *storage.DB) error {
			if *journal {
				return printJournal(cmd, db)
			}
			active, _, err := inForce(cmd.Context(), c, db)
			if err != nil {
				return err
			}
			return printDocument(cmd.OutOrStdout(), &active, *asJSON)
		})
	}
	return cmd
}

// inForce returns the document that a server with this configuration enforces.
func inForce(ctx context.Context, c *config.Config, db *storage.DB) (policystore.Active, *policy.Snapshot, error) {
	if c.Development && c.Policy == "" {
		return policystore.Permissive(c.ServerName, time.Now())
	}
	active, snapshot, err := policystore.Read(ctx, db, c.ServerName)
	if err == nil && active.Version == 0 {
		err = errors.New("no policy document was activated yet: start the server once")
	}
	return active, snapshot, err
}

func printDocument(w io.Writer, a *policystore.Active, asJSON bool) error {
	text, err := a.Document.JSON()
	if !asJSON {
		if text, err = a.Document.YAML(); err == nil {
			_, _ = fmt.Fprintf(w, "# version %d, since %s, by %s (%s)\n# sha256 %s\n", a.Version,
				a.Since.Format(time.RFC3339), a.Actor, a.Way, a.SHA256)
		}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, strings.TrimSuffix(string(text), "\n"))
	return err
}

// maxJournal is how many documents policy show --journal lists.
const maxJournal = 1000

func printJournal(cmd *cobra.Command, db *storage.DB) error {
	list, err := policystore.Journal(cmd.Context(), db, maxJournal)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "VERSION\tACTIVATED\tBY\tHOW\tISSUER\tSHA256")
	for _, a := range list {
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", a.Version, time.UnixMilli(a.ActivatedTS).Format(time.RFC3339),
			a.Actor, a.Way, a.Issuer, a.SHA256)
	}
	return w.Flush()
}
