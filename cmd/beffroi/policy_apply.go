package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/policystore"
)

func policyApplyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "apply FILE", Args: cobra.ExactArgs(1), Short: "Propose a document as a draft, for another person to approve",
		Long: "Checks a document, runs its tests, says what it would change, and keeps it as a draft. Another\n" +
			"person puts it in force with \"beffroi policy approve ID\". Where policy_alone is set and no --url\n" +
			"is given, it comes into force at once.",
		Example: "  beffroi policy apply policy.yaml --reason 'the contract of the partner ended' --treatment remove",
	}
	at := addReach(cmd)
	var reason, how, until string
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the journal")
	cmd.Flags().StringVar(&how, "treatment", policystore.TreatFreeze, "of memberships it refuses: leave, freeze (report only) or remove")
	cmd.Flags().StringVar(&until, "until", "", "until when they are left (2027-01-31T00:00:00Z)")
	_ = cmd.MarkFlagRequired("reason") // the flag exists
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		treatment := policystore.Treatment{How: how}
		if until != "" {
			var err error
			if treatment.Until, err = time.Parse(time.RFC3339, until); err != nil {
				return fmt.Errorf("--until: %w", err)
			}
		}
		cmd.SilenceUsage = true
		if at.url != "" {
			body, err := readCandidate(args[0])
			if err != nil {
				return err
			}
			body["reason"], body["treatment"] = reason, treatment
			var d policystore.Draft
			if err := at.call(cmd.Context(), http.MethodPost, "/policy/drafts", body, &d); err != nil {
				return err
			}
			return printDraft(cmd.OutOrStdout(), &d)
		}
		return applyDirectly(cmd, at, args[0], policystore.Proposal{Reason: reason, Treatment: treatment})
	}
	return cmd
}

func applyDirectly(cmd *cobra.Command, at *reach, file string, p policystore.Proposal) (err error) {
	if p.Document, err = readDocument(file); err != nil {
		return err
	}
	if p.By, err = at.editor(); err != nil {
		return err
	}
	return at.directly(cmd, func(ctx context.Context, c *config.Config, s *policystore.Store) error {
		d, err := s.Propose(ctx, p)
		if err == nil && c.PolicyAlone {
			d, err = s.ActivateDraft(ctx, d.ID, p.By, true)
		}
		if err != nil {
			return located(file, err)
		}
		return printDraft(cmd.OutOrStdout(), &d)
	})
}

// printDraft says what a draft would change and what comes next.
func printDraft(w io.Writer, d *policystore.Draft) error {
	var p policystore.Preview
	if err := errors.Join(json.Unmarshal(d.PreviewRaw, &p), printPreview(w, &p)); err != nil {
		return err
	}
	var err error
	switch d.Status {
	case "activated":
		_, err = fmt.Fprintf(w, "\ndraft %s of %s is in force as version %d\n", d.ID, d.Author, d.Version)
	default:
		_, err = fmt.Fprintf(w, "\ndraft %s of %s is %s; another person puts it in force:\n  beffroi policy approve %s\n", d.ID, d.Author, d.Status, d.ID)
	}
	return err
}

func policyApproveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "approve ID", Args: cobra.ExactArgs(1), Short: "Approve a draft of another person, and put it in force",
	}
	at := addReach(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		if at.url != "" {
			var d policystore.Draft
			for _, verb := range []string{"approve", "activate"} {
				if err := at.call(cmd.Context(), http.MethodPost, "/policy/drafts/"+args[0]+"/"+verb, struct{}{}, &d); err != nil {
					return err
				}
			}
			return printDraft(cmd.OutOrStdout(), &d)
		}
		by, err := at.editor()
		if err != nil {
			return err
		}
		return at.directly(cmd, func(ctx context.Context, _ *config.Config, s *policystore.Store) error {
			d, err := s.Approve(ctx, args[0], by)
			if err == nil {
				d, err = s.ActivateDraft(ctx, d.ID, by, false)
			}
			if err != nil {
				return err
			}
			return printDraft(cmd.OutOrStdout(), &d)
		})
	}
	return cmd
}
