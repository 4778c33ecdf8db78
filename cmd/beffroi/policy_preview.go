package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/policystore"
)

func policyPreviewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "preview FILE", Args: cobra.ExactArgs(1), Short: "Say what a document would change for rooms, members and peers",
		Long: "Checks a document, runs its tests, and compares it with the document in force on the data of\nthis server. Nothing is changed.",
	}
	at := addReach(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		if at.url != "" {
			body, err := readCandidate(args[0])
			if err != nil {
				return err
			}
			var p policystore.Preview
			if err := at.call(cmd.Context(), http.MethodPost, "/policy/preview", body, &p); err != nil {
				return err
			}
			return printPreview(cmd.OutOrStdout(), &p)
		}
		doc, err := readDocument(args[0])
		if err != nil {
			return err
		}
		return at.directly(cmd, func(ctx context.Context, c *config.Config, s *policystore.Store) error {
			snapshot, err := s.Candidate(ctx, doc)
			if err != nil {
				return located(args[0], err)
			}
			p, err := s.Preview(ctx, snapshot)
			if err != nil {
				return err
			}
			return printPreview(cmd.OutOrStdout(), p)
		})
	}
	return cmd
}

func printPreview(out io.Writer, p *policystore.Preview) error {
	_, _ = fmt.Fprintf(out, "version %d in place of %d, over %d memberships:\n", p.Candidate, p.Active, p.Memberships)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(what string, t policystore.Tally) {
		_, _ = fmt.Fprintf(w, "%s\t%d members\t%d invitations\t%d knocks\n", what, t.Members, t.Invitations, t.Knocks)
	}
	line("refused from now on", p.Refused)
	line("allowed from now on", p.Admitted)
	line("refused in all", p.Findings)
	_, _ = fmt.Fprintf(w, "rooms concerned\t%d\n", p.Rooms)
	_, _ = fmt.Fprintf(w, "servers\t%d refused\t%d admitted\n", p.PeersRefused, p.PeersAdmitted)
	if p.Guard != "" {
		_, _ = fmt.Fprintf(w, "\nneeds a second person: %s\n", p.Guard)
	}
	if len(p.Organisations) > 0 {
		_, _ = fmt.Fprintln(w, "\nORGANISATION\tREFUSED\tALLOWED\tROOMS")
	}
	for _, o := range p.Organisations {
		id := o.ID
		if id == "" {
			id = "(none)"
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", id, o.Refused.Total(), o.Admitted.Total(), o.Rooms)
	}
	if len(p.Peers) > 0 {
		_, _ = fmt.Fprintln(w, "\nSERVER\tORGANISATION\tFROM NOW ON")
	}
	for _, peer := range p.Peers {
		verdict := "admitted"
		if peer.Refused {
			verdict = "refused: " + string(peer.Reason)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", peer.Server, peer.Organisation, verdict)
	}
	return w.Flush()
}
