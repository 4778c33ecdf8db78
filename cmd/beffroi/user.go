package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func userCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "Make accounts"}
	cmd.AddCommand(userCreateCommand())
	return cmd
}

func userCreateCommand() *cobra.Command {
	var token, base string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make the first administrator",
		Long: "Registers an account with the one-time token that \"beffroi serve\" prints while there is no\n" +
			"administrator. The password is read from the standard input.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fmt.Fprint(cmd.ErrOrStderr(), "Password: ")
			password, err := readLine(cmd.InOrStdin())
			if err != nil {
				return err
			}
			u := &demoUser{base: strings.TrimSuffix(base, "/")}
			challenge, err := u.call(cmd.Context(), http.MethodPost, registerPath,
				map[string]any{"username": args[0], "password": password})
			if err != nil {
				return err
			}
			a, err := u.must(cmd.Context(), http.MethodPost, registerPath, map[string]any{
				"username": args[0], "password": password, "inhibit_login": true,
				"auth": map[string]string{"type": "m.login.registration_token", "token": token, "session": challenge.text("session")},
			})
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), a.text("user_id"))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&token, "first-admin", "", "the token that serve printed")
	cmd.Flags().StringVar(&base, "url", "http://127.0.0.1:8008", "where the client API is")
	_ = cmd.MarkFlagRequired("first-admin") // the flag exists
	return cmd
}

// maxPassword bounds what is read of the standard input.
const maxPassword = 4096

func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPassword)).ReadString('\n')
	if err == io.EOF && line != "" {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}
