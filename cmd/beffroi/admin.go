package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/policystore"
	"beffroi/storage"
)

// adminCommand is "beffroi admin": who may use the admin API.
func adminCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "admin", Short: "Say who may use the admin API"}
	token := &cobra.Command{Use: "token", Short: "Make, list and revoke tokens"}
	token.AddCommand(tokenCreateCommand(), tokenListCommand(), tokenRevokeCommand())
	cmd.AddCommand(token)
	return cmd
}

func tokenCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Args: cobra.NoArgs, Short: "Make a token, and print it this one time",
		Example: "  beffroi admin token create --role policy-editor --name claire --days 90",
	}
	flags := config.AddFlags(cmd.Flags())
	role := cmd.Flags().String("role", "", fmt.Sprintf("what it may do: one of %q", policystore.Roles()))
	name := cmd.Flags().String("name", "", "who will hold it: two tokens of one name are one person")
	days := cmd.Flags().Int("days", 365, "how long it lasts; 0 is for ever")
	_, _ = cmd.MarkFlagRequired("role"), cmd.MarkFlagRequired("name") // the flags exist
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(_ *config.Config, db *storage.DB) error {
			secret, _, err := policystore.CreateToken(cmd.Context(), db, *name, policystore.Role(*role), time.Duration(*days)*24*time.Hour, time.Now())
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
			}
			return err
		})
	}
	return cmd
}

func tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List the tokens, without their secrets"}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(_ *config.Config, db *storage.DB) error {
			list, err := policystore.Tokens(cmd.Context(), db)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "ID\tNAME\tROLE\tMADE\tENDS\tREVOKED")
			for _, t := range list {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, t.Role, day(t.Created), day(t.Expires), day(t.Revoked))
			}
			return w.Flush()
		})
	}
	return cmd
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}

func tokenRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "revoke ID", Args: cobra.ExactArgs(1), Short: "End a token at once"}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(_ *config.Config, db *storage.DB) error {
			return policystore.RevokeToken(cmd.Context(), db, args[0], time.Now())
		})
	}
	return cmd
}
