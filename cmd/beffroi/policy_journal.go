package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/internal/node"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
)

// withPolicy opens the policy of a database for a command that changes it. A
// server that runs follows within a second.
func withPolicy(cmd *cobra.Command, flags *config.Flags, run func(*config.Config, *policystore.Store, policystore.Editor) error) error {
	return withDatabase(cmd, flags, func(c *config.Config, db *storage.DB) error {
		if active, _, err := policystore.Read(cmd.Context(), db, c.ServerName); err != nil || active.Version == 0 {
			return errors.Join(err, errors.New("no policy document was activated yet: start the server once"))
		}
		trust, err := node.PolicyTrust(c)
		if err != nil {
			return err
		}
		s, err := policystore.Open(cmd.Context(), policystore.Options{DB: db, Self: c.ServerName, Trust: trust,
			Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		return errors.Join(run(c, s, policystore.Editor{Actor: "command:" + loginName()}), s.Close())
	})
}

// loginName is who runs the command, for the audit trail.
func loginName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

func policyDiffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff A B", Args: cobra.ExactArgs(2), Short: "Say what differs between two documents: files, or versions of the journal",
		Example: "  beffroi policy diff 13 14\n  beffroi policy diff 14 policy.yaml",
	}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		var docs [2]*policy.Document
		for i, arg := range args {
			version, err := strconv.ParseInt(arg, 10, 64)
			if err != nil {
				docs[i], err = readDocument(arg)
			} else {
				err = withDatabase(cmd, flags, func(_ *config.Config, db *storage.DB) (err error) {
					docs[i], err = policystore.DocumentAt(cmd.Context(), db, version)
					return err
				})
			}
			if err != nil {
				return err
			}
		}
		lines, err := policy.Diff(docs[0], docs[1])
		for _, line := range lines {
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), line)
		}
		return err
	}
	return cmd
}

func policyTestCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "test FILE", Args: cobra.ExactArgs(1), Short: "Run the tests of a document, whatever its version"}
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
		snapshot, err := policy.Compile(doc, c.ServerName)
		if err != nil {
			return located(args[0], err)
		}
		failures := policy.RunTests(snapshot, time.Now())
		for _, failure := range failures {
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), failure)
		}
		if len(failures) > 0 {
			return fmt.Errorf("%d of %d tests failed", len(failures), len(doc.Tests))
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d tests passed\n", len(doc.Tests))
		return err
	}
	return cmd
}

func policyRollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback VERSION", Args: cobra.ExactArgs(1), Short: "Put a document of the journal in force again",
		Long: "The document comes into force under the next version, because versions only grow.\n" +
			"A server that runs follows within a second. beffroi policy show --journal lists the versions.",
	}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		version, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a version", args[0])
		}
		cmd.SilenceUsage = true
		return withPolicy(cmd, flags, func(_ *config.Config, s *policystore.Store, by policystore.Editor) error {
			now, err := s.Rollback(cmd.Context(), version, by)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "document %d is in force again, as version %d\n"+
				"the policy file still holds what was before: beffroi policy show writes what is in force\n", version, now)
			return err
		})
	}
	return cmd
}
