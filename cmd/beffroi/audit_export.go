package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"beffroi/config"
	"beffroi/matrix"
	"beffroi/policystore"
	"beffroi/storage"
)

// exportTimeout bounds how long a collector may take for anything.
const exportTimeout = 30 * time.Second

// exporting is an export of the audit trail.
type exporting struct {
	cursor, collector, ca string
}

func auditExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Args: cobra.NoArgs, Short: "Give the audit trail to a collector, as JSON lines or by syslog",
		Long: "Prints the lines of the audit trail as JSON, one a line, or sends them by syslog (RFC 5424) over TLS\n" +
			"(RFC 5425). With --cursor it goes on after the last line that the run before has given: it may be run\n" +
			"every minute. A line is given twice rather than never; seq tells them apart, and prev and hash prove\n" +
			"that none is missing.",
		Example: "  beffroi audit export --cursor /var/lib/beffroi/audit.cursor --syslog collector.example:6514",
	}
	flags := config.AddFlags(cmd.Flags())
	var x exporting
	cmd.Flags().StringVar(&x.cursor, "cursor", "", "the file that keeps how far the last run came")
	cmd.Flags().StringVar(&x.collector, "syslog", "", "HOST:PORT of a collector that takes syslog over TLS")
	cmd.Flags().StringVar(&x.ca, "ca", "", "a PEM file of the authorities of the collector, besides those of the system")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SilenceUsage = true
		return withDatabase(cmd, flags, func(c *config.Config, db *storage.DB) error {
			n, last, err := x.run(cmd.Context(), c.ServerName, db, cmd.OutOrStdout())
			if err == nil && x.collector != "" {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d lines sent, the last is %d\n", n, last)
			}
			return err
		})
	}
	return cmd
}

// run gives the lines after the cursor and moves it once all are given.
func (x *exporting) run(ctx context.Context, from matrix.ServerName, db *storage.DB, out io.Writer) (n, last int64, err error) {
	if last, err = x.readCursor(); err != nil {
		return 0, 0, err
	}
	var conn *tls.Conn
	if x.collector != "" {
		if conn, err = x.dial(ctx); err != nil {
			return 0, last, err
		}
		defer func() { _ = conn.Close() }()
		out = deadlines{conn}
	}
	w := bufio.NewWriterSize(out, 64<<10)
	for e, err := range policystore.Lines(ctx, db, last) {
		if err != nil {
			return n, last, err
		}
		if err := x.write(w, from, &e); err != nil {
			return n, last, fmt.Errorf("give line %d: %w", e.Seq, err)
		}
		n, last = n+1, e.Seq
	}
	if err := w.Flush(); err != nil {
		return n, last, fmt.Errorf("give the lines up to %d: %w", last, err)
	}
	if conn != nil {
		if err := taken(conn); err != nil {
			return n, last, fmt.Errorf("%s: %w", x.collector, err)
		}
	}
	return n, last, x.writeCursor(last)
}

func (x *exporting) write(w io.Writer, from matrix.ServerName, e *policystore.Entry) error {
	if x.collector == "" {
		return json.NewEncoder(w).Encode(e)
	}
	frame, err := policystore.AppendSyslog(nil, from, e)
	if err == nil {
		_, err = w.Write(frame)
	}
	return err
}

// deadlines is a connection whose every write has a time to end in.
type deadlines struct{ *tls.Conn }

// Write implements [io.Writer].
func (d deadlines) Write(p []byte) (int, error) {
	if err := d.SetWriteDeadline(time.Now().Add(exportTimeout)); err != nil {
		return 0, err
	}
	return d.Conn.Write(p)
}

func (x *exporting) dial(ctx context.Context) (*tls.Conn, error) {
	host, _, err := net.SplitHostPort(x.collector)
	if err != nil {
		return nil, fmt.Errorf("--syslog: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if x.ca != "" {
		pem, err := os.ReadFile(x.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s holds no certificate", x.ca)
		}
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: exportTimeout},
		Config: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}}
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", x.collector)
	if err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	return conn.(*tls.Conn), nil // a tls.Dialer makes nothing else
}

// taken says the end and waits until the collector does the same: syslog has no
// receipts, and what is still on its way when a connection breaks is lost.
func taken(conn *tls.Conn) error {
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(exportTimeout)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(conn, maxAnswer)); err != nil {
		return fmt.Errorf("the collector did not end the connection well: %w", err)
	}
	return nil
}

// readCursor returns the last line that was given, 0 for none.
func (x *exporting) readCursor() (int64, error) {
	if x.cursor == "" {
		return 0, nil
	}
	raw, err := os.ReadFile(x.cursor)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("--cursor: %w", err)
	}
	last, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil || last < 0 {
		return 0, fmt.Errorf("--cursor: %s does not hold the number of a line", x.cursor)
	}
	return last, nil
}

// writeCursor keeps how far the export came, whole or not at all.
func (x *exporting) writeCursor(last int64) error {
	if x.cursor == "" {
		return nil
	}
	if err := os.WriteFile(x.cursor+".new", []byte(strconv.FormatInt(last, 10)+"\n"), 0o600); err != nil {
		return fmt.Errorf("--cursor: %w", err)
	}
	return os.Rename(x.cursor+".new", x.cursor)
}
