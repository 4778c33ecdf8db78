package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"beffroi/policy"
)

// policySchemaCommand is "beffroi policy schema", for editors that check a
// document while it is written.
func policySchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Args: cobra.NoArgs, Short: "Print the JSON Schema of policy documents",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), policy.Schema())
			return err
		},
	}
}
