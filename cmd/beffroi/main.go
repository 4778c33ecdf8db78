// Command beffroi is a Matrix homeserver for governments.
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
		fmt.Fprintln(os.Stderr, "beffroi:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "beffroi", Short: "A Matrix homeserver for governments", SilenceErrors: true, SilenceUsage: true,
	}
	root.AddCommand(serveCommand(), demoCommand(), userCommand(), keyCommand(), policyCommand(), auditCommand(), adminCommand(), roomCommand(), mediaCommand(), doctorCommand())
	return root
}
