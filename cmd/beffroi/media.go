package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/matrix"
	"beffroi/media"
	"beffroi/storage"
)

// mediaCommand is "beffroi media": what is done with files. A server that runs
// beside it sees what was done at once.
func mediaCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "media", Short: "List, hide and remove files"}
	cmd.AddCommand(mediaListCommand(), mediaUsageCommand(),
		mediaChangeCommand("quarantine", "Hide files from everybody, and what is uploaded with the same bytes", "hidden",
			func(ctx context.Context, db *storage.DB, s media.Selection) (int64, error) {
				return media.Quarantine(ctx, db, s, "beffroi media quarantine")
			}),
		mediaChangeCommand("release", "Show files again that were hidden", "shown", media.Release),
		mediaChangeCommand("protect", "Keep files whatever happens to others", "protected",
			func(ctx context.Context, db *storage.DB, s media.Selection) (int64, error) {
				return media.Protect(ctx, db, s, true)
			}),
		mediaChangeCommand("unprotect", "End the protection of files", "no longer protected",
			func(ctx context.Context, db *storage.DB, s media.Selection) (int64, error) {
				return media.Protect(ctx, db, s, false)
			}),
		mediaChangeCommand("purge", "Remove files for ever, but not protected ones", "removed", media.Purge),
		mediaChangeCommand("rescan", "Have files scanned again before they are served; all, where none are named", "to be scanned", media.Rescan))
	return cmd
}

// selectionFlags are how files are named on the command line.
func selectionFlags(cmd *cobra.Command) func(args []string) (media.Selection, error) {
	user := cmd.Flags().String("user", "", "files that this account has uploaded")
	room := cmd.Flags().String("room", "", "files of this room")
	server := cmd.Flags().String("server", "", "files of this server")
	before := cmd.Flags().String("before", "", "files from before a day such as 2026-01-31, or older than an age such as 8760h")
	return func(args []string) (s media.Selection, err error) {
		s = media.Selection{MXC: matrix.MXC{Server: matrix.ServerName(*server)}, User: matrix.UserID(*user), Room: matrix.RoomID(*room)}
		if len(args) == 1 {
			if s.MXC, err = matrix.ParseMXC(args[0]); err != nil {
				return s, err
			}
		}
		if *before != "" {
			at, err := parseBefore(*before, time.Now())
			if err != nil {
				return s, err
			}
			s.Before = at.UnixMilli()
		}
		return s, nil
	}
}

func mediaChangeCommand(name, short, done string, change func(context.Context, *storage.DB, media.Selection) (int64, error)) *cobra.Command {
	return mediaSelectionCommand(name, short, func(cmd *cobra.Command, db *storage.DB, s media.Selection) error {
		n, err := change(cmd.Context(), db, s)
		if err == nil {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d files are %s\n", n, done)
		}
		return err
	})
}

// mediaSelectionCommand is a command on the files that its flags select.
func mediaSelectionCommand(name, short string, run func(cmd *cobra.Command, db *storage.DB, s media.Selection) error) *cobra.Command {
	cmd := &cobra.Command{Use: name + " [MXC]", Args: cobra.MaximumNArgs(1), Short: short}
	flags := config.AddFlags(cmd.Flags())
	selection := selectionFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		s, err := selection(args)
		if err != nil {
			return err
		}
		return withDatabase(cmd, flags, func(_ *config.Config, db *storage.DB) error { return run(cmd, db, s) })
	}
	return cmd
}

// listedFiles bounds how many files are read at once.
const listedFiles = 500

func mediaListCommand() *cobra.Command {
	return mediaSelectionCommand("list", "List files, and what the scanner found", func(cmd *cobra.Command, db *storage.DB, s media.Selection) error {
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		var after matrix.MXC
		for {
			list, err := media.List(cmd.Context(), db, s, after, listedFiles)
			if err != nil {
				return err
			}
			for _, f := range list {
				after = f.MXC
				if err := printFile(w, f); err != nil {
					return err
				}
			}
			if len(list) < listedFiles {
				return w.Flush()
			}
		}
	})
}

func printFile(w io.Writer, f media.Listed) error {
	state := f.Blob.Verdict
	switch {
	case f.Hash == "":
		state = "reserved"
	case f.Quarantined != "":
		state = "hidden by " + f.Quarantined
	case f.Blob.Threat != "":
		state += ": " + f.Blob.Threat
	case state == "":
		state = "not scanned"
	}
	if f.Protected {
		state += ", protected"
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", f.MXC, time.UnixMilli(f.Created).Format(time.DateTime), f.Size,
		f.ContentType, f.Uploader, f.Room, state)
	return err
}

// largestAccounts is how many accounts usage lists.
const largestAccounts = 20

func mediaUsageCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "usage", Args: cobra.NoArgs, Short: "Tell what files take, and whose they are"}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(c *config.Config, db *storage.DB) error {
			u, err := media.UsageOf(cmd.Context(), db, c.ServerName, largestAccounts)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, line := range []struct {
				what         string
				files, bytes int64
			}{
				{"of this server", u.Local.Files, u.Local.Bytes}, {"copies of other servers'", u.Remote.Files, u.Remote.Bytes},
				{"kept, once for all that are alike", u.Stored.Files, u.Stored.Bytes},
			} {
				fmt.Fprintf(w, "%s\t%d files\t%d bytes\n", line.what, line.files, line.bytes)
			}
			for _, o := range u.Largest {
				fmt.Fprintf(w, "%s\t%d files\t%d bytes\n", o.User, o.Files, o.Bytes)
			}
			return w.Flush()
		})
	}
	return cmd
}
