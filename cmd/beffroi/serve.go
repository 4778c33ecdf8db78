package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/internal/node"
	"beffroi/internal/obs"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the homeserver",
		Long: "Runs the homeserver until it is interrupted. On a fresh machine it needs no setting: everything is\n" +
			"kept in the data folder, which the first start fills.",
		Args: cobra.NoArgs,
	}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := config.Load(flags, os.Environ())
		if err != nil {
			return err
		}
		log, err := obs.NewLogger(cmd.ErrOrStderr(), c.Log.Format, c.Log.Level)
		if err != nil {
			return err
		}
		slog.SetDefault(log)
		return serve(cmd.Context(), cmd.OutOrStdout(), c)
	}
	return cmd
}

func serve(ctx context.Context, out io.Writer, c config.Config) error {
	listeners, err := node.Listen(ctx, c) // first: a port that is taken must not cost a migration
	if err != nil {
		return err
	}
	n, err := node.Open(ctx, c)
	if err != nil {
		listeners.Close()
		return err
	}
	if c.Development {
		slog.Warn("this is a server for tests and trials: anybody may do anything")
	}
	token, err := n.Accounts.CreateFirstAdminToken(ctx)
	if err != nil {
		listeners.Close()
		_ = n.Close() // the first error is the one to tell
		return err
	}
	introduce(out, c, listeners, token)
	return n.Run(ctx, listeners)
}

// introduce tells where the server is, and how its first administrator gets an
// account.
func introduce(out io.Writer, c config.Config, l node.Listeners, token string) {
	fmt.Fprintf(out, "%s\n  clients      http://%s\n  federation   https://%s\n", c.ServerName, l.Client.Addr(), l.Federation.Addr())
	if l.Metrics != nil {
		fmt.Fprintf(out, "  metrics      http://%s/metrics\n", l.Metrics.Addr())
	}
	fmt.Fprintf(out, "  data         %s\n  policy       %s\n", c.Data, c.PolicyFile())
	if token != "" {
		fmt.Fprintf(out, "\nThere is no administrator yet. This makes one, once:\n\n"+
			"  beffroi user create NAME --first-admin %s --url http://%s\n\n", token, l.Client.Addr())
	}
}
