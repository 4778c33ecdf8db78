package sendqueue

import (
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/storage/peers"
)

// maxEphemeral is how many passing messages wait for one server. Beyond it
// the oldest is dropped.
const maxEphemeral = 200

// ephemeral is a message that is worth nothing a moment later.
type ephemeral struct {
	key string
	raw json.RawMessage
}

// SendEphemeral sends a message that may be lost: typing, receipts, presence.
// It is kept in memory only, is tried once, and is dropped at once for a
// server that is away. Where key is not "", only the newest message of that key
// is sent. One that is longer than [peers.MaxEDUBytes] is M_TOO_LARGE.
func (q *Queue) SendEphemeral(destinations []matrix.ServerName, edu peers.EDU, key string) error {
	raw, err := edu.Encode()
	if err != nil {
		return err
	}
	woken := make([]matrix.ServerName, 0, len(destinations))
	q.mu.Lock()
	for _, name := range destinations {
		if name.Normalise() == q.name.Normalise() {
			continue
		}
		d := q.destination(name)
		if d.backingOff {
			continue
		}
		if key != "" {
			d.ephemeral = slices.DeleteFunc(d.ephemeral, func(e ephemeral) bool { return e.key == key })
		}
		if len(d.ephemeral) >= maxEphemeral {
			d.ephemeral = slices.Delete(d.ephemeral, 0, 1)
		}
		d.ephemeral = append(d.ephemeral, ephemeral{key, raw})
		woken = append(woken, name)
	}
	q.mu.Unlock()
	q.wake(woken...)
	return nil
}

// takeEphemeral takes at most n passing messages.
func (q *Queue) takeEphemeral(d *destination, n int) []json.RawMessage {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(max(n, 0), len(d.ephemeral))
	out := make([]json.RawMessage, n)
	for i := range out {
		out[i] = d.ephemeral[i].raw
	}
	d.ephemeral = slices.Delete(d.ephemeral, 0, n)
	return out
}
