package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"beffroi/config"
	"beffroi/federation/client"
	"beffroi/internal/node"
	"beffroi/matrix"
)

// examineServer looks at another server and says what keeps it and this one
// apart.
func examineServer(ctx context.Context, out io.Writer, c config.Config, name string, asJSON bool) error {
	server, err := matrix.ParseServerName(name)
	if err != nil {
		return err
	}
	if !c.IsPostgres() {
		if _, err := os.Stat(c.DatabaseSource()); err != nil {
			return fmt.Errorf("there is no database yet: %w", err)
		}
	}
	n, err := node.Open(ctx, c)
	if err != nil {
		return err
	}
	x := n.Examine(ctx, server)
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		err = enc.Encode(x)
	} else {
		writeExamination(out, x)
	}
	if err = errors.Join(err, n.Close()); err == nil && len(x.Faults) > 0 {
		err = fmt.Errorf("%d faults", len(x.Faults))
	}
	return err
}

func writeExamination(out io.Writer, x *client.Examination) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("server", "%s", x.Server)
	if x.WellKnown != "" {
		line("delegated to", "%s", x.WellKnown)
	}
	for _, a := range x.Addresses {
		if a.Error != "" {
			line("address", "%s: %s", a.Target, a.Error)
			continue
		}
		line("address", "%s (%s), %s", a.Target, a.Remote, a.TLS)
		line("certificate", "%s, by %s, until %s", a.Certificate, a.Issuer, a.NotAfter.UTC().Format(time.DateOnly))
	}
	if x.Software != "" {
		line("software", "%s", x.Software)
		line("clock", "%s before ours", (time.Duration(x.SkewMS) * time.Millisecond).Round(time.Second))
	}
	for _, id := range slices.Sorted(maps.Keys(x.Keys)) {
		line("key", "%s %s", id, x.Keys[id].Key)
	}
	if x.KeysValidUntil > 0 {
		line("keys until", "%s", time.UnixMilli(x.KeysValidUntil).UTC().Format(time.RFC3339))
	}
	if x.KnowsUs {
		line("knows us", "it took a request with our signature")
	}
	for _, note := range x.Notes {
		line("note", "%s", note)
	}
	for _, fault := range x.Faults {
		line("FAULT", "%s", fault)
	}
	if len(x.Faults) == 0 {
		fmt.Fprintln(out, "Nothing keeps the servers apart.")
	}
}
