// Command matrixload puts a load on any Matrix homeserver and tells how it
// bears it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "matrixload:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "matrixload",
		Short: "Put a load on a Matrix homeserver and tell how it bears it",
		Long: "Plays what users do to a homeserver, over its client API alone, and reports throughput, latencies and\n" +
			"every error. The accounts and rooms that it makes stay on the server: load a server that may be thrown\n" +
			"away. It refuses any server but those of this machine unless you say that the server is yours.",
		SilenceErrors: true, SilenceUsage: true,
	}
	root.AddCommand(runCommand(), benchCommand(), listCommand())
	return root
}
