package account

import (
	"context"
	"sync"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/users"
)

// Devices returns the devices of an account.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices
func (s *Server) Devices(ctx context.Context, user matrix.UserID) (list []users.Device, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		list, err = users.Devices(ctx, r, user)
		return err
	})
	return list, err
}

// Device returns a device of an account, or M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid
func (s *Server) Device(ctx context.Context, user matrix.UserID, id matrix.DeviceID) (d users.Device, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		d, err = users.DeviceByID(ctx, r, user, id)
		return err
	})
	return d, err
}

// RenameDevice gives a device another display name, which others see. It is
// M_NOT_FOUND if there is no such device.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid
func (s *Server) RenameDevice(ctx context.Context, user matrix.UserID, id matrix.DeviceID, name string) error {
	if err := validDeviceName(name); err != nil {
		return err
	}
	return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		d, err := users.DeviceByID(ctx, &tx.Reader, user, id)
		if err != nil || d.DisplayName == name {
			return err
		}
		if err := users.RenameDevice(ctx, tx, user, id, name); err != nil {
			return err
		}
		return keys.Changed(ctx, tx, user, id)
	})
}

// DeleteDevices removes devices with everything that belongs to them: tokens,
// keys and messages, in one commit. Devices that are not there are no error.
// The proof is that of a [Challenge] to the account.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices
func (s *Server) DeleteDevices(ctx context.Context, user matrix.UserID, ids []matrix.DeviceID, proof *Proof) error {
	return s.append(ctx, user, func(ctx context.Context, tx *storage.Tx) error {
		if err := s.spendable(ctx, tx, proof); err != nil {
			return err
		}
		if err := s.spend(ctx, tx, proof); err != nil {
			return err
		}
		return deleteDevices(ctx, tx, user, ids)
	})
}

// Logout ends a session and removes its device.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout
func (s *Server) Logout(ctx context.Context, session Session) error {
	return s.append(ctx, session.User, func(ctx context.Context, tx *storage.Tx) error {
		return deleteDevices(ctx, tx, session.User, []matrix.DeviceID{session.Device})
	})
}

// LogoutAll ends every session of an account and removes its devices.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall
func (s *Server) LogoutAll(ctx context.Context, user matrix.UserID) error {
	return s.append(ctx, user, func(ctx context.Context, tx *storage.Tx) error {
		return deleteAllDevices(ctx, tx, user, "")
	})
}

// deleteAllDevices removes the devices of an account but one, and the tokens
// that would open another session.
func deleteAllDevices(ctx context.Context, tx *storage.Tx, user matrix.UserID, but matrix.DeviceID) error {
	if err := users.DeleteShortTokens(ctx, tx, user); err != nil {
		return err
	}
	list, err := users.Devices(ctx, &tx.Reader, user)
	if err != nil {
		return err
	}
	var ids []matrix.DeviceID
	for _, d := range list {
		if d.ID != but {
			ids = append(ids, d.ID)
		}
	}
	return deleteDevices(ctx, tx, user, ids)
}

func deleteDevices(ctx context.Context, tx *storage.Tx, user matrix.UserID, ids []matrix.DeviceID) error {
	have, err := users.Devices(ctx, &tx.Reader, user)
	if err != nil {
		return err
	}
	known := make(map[matrix.DeviceID]bool, len(have))
	for _, d := range have {
		known[d.ID] = true
	}
	var gone []matrix.DeviceID
	for _, id := range ids {
		if known[id] {
			known[id] = false // once
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := users.DeleteDevices(ctx, tx, user, gone); err != nil {
		return err
	}
	return keys.DeleteDevices(ctx, tx, user, gone)
}

// seenDevices remembers which devices were seen until the next write.
type seenDevices struct {
	mu   sync.Mutex
	last map[seenDevice]sighting // guarded by mu
}

type seenDevice struct {
	user   matrix.UserID
	device matrix.DeviceID
}

type sighting struct {
	at int64
	ip string
}

// maxSeen bounds the sightings that wait. What is over it is seen next time.
const maxSeen = 100_000

// Saw notes that a session was used from an address. It costs no query: the
// list of devices follows within a minute.
func (s *Server) Saw(session Session, ip string) {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	if s.seen.last == nil {
		s.seen.last = map[seenDevice]sighting{}
	}
	if len(s.seen.last) < maxSeen && plain(ip, 64) {
		s.seen.last[seenDevice{session.User, session.Device}] = sighting{s.now(), ip}
	}
}

// take returns the sightings and forgets them.
func (d *seenDevices) take() map[seenDevice]sighting {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := d.last
	d.last = nil
	return last
}
