package syncapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

// Of each room that a client was told of, a connection knows up to where it has
// three things, each by one of these or by a position.
const (
	streamEvents = iota
	streamData
	streamReceipts
	streams
)

const (
	// live is up to the position of the token: nothing is missing. This is what
	// nearly all rooms are, and why most answers change no connection.
	live storage.Position = 0
	// never is nothing at all.
	never storage.Position = -1
)

// sentRoom is what a client has got of a room.
type sentRoom struct {
	nid    int64
	upTo   [streams]storage.Position
	limit  int // how many of the last events it has at least
	direct bool
	wish   *wish // the state that it has
}

// connection is what a client has got with an answer. It never changes.
type connection struct {
	name   users.Connection
	serial int64
	rooms  []sentRoom // by number
	exts   uint8      // the extensions that were enabled
}

// find returns what the client has got of a room.
func (c *connection) find(nid int64) (sentRoom, bool) {
	i, ok := slices.BinarySearchFunc(c.rooms, nid, func(r sentRoom, nid int64) int { return cmp.Compare(r.nid, nid) })
	if !ok {
		return sentRoom{}, false
	}
	return c.rooms[i], true
}

// same reports whether a client that has one has the other.
func (c *connection) same(other *connection) bool {
	return c.exts == other.exts && slices.EqualFunc(c.rooms, other.rooms, func(x, y sentRoom) bool {
		return x.nid == y.nid && x.upTo == y.upTo && x.limit == y.limit && x.direct == y.direct &&
			(x.wish == y.wish || x.wish.text == y.wish.text)
	})
}

// pack writes a connection as text.
func (c *connection) pack() string {
	index := make(map[string]int)
	var texts []string
	var out []byte
	last := int64(0)
	for _, r := range c.rooms {
		if _, ok := index[r.wish.text]; !ok {
			index[r.wish.text] = len(texts)
			texts = append(texts, r.wish.text)
		}
		out = binary.AppendUvarint(out, uint64(r.nid-last))
		last = r.nid
		for _, pos := range r.upTo {
			out = binary.AppendVarint(out, int64(pos))
		}
		flags := uint64(r.limit) << 1
		if r.direct {
			flags |= 1
		}
		out = binary.AppendUvarint(out, flags)
		out = binary.AppendUvarint(out, uint64(index[r.wish.text]))
	}
	head := []string{strconv.Itoa(int(c.exts)), base64.RawStdEncoding.EncodeToString(out)}
	return strings.Join(append(head, texts...), "\n")
}

var errPacked = errors.New("connection: not what was packed")

// unpack reads what pack wrote.
func unpack(name users.Connection, serial int64, text string) (*connection, error) {
	c := &connection{name: name, serial: serial}
	parts := strings.Split(text, "\n")
	if len(parts) < 2 {
		return nil, errPacked
	}
	exts, err := strconv.ParseUint(parts[0], 10, 8)
	if err != nil {
		return nil, errPacked
	}
	c.exts = uint8(exts)
	wishes := make([]*wish, 0, len(parts)-2)
	for _, part := range parts[2:] {
		w, err := parseWish(part)
		if err != nil {
			return nil, errPacked
		}
		wishes = append(wishes, w)
	}
	raw, err := base64.RawStdEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, errPacked
	}
	p := unpacker{raw: raw}
	last := int64(0)
	for len(p.raw) > 0 && !p.broken {
		last += int64(p.unsigned())
		r := sentRoom{nid: last}
		for i := range r.upTo {
			r.upTo[i] = storage.Position(p.signed())
		}
		flags := p.unsigned()
		r.limit, r.direct = int(flags>>1), flags&1 == 1
		at := p.unsigned()
		if p.broken || at >= uint64(len(wishes)) {
			return nil, errPacked
		}
		r.wish = wishes[at]
		c.rooms = append(c.rooms, r)
	}
	return c, nil
}

type unpacker struct {
	raw    []byte
	broken bool
}

func (p *unpacker) unsigned() uint64 {
	v, n := binary.Uvarint(p.raw)
	if p.skip(n) {
		return v
	}
	return 0
}

func (p *unpacker) signed() int64 {
	v, n := binary.Varint(p.raw)
	if p.skip(n) {
		return v
	}
	return 0
}

func (p *unpacker) skip(n int) bool {
	if p.broken = p.broken || n <= 0; !p.broken {
		p.raw = p.raw[n:]
	}
	return !p.broken
}

// maxConnections bounds the connections that are kept in memory, by the number
// of their rooms. Others are read when their clients come back.
const maxConnections = 2_000_000

func newConnections() *otter.Cache[int64, *connection] {
	return otter.Must(&otter.Options[int64, *connection]{
		MaximumWeight: maxConnections,
		Weigher:       func(_ int64, c *connection) uint32 { return uint32(len(c.rooms)) + 8 },
	})
}

// unknownPos is the answer to a position that is not known, or no longer: the
// client begins anew.
func unknownPos() error {
	return matrix.NewError(http.StatusBadRequest, "M_UNKNOWN_POS", "this position is not known; begin anew without one")
}

// connection returns what a client had got with the answer that it names.
func (s *Server) connection(ctx context.Context, name users.Connection, serial int64) (*connection, error) {
	if c, ok := s.connections.GetIfPresent(serial); ok {
		if c.name != name {
			return nil, unknownPos()
		}
		return c, nil
	}
	var text string
	var ok bool
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		text, ok, err = users.ConnectionState(ctx, r, name, serial)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, unknownPos()
	}
	c, err := unpack(name, serial, text)
	if err != nil {
		return nil, unknownPos()
	}
	s.connections.Set(serial, c)
	return c, nil
}

// keepConnection writes what a client gets with an answer to a request that
// named parent, 0 for none.
func (s *Server) keepConnection(ctx context.Context, c *connection, parent int64) error {
	for c.serial == 0 {
		c.serial = rand.Int64() >> 1 // a client that guessed one would have its own rooms by it
	}
	text := c.pack()
	known := false
	if _, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		known, err = users.SetConnectionState(ctx, tx, c.name, c.serial, parent, text, time.Now().UnixMilli())
		return err
	}); err != nil {
		return err
	}
	if !known {
		return unknownPos()
	}
	s.connections.Set(c.serial, c)
	return nil
}

const (
	// keepFor is how long a connection is kept that nothing was told over.
	keepFor = 30 * 24 * time.Hour
	// sweptAtOnce bounds what one sweep removes.
	sweptAtOnce = 1000
)

// sweepConnections removes old connections, and those of devices that are gone.
func (s *Server) sweepConnections(ctx context.Context) error {
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return users.SweepConnections(ctx, tx, time.Now().Add(-keepFor).UnixMilli(), sweptAtOnce)
	})
	return err
}
