package httpx

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ClientAddr returns the address of the peer, for rate limits and for the list
// of a user's devices. [Router] has looked through the trusted proxies. It is
// the zero Addr where the connection has none.
func ClientAddr(r *http.Request) netip.Addr {
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return at.Addr().Unmap()
	}
	return netip.Addr{}
}

// maxForwarded bounds how many addresses of X-Forwarded-For are looked at:
// more proxies than this stand nowhere in a row.
const maxForwarded = 16

// throughProxies puts the address of the real peer into r: the last one of
// X-Forwarded-For that is not a trusted proxy itself. What stands before it was
// written by the peer, and says nothing.
func throughProxies(r *http.Request, trusted []netip.Prefix) {
	addr := ClientAddr(r)
	if !isTrusted(addr, trusted) {
		return
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if len(hops) > maxForwarded {
		hops = hops[len(hops)-maxForwarded:]
	}
	for _, hop := range slices.Backward(hops) {
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		addr = next.Unmap().WithZone("")
		if !isTrusted(addr, trusted) {
			break
		}
	}
	r.RemoteAddr = netip.AddrPortFrom(addr, 0).String()
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}
