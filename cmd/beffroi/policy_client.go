package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/policystore"
	"beffroi/storage"
)

// wayCommand is how a document comes in by a command on the machine of the server.
const wayCommand = "command"

// reach is how a command reaches the policy: by the admin API, or directly in
// the database of the configuration, beside a server that may be running.
type reach struct {
	url, tokenFile, as string
	flags              *config.Flags
}

func addReach(cmd *cobra.Command) *reach {
	r := &reach{flags: config.AddFlags(cmd.Flags())}
	cmd.Flags().StringVar(&r.url, "url", "", "where the admin API is, as https://matrix.example; empty is the database of the configuration")
	cmd.Flags().StringVar(&r.tokenFile, "token-file", "", "a file with a token for --url, of beffroi admin token create")
	cmd.Flags().StringVar(&r.as, "as", "", "who you are in journal and audit trail; empty is the name of the system account")
	return r
}

// editor says who acts by a command.
func (r *reach) editor() (policystore.Editor, error) {
	name := r.as
	if name == "" {
		u, err := user.Current()
		if err != nil {
			return policystore.Editor{}, fmt.Errorf("say who you are by --as: %w", err)
		}
		name = u.Username
	}
	return policystore.Editor{Actor: name, Way: wayCommand}, nil
}

// directly calls run with the policy of the database.
func (r *reach) directly(cmd *cobra.Command, run func(context.Context, *config.Config, *policystore.Store) error) error {
	return withDatabase(cmd, r.flags, func(c *config.Config, db *storage.DB) error {
		ctx := cmd.Context()
		if c.Development && c.Policy == "" {
			return errors.New("a server in development without a policy file has no documents")
		}
		if _, _, err := inForce(ctx, c, db); err != nil {
			return err
		}
		store, err := policystore.Open(ctx, policystore.Options{DB: db, Self: c.ServerName, Impact: c.PolicyImpact, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		return errors.Join(run(ctx, c, store), store.Close())
	})
}

// adminTimeout bounds a call of the admin API: a preview of a large server is
// the longest.
const adminTimeout = 2 * time.Minute

// call asks the admin API and decodes the answer.
func (r *reach) call(ctx context.Context, method, path string, body, out any) error {
	secret, err := os.ReadFile(r.tokenFile)
	if err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.url, "/")+"/_beffroi/admin/v1"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(secret)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var told struct {
			Code string `json:"errcode"`
			Text string `json:"error"`
		}
		if json.Unmarshal(answer, &told) != nil || told.Text == "" {
			return fmt.Errorf("%s %s answered %d", method, path, resp.StatusCode)
		}
		return fmt.Errorf("%s (%s)", told.Text, told.Code)
	}
	return json.Unmarshal(answer, out)
}

// readCandidate reads a document file for the admin API, in its own form.
func readCandidate(name string) (map[string]any, error) {
	if _, err := readDocument(name); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(name)
	return map[string]any{"yaml": string(raw)}, err
}
