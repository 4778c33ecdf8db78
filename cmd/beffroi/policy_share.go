package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/federation/keyring"
	"beffroi/matrix/signing"
	"beffroi/policystore"
	"beffroi/storage"
)

func policyExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export FILE", Args: cobra.ExactArgs(1), Short: "Write the document in force as a signed bundle",
		Long: "Signs the document in force with the key of this server, or the one of --key, for its issuer.\n" +
			"The settings that other servers need to believe the bundle are printed.",
	}
	flags := config.AddFlags(cmd.Flags())
	keyFile := cmd.Flags().String("key", "", "a key file to sign with; empty is the signing key of this server")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(c *config.Config, db *storage.DB) error {
			active, _, err := inForce(cmd.Context(), c, db)
			if err != nil {
				return err
			}
			if *keyFile == "" {
				*keyFile = c.SigningKeyFile()
			}
			if _, err := os.Stat(*keyFile); err != nil {
				return err
			}
			own, err := keyring.LoadOrCreate(*keyFile, c.ServerName)
			if err != nil {
				return err
			}
			raw, err := policystore.SignBundle(active.Document, own.Current)
			if err != nil {
				return err
			}
			if err := os.WriteFile(args[0], raw, 0o644); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "version %d of %s is written to %s\nwho is to believe it sets:\n\npolicy_feed:\n  issuer: %s\n  keys: [\"%s %s\"]\n",
				active.Version, active.Document.Issuer, args[0], active.Document.Issuer, own.Current.ID, signing.EncodeBase64(own.Current.Public()))
			return err
		})
	}
	return cmd
}

func policyImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE", Args: cobra.ExactArgs(1), Short: "Put a signed bundle in force as the floor",
		Long: "For networks without a feed. The bundle must be signed with a key of policy_feed.keys, and\n" +
			"newer than the floor in force. A server that runs follows within a second.",
	}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		raw, err := io.ReadAll(io.LimitReader(f, policystore.MaxBundleBytes+1))
		if err != nil {
			return err
		}
		return withPolicy(cmd, flags, func(_ *config.Config, s *policystore.Store, by policystore.Editor) error {
			by.Way = policystore.WayImport
			if err := s.Import(cmd.Context(), raw, by); err != nil {
				return located(args[0], err)
			}
			floor := s.Active().Floor
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "the floor is version %d of %s, sha256 %s\n", floor.Version, floor.Issuer, floor.SHA256)
			return err
		})
	}
	return cmd
}

func policyPeersCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "peers", Args: cobra.NoArgs, Short: "List which documents the peers enforce, and who is behind"}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(c *config.Config, db *storage.DB) error {
			active, _, err := inForce(cmd.Context(), c, db)
			if err != nil {
				return err
			}
			peers, err := policystore.Peers(cmd.Context(), db)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintf(w, "this server enforces document %d on floor %d\nSERVER\tFLOOR\tDOCUMENT\tFRESHNESS\tANSWERED\tSTATE\n", active.Version, active.Floor.Version)
			for _, p := range peers {
				answered := "never"
				if p.AnsweredTS > 0 {
					answered = time.UnixMilli(p.AnsweredTS).UTC().Format(time.RFC3339)
				}
				_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\n", p.Server, p.FloorVersion, p.Version, p.Freshness, answered, peerState(&p, active.Floor.Version))
			}
			return w.Flush()
		})
	}
	return cmd
}

// peerState says in a word or two how a peer stands to the floor of this server.
func peerState(p *policystore.Peer, floor int64) string {
	switch {
	case p.Failure != "":
		return "unreachable: " + p.Failure
	case p.FloorVersion < floor:
		return "behind"
	case p.FloorVersion > floor:
		return "ahead"
	}
	return "same floor"
}
