package homeserver

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// CheckTarget parses the base URL of a server and says whether a load may be
// put on it. A server on this machine may always be loaded; any other only if
// the caller owns it, because what this tool does to a server that did not ask
// for it is an attack.
//
// This machine is a loopback address or localhost. Whatever a name resolves
// to, a connection that leaves the machine is refused again when it is dialled.
func CheckTarget(base string, owned bool) (*url.URL, error) {
	target, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("not a base URL: %w", err)
	}
	switch {
	case target.Scheme != "http" && target.Scheme != "https", target.Hostname() == "":
		return nil, fmt.Errorf("not a base URL: %q should be like http://127.0.0.1:8008", base)
	case target.User != nil, target.RawQuery != "", target.Fragment != "":
		return nil, fmt.Errorf("not a base URL: %q has more than a host and a path", target.Redacted())
	case !owned && !isLoopback(target.Hostname()):
		return nil, fmt.Errorf("%s is not this machine: say --i-own-this-server if it is yours to overload", target.Host)
	}
	return target, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// onlyLoopback refuses a connection that would leave this machine.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if !isLoopback(host) {
		return fmt.Errorf("%s is not this machine", host)
	}
	return nil
}
