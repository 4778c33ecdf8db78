package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/policystore"
)

func policyShadowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "shadow [FILE]", Args: cobra.MaximumNArgs(1), Short: "Run a document beside the one in force, and say what it would have denied",
		Long: "With FILE, every running server of this database asks the document beside the one in force from\n" +
			"now on, and nobody notices. Without FILE it says what was found so far.",
	}
	at := addReach(cmd)
	_ = cmd.Flags().MarkHidden("url") // a shadow is started on the machine, or by the API itself
	_ = cmd.Flags().MarkHidden("token-file")
	hours := cmd.Flags().Int("hours", 24, "how long it runs")
	stop := cmd.Flags().Bool("stop", false, "end the one that runs")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		by, err := at.editor()
		if err != nil {
			return err
		}
		cmd.SilenceUsage = true
		return at.directly(cmd, func(ctx context.Context, _ *config.Config, s *policystore.Store) error {
			var report policystore.ShadowReport
			switch {
			case len(args) == 1:
				doc, err := readDocument(args[0])
				if err != nil {
					return err
				}
				if report, err = s.StartShadow(ctx, doc, by, time.Duration(*hours)*time.Hour); err != nil {
					return located(args[0], err)
				}
			case *stop:
				report, err = s.StopShadow(ctx, by)
			default:
				report, err = s.Shadow(ctx)
			}
			if err != nil {
				return err
			}
			return printShadow(cmd.OutOrStdout(), &report)
		})
	}
	return cmd
}

func printShadow(out io.Writer, r *policystore.ShadowReport) error {
	if r.ID == "" {
		_, err := fmt.Fprintln(out, "no document has run beside the one in force")
		return err
	}
	state := "ended"
	if r.Running {
		state = "runs until " + time.UnixMilli(r.UntilTS).Format(time.RFC3339)
	}
	_, _ = fmt.Fprintf(out, "version %d %s; %d decisions were compared\n", r.Version, state, r.Asked)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, f := range r.Findings {
		if i == 0 {
			_, _ = fmt.Fprintln(w, "TIMES\tWOULD\tACTION\tREASON\tORGANISATION\tFIRST EXAMPLE")
		}
		verb := "allow"
		if f.Denies {
			verb = "deny"
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s %s %s %s\n", f.Count, verb, f.Action, f.Reason, f.Organisation, f.Actor, f.Subject, f.Server, f.Room)
	}
	return w.Flush()
}
