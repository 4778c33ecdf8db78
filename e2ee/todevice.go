package e2ee

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/users"
)

const (
	// maxContentBytes bounds one message, so that it fits into an EDU with its
	// names around it. Room keys have some 1,000 bytes.
	maxContentBytes = 48 << 10
	// maxEDUContentBytes bounds the messages of one EDU to a server.
	maxEDUContentBytes = 56 << 10
	// maxMessages bounds the messages of one sending.
	maxMessages = 5000
	// AllDevices stands for every device of an account.
	AllDevices matrix.DeviceID = "*"
	// typeToDevice is the EDU that carries messages to devices.
	typeToDevice = "m.direct_to_device"
)

// Messages are messages of one type, by account and device. The device can be
// [AllDevices].
type Messages map[matrix.UserID]map[matrix.DeviceID]json.RawMessage

// Send sends messages to devices. In one commit they are put into the queues of
// devices of ours and into those for other servers, once for each txnID of a
// device: the same again does nothing. Devices that do not exist are left out.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid
func (s *Server) Send(ctx context.Context, sender matrix.UserID, device matrix.DeviceID, typ, txnID string, messages Messages) error {
	if !plain(typ) || !plain(txnID) {
		return matrix.InvalidParam("a type and a transaction ID have 1 to %d bytes and no control characters", maxIDBytes)
	}
	messages, err := checkMessages(messages)
	if err != nil {
		return err
	}
	local, remote := s.split(slices.Sorted(maps.Keys(messages)))
	edus, err := eduContents(sender, typ, remote, messages)
	if err != nil {
		return err
	}
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		first, err := keys.Done(ctx, tx, "client\n"+string(sender)+"\n"+string(device), typ+"\n"+txnID, s.now())
		if err != nil || !first {
			return err
		}
		if err := s.deliver(ctx, tx, sender, typ, local, messages); err != nil {
			return err
		}
		for _, edu := range edus {
			if err := s.Outbox.QueueEDU(ctx, tx, edu.destination, typeToDevice, edu.content, ""); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// checkMessages returns messages in canonical form: whatever is sent on must
// be what every server can read.
func checkMessages(messages Messages) (Messages, error) {
	count, out := 0, make(Messages, len(messages))
	for user, devices := range messages {
		if _, err := matrix.ParseUserID(string(user)); err != nil {
			return nil, err
		}
		if count += len(devices); count > maxMessages {
			return nil, matrix.TooLarge("at most %d messages are sent at once", maxMessages)
		}
		out[user] = make(map[matrix.DeviceID]json.RawMessage, len(devices))
		for device, content := range devices {
			if !plain(string(device)) {
				return nil, matrix.InvalidParam("malformed device ID")
			}
			if len(content) > maxContentBytes {
				return nil, matrix.TooLarge("a message to a device has at most %d bytes", maxContentBytes)
			}
			canonical, err := canonicaljson.Canonicalise(content, canonicaljson.Strict)
			if err != nil {
				return nil, err
			}
			if canonical[0] != '{' {
				return nil, matrix.BadJSON("a message to a device is an object")
			}
			if sentBytes(canonical) > maxContentBytes {
				return nil, matrix.TooLarge("a message to a device has at most %d bytes", maxContentBytes)
			}
			out[user][device] = canonical
		}
	}
	return out, nil
}

// sentBytes returns how long JSON is when encoding/json has written it anew.
func sentBytes(raw []byte) int {
	n := len(raw)
	for _, escaped := range []string{"<", ">", "&", "\u2028", "\u2029"} {
		n += 5 * bytes.Count(raw, []byte(escaped))
	}
	return n
}

// deliver puts messages into the queues of devices of ours that exist. It
// writes nothing before it has read all.
func (s *Server) deliver(ctx context.Context, tx *storage.Tx, sender matrix.UserID, typ string, local []matrix.UserID, messages Messages) error {
	var list []keys.Message
	err := users.DevicesOf(ctx, &tx.Reader, local, func(user matrix.UserID, d users.Device) {
		content, ok := messages[user][d.ID]
		if !ok {
			content, ok = messages[user][AllDevices]
		}
		if ok {
			list = append(list, keys.Message{User: user, Device: d.ID, Sender: sender, Type: typ, Content: string(content)})
		}
	})
	if err != nil {
		return err
	}
	for _, m := range list {
		keys.AddMessage(tx, m, s.now())
	}
	return nil
}

// directToDevice is the content of an m.direct_to_device.
type directToDevice struct {
	Sender    matrix.UserID `json:"sender"`
	Type      string        `json:"type"`
	MessageID string        `json:"message_id"`
	Messages  Messages      `json:"messages"`
}

type queuedEDU struct {
	destination matrix.ServerName
	content     json.RawMessage
}

// eduContents divides messages to remote accounts into EDUs that no server
// finds too long.
func eduContents(sender matrix.UserID, typ string, remote []matrix.UserID, messages Messages) (list []queuedEDU, err error) {
	open := map[matrix.ServerName]Messages{}
	size := map[matrix.ServerName]int{}
	flush := func(server matrix.ServerName) error {
		content, err := json.Marshal(directToDevice{sender, typ, rand.Text(), open[server]})
		list = append(list, queuedEDU{server, content})
		delete(open, server)
		size[server] = 0
		return err
	}
	for _, user := range remote {
		server := user.Server()
		for device, content := range messages[user] {
			n := sentBytes(content) + len(user) + len(device) + 16
			if size[server]+n > maxEDUContentBytes && size[server] > 0 {
				if err := flush(server); err != nil {
					return nil, err
				}
			}
			if open[server] == nil {
				open[server] = Messages{}
			}
			if open[server][user] == nil {
				open[server][user] = map[matrix.DeviceID]json.RawMessage{}
			}
			open[server][user][device] = content
			size[server] += n
		}
	}
	for server := range open {
		if err := flush(server); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// ReceiveToDevice takes an m.direct_to_device of another server, once for each
// of its message IDs. Accounts and devices that are not ours are left out.
//
// https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging
func (s *Server) ReceiveToDevice(ctx context.Context, origin matrix.ServerName, content json.RawMessage) error {
	var edu directToDevice
	if err := json.Unmarshal(content, &edu); err != nil {
		return matrix.BadJSON("malformed %s", typeToDevice)
	}
	if err := ofOrigin(edu.Sender, origin); err != nil {
		return err
	}
	if !plain(edu.Type) || !plain(edu.MessageID) {
		return matrix.InvalidParam("malformed %s", typeToDevice)
	}
	messages, err := checkMessages(edu.Messages)
	if err != nil {
		return err
	}
	local, _ := s.split(slices.Sorted(maps.Keys(messages)))
	_, err = s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		first, err := keys.Done(ctx, tx, "server\n"+string(origin.Normalise()), edu.MessageID, s.now())
		if err != nil || !first {
			return err
		}
		return s.deliver(ctx, tx, edu.Sender, edu.Type, local, messages)
	})
	return err
}

// ToDevice returns at most limit messages to a device after a position and not
// after upto, oldest first. If there are limit of them there may be more, and
// the device must not be told a position beyond the last of them.
//
// https://spec.matrix.org/v1.19/client-server-api/#extensions-to-sync
func (s *Server) ToDevice(ctx context.Context, r *storage.Reader, user matrix.UserID, device matrix.DeviceID,
	after, upto storage.Position, limit int) ([]keys.Message, error) {
	list, err := keys.Messages(ctx, r, user, device, after, upto, limit)
	if err == nil && len(list) > 0 {
		s.note(deviceKey{user, device}, list[len(list)-1].Pos)
	}
	return list, err
}

const (
	// maxNoted bounds the memory of who was given what.
	maxNoted = 200_000
	// ackStep is how many messages are deleted in one commit.
	ackStep = 500
)

// note remembers that a device was given messages up to a position.
func (s *Server) note(device deviceKey, pos storage.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.delivered) >= maxNoted {
		clear(s.delivered) // then the database is asked again
	}
	s.delivered[device] = max(s.delivered[device], pos)
}

// Acknowledge deletes the messages up to a position that a device has shown to
// have received, by asking for what comes after it. For a device that was given
// nothing since it last did so, it costs nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
func (s *Server) Acknowledge(ctx context.Context, user matrix.UserID, device matrix.DeviceID, upto storage.Position) error {
	key := deviceKey{user, device}
	s.mu.Lock()
	given, known := s.delivered[key]
	s.mu.Unlock()
	if known && given == 0 {
		return nil
	}
	has := known
	if !known {
		err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
			has, err = keys.HasMessages(ctx, r, user, device, upto)
			return err
		})
		if err != nil {
			return err
		}
	}
	for n := int64(ackStep); has && n == ackStep; {
		_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
			n, err = keys.DeleteMessages(ctx, tx, user, device, upto, ackStep)
			return err
		})
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.delivered[key] <= upto { // nothing was given in the meantime
		s.delivered[key] = 0
	}
	return nil
}
