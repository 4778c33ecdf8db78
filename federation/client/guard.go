package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	// dialTimeout bounds the wait for one address: the next may answer.
	dialTimeout = 5 * time.Second
	// maxAddresses is how many addresses of one name are tried.
	maxAddresses = 8
)

// special are the ranges that no server on the Internet has: private ones,
// and those that lead to this machine, to a neighbour, to many or to nobody.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("224.0.0.0/3"),

	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/9"), netip.MustParsePrefix("ff00::/8"),
}

// nat64 embeds an IPv4 address, by which it is judged.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Guard opens connections to public addresses only: it resolves a name,
// checks each address, and dials what it has checked, so that a name cannot
// mean one address for the check and another for the connection.
type Guard struct {
	// Allow are ranges that may be dialled although they are not public.
	Allow []netip.Prefix
	// DNS resolves names; nil means the resolver of the system.
	DNS *net.Resolver
	// Dial dials a checked address; nil means the network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// AddressError says that an address was not dialled because it is not public.
type AddressError struct{ Addr netip.Addr }

// Error names the address: it is for the log.
func (e *AddressError) Error() string { return "the address " + e.Addr.String() + " is not public" }

// Check returns an *[AddressError] unless the address may be dialled.
func (g *Guard) Check(addr netip.Addr) error {
	judged := addr.Unmap().WithZone("")
	if contains(g.Allow, judged) {
		return nil
	}
	if nat64.Contains(judged) {
		b := judged.As16()
		judged = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.Zone() != "" || contains(special, judged) {
		return &AddressError{addr}
	}
	return nil
}

func contains(ranges []netip.Prefix, addr netip.Addr) bool {
	for _, r := range ranges {
		if r.Contains(addr) {
			return true
		}
	}
	return false
}

// DialContext connects to a host:port by TCP. It has the form that
// http.Transport wants.
func (g *Guard) DialContext(ctx context.Context, _, hostPort string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	addrs, err := g.lookUp(ctx, host)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, addr := range addrs[:min(len(addrs), maxAddresses)] {
		if err := g.Check(addr); err != nil {
			errs = append(errs, err)
			continue
		}
		conn, err := g.dial(ctx, net.JoinHostPort(addr.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("dial %s: %w", hostPort, errors.Join(errs...))
}

func (g *Guard) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	addrs, err := g.resolver().LookupNetIP(ctx, "ip", absolute(host))
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%s has no address", host)
	}
	return addrs, err
}

func (g *Guard) resolver() *net.Resolver {
	if g.DNS != nil {
		return g.DNS
	}
	return net.DefaultResolver
}

// dial connects to an address that was checked.
func (g *Guard) dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if g.Dial != nil {
		return g.Dial(ctx, "tcp", addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
