// Package bench compares servers: it starts each from nothing, plays the same
// scenarios against it, and writes a table beside what the machine itself can
// do.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"beffroi/cmd/matrixload/internal/homeserver"
)

const (
	// startLimit bounds how long a server may take until it answers.
	startLimit = time.Minute
	// stopLimit bounds how long it may take to end when it is asked to.
	stopLimit = 20 * time.Second
)

// Command is how a server is started.
type Command struct {
	Label string
	// Line is a program and its arguments, separated by spaces. {dir} becomes
	// an empty folder, {client} the address of the client API, {metrics} that
	// of the metrics, and {other} one that nobody uses.
	Line string
}

// ParseCommand reads label=line.
func ParseCommand(text string) (Command, error) {
	label, line, found := strings.Cut(text, "=")
	if !found || label == "" || strings.TrimSpace(line) == "" {
		return Command{}, fmt.Errorf("%q should be a label, = and a command", text)
	}
	if !strings.Contains(line, "{client}") {
		return Command{}, fmt.Errorf("the command of %s does not say {client}, the address that it has to listen on", label)
	}
	return Command{label, line}, nil
}

// process is a server that runs.
type process struct {
	client  *homeserver.Server
	metrics *homeserver.Server // nil if the command has none
	took    time.Duration      // from its start to its first answer
	dir     string
	ended   chan error // gets how it ended
	cmd     *exec.Cmd
}

// start starts a server and waits until it answers. What it writes goes to log.
func (c Command) start(ctx context.Context, log io.Writer) (_ *process, err error) {
	p := &process{ended: make(chan error, 1)}
	if p.dir, err = os.MkdirTemp("", "matrixload-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(p.dir))
		}
	}()
	addresses, err := freeAddresses(ctx, 3)
	if err != nil {
		return nil, err
	}
	args := strings.Fields(strings.NewReplacer("{dir}", p.dir, "{client}", addresses[0], "{metrics}", addresses[1],
		"{other}", addresses[2]).Replace(c.Line))
	if p.client, err = homeserver.Open("http://"+addresses[0], homeserver.Options{}); err != nil {
		return nil, err
	}
	if strings.Contains(c.Line, "{metrics}") {
		if p.metrics, err = homeserver.Open("http://"+addresses[1]+"/metrics", homeserver.Options{}); err != nil {
			return nil, err
		}
	}
	p.cmd = exec.Command(args[0], args[1:]...) // not of ctx: it is asked to end first
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts ends with it
	begun := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Label, err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	if err := p.await(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.Label, err), p.stop())
	}
	p.took = time.Since(begun)
	return p, nil
}

// await asks until the server answers.
func (p *process) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.client.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case how := <-p.ended:
			p.ended <- how // for stop
			return fmt.Errorf("it ended: %v", how)
		case <-tick.C:
		}
	}
}

// stop asks the server to end, makes it if it does not, and removes its folder.
func (p *process) stop() error {
	p.client.Close()
	signal := func(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) } // it may have ended
	signal(syscall.SIGINT)
	var err error
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
		signal(syscall.SIGKILL)
		<-p.ended
		err = fmt.Errorf("it did not end in %v", stopLimit)
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// resident returns the memory of the server in bytes, 0 if nobody knows.
func (p *process) resident(ctx context.Context) float64 {
	if p.metrics == nil {
		return 0
	}
	m, err := p.metrics.Metrics(ctx)
	if err != nil {
		return 0
	}
	return m["process_resident_memory_bytes"]
}

// freeAddresses returns loopback addresses that nobody listens on just now.
func freeAddresses(ctx context.Context, n int) (out []string, err error) {
	var lc net.ListenConfig
	for range n {
		l, e := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if e != nil {
			return nil, e
		}
		defer func() { err = errors.Join(err, l.Close()) }() // all are held until the last is found
		out = append(out, l.Addr().String())
	}
	return out, nil
}
