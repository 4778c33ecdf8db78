package clientapi

import (
	"encoding/json"

	"beffroi/internal/httpx"
	"beffroi/matrix/canonicaljson"
	"beffroi/roomserver"
)

// Events are JSON already. They are put into answers as they are: encoding/json
// would read each of them again.

// rawList returns the answer that is a list of events.
func rawList(list []json.RawMessage) httpx.Raw { return appendList(nil, list) }

// rawChunk returns the answer that is a list of events in an object.
func rawChunk(list []json.RawMessage) httpx.Raw {
	return append(appendList([]byte(`{"chunk":`), list), '}')
}

func appendList(dst []byte, list []json.RawMessage) []byte {
	size := len(dst) + len(list) + 2
	for _, e := range list {
		size += len(e)
	}
	if cap(dst) < size {
		dst = append(make([]byte, 0, size), dst...)
	}
	dst = append(dst, '[')
	for i, e := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, e...)
	}
	return append(dst, ']')
}

// rawPage returns the answer of messages.
func rawPage(p roomserver.Page) httpx.Raw {
	out := appendList([]byte(`{"chunk":`), p.Chunk)
	out = canonicaljson.AppendString(append(out, `,"start":`...), p.Start)
	if p.End != "" {
		out = canonicaljson.AppendString(append(out, `,"end":`...), p.End)
	}
	if len(p.State) > 0 {
		out = append(append(out, `,"state":`...), appendList(nil, p.State)...)
	}
	return append(out, '}')
}

// rawSurroundings returns the answer of context.
func rawSurroundings(c roomserver.Surroundings) httpx.Raw {
	out := append([]byte(`{"event":`), c.Event...)
	for _, part := range []struct {
		name string
		list []json.RawMessage
	}{{"events_before", c.Before}, {"events_after", c.After}, {"state", c.State}} {
		out = canonicaljson.AppendString(append(out, ','), part.name)
		out = append(append(out, ':'), appendList(nil, part.list)...)
	}
	out = canonicaljson.AppendString(append(out, `,"start":`...), c.Start)
	out = canonicaljson.AppendString(append(out, `,"end":`...), c.End)
	return append(out, '}')
}
