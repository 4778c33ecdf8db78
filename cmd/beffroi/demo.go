package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"beffroi/account"
	"beffroi/config"
	"beffroi/internal/mailsink"
	"beffroi/internal/node"
	"beffroi/matrix"
)

//go:embed demo-policy.yaml
var demoPolicy []byte

func demoCommand() *cobra.Command {
	var o demoOptions
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run two ministries and a partner on this machine",
		Long: "Three homeservers in one process, each with its own database and its own TLS listener on the\n" +
			"loopback address, federate for real. Any client can log in. With --check the story of two\n" +
			"ministries and an outsider is played against their public APIs.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelError
			if verbose {
				level = slog.LevelDebug
			}
			slog.SetDefault(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})))
			return runDemo(cmd.Context(), cmd.OutOrStdout(), o)
		},
	}
	cmd.Flags().BoolVar(&o.check, "check", false, "play the story, say what passed, and stop")
	cmd.Flags().StringVar(&o.accounts, "accounts", "", "a file to write the accounts into, as JSON")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "write the logs of the servers")
	return cmd
}

// demoAccounts are the accounts of each server when the demo starts.
var demoAccounts = []struct {
	server matrix.ServerName
	names  []string
}{
	{"interieur.example", []string{"alice", "anna"}},
	{"sante.example", []string{"bob", "benoit"}},
	{"externe.example", []string{"eve"}},
}

// demo is the three servers.
type demo struct {
	options demoOptions
	servers map[matrix.ServerName]*demoServer
	users   map[string]*demoUser // by localpart
	ca      *demoCA
	mail    *mailsink.Sink
}

// demoServer is one server of the demo.
type demoServer struct {
	*node.Node
	clientURL  string
	federation string // host and port
}

// demoOptions say what the demo does.
type demoOptions struct {
	check    bool   // play the story and stop
	accounts string // the file to write the accounts into, or ""
	// database names the database of a server; nil is SQLite in its data folder.
	database func(matrix.ServerName) string
}

func runDemo(ctx context.Context, out io.Writer, o demoOptions) (err error) {
	folder, err := os.MkdirTemp("", "beffroi-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	running, stop := context.WithCancel(ctx)
	defer stop()
	group, running := errgroup.WithContext(running)
	d, err := startDemo(running, group, folder, o)
	if err != nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	if o.accounts != "" {
		err = d.writeAccounts(o.accounts)
	}
	switch {
	case err != nil:
	case o.check:
		err = d.check(running, out)
	default:
		d.introduce(out)
		<-running.Done()
	}
	stop()
	return errors.Join(err, group.Wait())
}

func startDemo(ctx context.Context, group *errgroup.Group, folder string, o demoOptions) (*demo, error) {
	d := &demo{options: o, servers: make(map[matrix.ServerName]*demoServer), users: make(map[string]*demoUser)}
	var err error
	if d.mail, err = mailsink.Start(ctx); err != nil {
		return nil, err
	}
	if d.ca, err = newDemoCA(folder); err != nil {
		return nil, err
	}
	listeners := make(map[matrix.ServerName]node.Listeners)
	var resolver strings.Builder
	for _, a := range demoAccounts {
		if listeners[a.server], err = demoListeners(); err != nil {
			return nil, err
		}
		fmt.Fprintf(&resolver, "%s %s\n", a.server, listeners[a.server].Federation.Addr())
	}
	// A server that no document names: the check looks whether anybody calls it.
	if err := d.ca.startStranger(ctx, &resolver); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(folder, "resolver"), []byte(resolver.String()), 0o600); err != nil {
		return nil, err
	}
	for _, a := range demoAccounts {
		if err := d.start(ctx, group, folder, a.server, listeners[a.server]); err != nil {
			return nil, fmt.Errorf("start %s: %w", a.server, err)
		}
		for _, name := range a.names {
			if err := d.addUser(ctx, a.server, name); err != nil {
				return nil, fmt.Errorf("account %s: %w", name, err)
			}
		}
	}
	return d, nil
}

func demoListeners() (l node.Listeners, err error) {
	if l.Client, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return l, err
	}
	l.Federation, err = net.Listen("tcp", "127.0.0.1:0")
	return l, err
}

// start runs one server by the configuration that an operator would write.
func (d *demo) start(ctx context.Context, group *errgroup.Group, folder string, name matrix.ServerName, l node.Listeners) error {
	c := config.Default()
	c.ServerName, c.Data = name, filepath.Join(folder, string(name))
	c.Policy, c.Federation.Resolver = filepath.Join(folder, string(name)+"-policy.yaml"), filepath.Join(folder, "resolver")
	c.TrustCA, c.PublicURL = d.ca.file, "http://"+l.Client.Addr().String()
	c.Client.Listen, c.Federation.Listen, c.Metrics.Listen = l.Client.Addr().String(), l.Federation.Addr().String(), ""
	c.SMTP = config.SMTP{Host: "127.0.0.1", Port: d.mail.Addr().Port, From: "beffroi@" + string(name), TLS: config.SMTPPlain}
	if d.options.database != nil {
		c.Database = d.options.database(name)
	}
	if err := os.WriteFile(c.Policy, demoPolicy, 0o600); err != nil {
		return err
	}
	var err error
	if c.TLS.Cert, c.TLS.Key, err = d.ca.issue(folder, string(name)); err != nil {
		return err
	}
	if err := c.Check(); err != nil {
		return err
	}
	n, err := node.Open(ctx, c)
	if err != nil {
		return err
	}
	d.servers[name] = &demoServer{Node: n, clientURL: c.PublicURL, federation: l.Federation.Addr().String()}
	group.Go(func() error { return n.Run(ctx, l) })
	return nil
}

// addUser makes an account, as an administrator does.
func (d *demo) addUser(ctx context.Context, server matrix.ServerName, name string) error {
	password := rand.Text()[:16]
	id, err := d.servers[server].Accounts.CreateUser(ctx, account.NewUser{Localpart: name, Password: password})
	if err != nil {
		return err
	}
	d.users[name] = &demoUser{base: d.servers[server].clientURL, id: string(id), password: password}
	return nil
}

// writeAccounts writes how to log in for programs, whole or not at all.
func (d *demo) writeAccounts(file string) error {
	list := make(map[string]map[string]string)
	for name, u := range d.users {
		list[name] = map[string]string{"url": u.base, "user_id": u.id, "password": u.password}
	}
	raw, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// introduce tells how to log in.
func (d *demo) introduce(out io.Writer) {
	fmt.Fprintln(out, "Two ministries and a partner are running. Log in with any Matrix client:")
	for _, a := range demoAccounts {
		fmt.Fprintf(out, "\n%s  %s\n", a.server, d.servers[a.server].clientURL)
		for _, name := range a.names {
			fmt.Fprintf(out, "  %-28s password %s\n", d.users[name].id, d.users[name].password)
		}
	}
	fmt.Fprintln(out, "\nStop with Ctrl-C; everything is then deleted.")
}
