package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"beffroi/matrix"
)

const (
	// maxStateBytes is the longest answer with the state of a room. The
	// largest that was measured in public rooms has 49 MB.
	maxStateBytes = 100 << 20
	// maxStateEvents is how many events such an answer may have in all.
	maxStateEvents = 200000
	// maxEventBytes is the longest event that is read. Those of 65,536 bytes
	// in canonical form may be longer with escapes and white space.
	maxEventBytes = 512 << 10
)

// lists reads an object whose members are lists of events, as a stream: one
// event is in memory twice, and not the whole answer. Members that are not in
// arrays go to other, which may be nil.
func lists(r io.Reader, arrays map[string]*[][]byte, other func(name string, raw json.RawMessage)) error {
	dec := json.NewDecoder(r)
	if err := expect(dec, json.Delim('{')); err != nil {
		return err
	}
	left := maxStateEvents
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		if out, ok := arrays[name]; ok {
			if err := list(dec, out, &left); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		if other != nil && len(raw) <= maxEventBytes {
			other(name, raw)
		}
	}
	if err := expect(dec, json.Delim('}')); err != nil {
		return err
	}
	_, err := dec.Token()
	if err != io.EOF {
		return fmt.Errorf("data after the answer: %w", err)
	}
	return nil
}

// list reads one list. null, which some servers write for none, is an empty one.
func list(dec *json.Decoder, out *[][]byte, left *int) error {
	token, err := dec.Token()
	if err != nil || token == nil {
		return err
	}
	if token != json.Delim('[') {
		return fmt.Errorf("%v where a list begins", token)
	}
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		if *left--; *left < 0 || len(raw) > maxEventBytes {
			return matrix.NewError(http.StatusBadGateway, "M_TOO_LARGE", "an answer has more than %d events, or one of more than %d bytes",
				maxStateEvents, maxEventBytes)
		}
		*out = append(*out, raw)
	}
	return expect(dec, json.Delim(']'))
}

func expect(dec *json.Decoder, want json.Delim) error {
	token, err := dec.Token()
	if err == nil && token != want {
		err = fmt.Errorf("%v where %v is wanted", token, want)
	}
	return err
}
