package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/storage"
)

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what must not be in the database",
		Long: "Reads the database, also that of a server that runs, and tells what must not be in it. The exit\n" +
			"status says whether there was anything.",
		Args: cobra.NoArgs,
	}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
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
