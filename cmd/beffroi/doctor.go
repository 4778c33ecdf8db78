package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/storage"
)

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what must not be in the database",
		Long: "Reads the database, also that of a server that runs, and tells what must not be in it. With\n" +
			"--federation it looks at another server instead: its names, addresses, certificates, keys, clock\n" +
			"and software, and whether the policy lets the two speak. The exit status says whether there was\n" +
			"anything.",
		Args: cobra.NoArgs,
	}
	flags := config.AddFlags(cmd.Flags())
	var server string
	var asJSON bool
	cmd.Flags().StringVar(&server, "federation", "", "the name of the server to look at")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what --federation finds as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if server != "" {
			cmd.SilenceUsage = true
			c, err := config.Load(flags, os.Environ())
			if err != nil {
				return err
			}
			return examineServer(cmd.Context(), cmd.OutOrStdout(), c, server, asJSON)
		}
		return withDatabase(cmd, flags, func(_ *config.Config, db *storage.DB) error {
			findings, err := storage.Verify(cmd.Context(), db)
			if err != nil {
				return err
			}
			for _, f := range findings {
				fmt.Fprintln(cmd.OutOrStdout(), f)
			}
			if len(findings) > 0 {
				return fmt.Errorf("%d findings", len(findings))
			}
			fmt.Fprintln(cmd.OutOrStdout(), "The database is as it must be.")
			return nil
		})
	}
	return cmd
}
