package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"beffroi/config"
	"beffroi/internal/httpx"
	"beffroi/internal/obs"
)

// Listeners are where a node is reached. Metrics may be nil.
type Listeners struct {
	Client, Federation, Metrics net.Listener
}

// Listen opens the listeners of a configuration.
func Listen(ctx context.Context, c config.Config) (l Listeners, err error) {
	var lc net.ListenConfig
	open := func(key, addr string) net.Listener {
		if err != nil || addr == "" {
			return nil
		}
		listener, e := lc.Listen(ctx, "tcp", addr)
		if e != nil {
			err = fmt.Errorf("%s: %w", key, e)
			return nil
		}
		return listener
	}
	l.Client = open("client.listen", c.Client.Listen)
	l.Federation = open("federation.listen", c.Federation.Listen)
	l.Metrics = open("metrics.listen", c.Metrics.Listen)
	if err != nil {
		l.Close()
	}
	return l, err
}

// Close closes the listeners. A node that ran has done it.
func (l *Listeners) Close() {
	for _, listener := range []net.Listener{l.Client, l.Federation, l.Metrics} {
		if listener != nil {
			_ = listener.Close()
		}
	}
}

// stopTimeout bounds how long requests under way are waited for.
const stopTimeout = 10 * time.Second

// serve answers on the listeners until ctx ends, then lets the requests under
// way finish.
func (n *Node) serve(ctx context.Context, l Listeners) []func() error {
	federation := tls.NewListener(l.Federation, n.tls)
	runs := []func() error{
		n.serveOne(ctx, l.Client, n.client),
		n.serveOne(ctx, federation, n.federation),
	}
	if l.Metrics != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", obs.MetricsHandler(n.registry))
		runs = append(runs, n.serveOne(ctx, l.Metrics, mux))
	}
	return runs
}

func (n *Node) serveOne(ctx context.Context, listener net.Listener, h http.Handler) func() error {
	return func() error {
		server := httpx.NewServer(h, n.log)
		// A long poll ends when the server does.
		base, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		server.BaseContext = func(net.Listener) context.Context { return base }
		stopped := make(chan error, 1)
		stop := context.AfterFunc(ctx, func() {
			grace, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer done()
			time.AfterFunc(time.Second, cancel)
			stopped <- server.Shutdown(grace)
		})
		defer stop()
		err := server.Serve(listener)
		if !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		if err := <-stopped; err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return nil
	}
}
