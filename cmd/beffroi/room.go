package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// roomCommand is "beffroi room": what is done with rooms as a whole. A server
// that runs does it within a second, one that does not when it is started.
func roomCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "room", Short: "Remove old messages, or whole rooms"}
	cmd.AddCommand(roomPurgeCommand(), roomDeleteCommand(), roomJobsCommand())
	return cmd
}

func roomPurgeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "purge ROOM", Args: cobra.ExactArgs(1), Short: "Remove the messages of a room that are older than a time",
		Long: "Queues the removal of messages on this server. The state of the room is kept, and its last event.\n" +
			"The age of a message is what its sender says.",
	}
	flags := config.AddFlags(cmd.Flags())
	before := cmd.Flags().String("before", "", "a day such as 2026-01-31, or an age such as 8760h")
	_ = cmd.MarkFlagRequired("before") // the flag exists
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		at, err := parseBefore(*before, time.Now())
		if err != nil {
			return err
		}
		return queueJob(cmd, flags, rooms.Job{Kind: rooms.JobPurge, Room: matrix.RoomID(args[0]), BeforeTS: at.UnixMilli()})
	}
	return cmd
}

// parseBefore reads a day, or an age.
func parseBefore(text string, now time.Time) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return day, nil
	}
	age, err := time.ParseDuration(text)
	if err != nil || age < 0 {
		return now, errors.New("--before is a day such as 2026-01-31, or an age such as 8760h")
	}
	return now.Add(-age), nil
}

func roomDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete ROOM", Args: cobra.ExactArgs(1), Short: "Remove a room from this server",
		Long: "Queues the removal of a room. It is hidden at once from everybody, as if all had left, and then\n" +
			"removed. Other servers are not told: their copies stay.",
	}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		return queueJob(cmd, flags, rooms.Job{Kind: rooms.JobDelete, Room: matrix.RoomID(args[0])})
	}
	return cmd
}

// queueJob leaves a job for the server to find.
func queueJob(cmd *cobra.Command, flags *config.Flags, j rooms.Job) error {
	return withDatabase(cmd, flags, func(_ *config.Config, db *storage.DB) error {
		j.CreatedAt = time.Now().UnixMilli()
		var id int64
		_, err := db.Append(cmd.Context(), func(ctx context.Context, tx *storage.Tx) error {
			r, err := tx.Snapshot(ctx)
			if err != nil {
				return err
			}
			row, err := rooms.ByID(ctx, r, j.Room)
			if err != nil {
				return err
			}
			j.UpTo = row.HeadPos
			id, err = rooms.AddJob(ctx, tx, j)
			return err
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "job %d is queued\n", id)
		return err
	})
}

// listedJobs bounds how many jobs are read at once.
const listedJobs = 500

func roomJobsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "jobs", Args: cobra.NoArgs, Short: "Tell how far jobs came, those of the last month"}
	flags := config.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(_ *config.Config, db *storage.DB) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for after := int64(0); ; {
				var list []rooms.Job
				if err := db.View(cmd.Context(), func(r *storage.Reader) (err error) {
					list, err = rooms.JobsSince(cmd.Context(), r, after, listedJobs)
					return err
				}); err != nil {
					return err
				}
				for _, j := range list {
					fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d rows\t%s\n", j.ID, time.UnixMilli(j.CreatedAt).Format(time.DateTime),
						j.Kind, j.Room, j.Removed, jobStatus(j))
					after = j.ID
				}
				if len(list) < listedJobs {
					return w.Flush()
				}
			}
		})
	}
	return cmd
}

func jobStatus(j rooms.Job) string {
	switch {
	case j.Error != "":
		return j.Error
	case j.FinishedAt == 0:
		return "waits"
	}
	return "done " + time.UnixMilli(j.FinishedAt).Format(time.DateTime)
}
