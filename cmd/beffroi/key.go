package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/federation/keyring"
)

func keyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "The key that this server signs with"}
	cmd.AddCommand(keyRotateCommand())
	return cmd
}

func keyRotateCommand() *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the signing key by a new one",
		Long: "Writes a new key into the data folder. From the next start on the server signs with it, and\n" +
			"publishes the old one as given up, so that what it has signed stays valid. If the old key was\n" +
			"stolen, say since when with --stolen: other servers then refuse what it signs after that time.",
		Args: cobra.NoArgs,
	}
	flags := config.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&since, "stolen", "", "the time (RFC 3339) from which nothing that the old key signed is to be believed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SilenceUsage = true
		c, err := config.Load(flags, os.Environ())
		if err != nil {
			return err
		}
		now := time.Now()
		expired := now
		if since != "" {
			if expired, err = time.Parse(time.RFC3339, since); err != nil {
				return fmt.Errorf("--stolen: %w", err)
			}
			if expired.After(now) {
				return fmt.Errorf("--stolen: %s is yet to come", since)
			}
		}
		own, err := keyring.Rotate(c.SigningKeyFile(), c.ServerName, now, expired)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "The key is now %s. %s is published as given up at %s.\n", own.Current.ID, own.Old[0].ID,
			expired.UTC().Format(time.RFC3339))
		fmt.Fprintln(out, "Start the server again to sign with it.")
		return nil
	}
	return cmd
}
