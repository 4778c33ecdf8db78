package federation

import (
	"sync"
	"time"

	"beffroi/matrix"
)

// A request holds about as much memory as its body may have bytes, and its
// answer may be as long: requests are counted by that.
const (
	// maxOriginBytes bounds the requests of one server at a time: 64 ordinary
	// ones, or 4 with the state of a room.
	maxOriginBytes = 64 << 20
	// maxAllBytes bounds those of all together.
	maxAllBytes = 512 << 20
)

// meter counts what the requests under way may hold in memory. The zero value
// is ready.
type meter struct {
	mu      sync.Mutex
	all     int64                       // guarded by mu
	origins map[matrix.ServerName]int64 // guarded by mu: none is 0
}

// take makes room for a request of a server, or returns M_LIMIT_EXCEEDED.
// release gives the room back; it is never nil and is called once.
func (m *meter) take(origin matrix.ServerName, bytes int64) (release func(), err error) {
	origin = origin.Normalise()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all+bytes > maxAllBytes || m.origins[origin]+bytes > maxOriginBytes {
		return func() {}, matrix.LimitExceeded(time.Second)
	}
	if m.origins == nil {
		m.origins = make(map[matrix.ServerName]int64)
	}
	m.all += bytes
	m.origins[origin] += bytes
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.all -= bytes
		if m.origins[origin] -= bytes; m.origins[origin] == 0 {
			delete(m.origins, origin)
		}
	}, nil
}
