package keys

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"beffroi/matrix"
	"beffroi/storage"
)

// Slot names the keys of one algorithm of one device of one account. None of
// the three has a line feed in it when it is stored.
type Slot string

// SlotOf returns the name of a slot.
func SlotOf(user matrix.UserID, device matrix.DeviceID, algorithm string) Slot {
	return Slot(string(user) + "\n" + string(device) + "\n" + algorithm)
}

// Parts returns what a slot is the name of.
func (s Slot) Parts() (user matrix.UserID, device matrix.DeviceID, algorithm string) {
	first, rest, _ := strings.Cut(string(s), "\n")
	second, third, _ := strings.Cut(rest, "\n")
	return matrix.UserID(first), matrix.DeviceID(second), third
}

// Algorithms are those of one-time keys.
var Algorithms = []string{"signed_curve25519", "curve25519"}

// slotsOf returns every slot of devices of an account.
func slotsOf(user matrix.UserID, devices ...matrix.DeviceID) []Slot {
	slots := make([]Slot, 0, len(devices)*len(Algorithms))
	for _, device := range devices {
		for _, algorithm := range Algorithms {
			slots = append(slots, SlotOf(user, device, algorithm))
		}
	}
	return slots
}

// OneTimeKey is a one-time or fallback key. ID has no algorithm.
type OneTimeKey struct {
	Slot Slot
	ID   string
	JSON string // an object, or a string for an algorithm without signatures
}

// OneTimeKeysByID returns the keys of a slot that have one of the IDs, and
// which of the IDs were claimed lately.
func OneTimeKeysByID(ctx context.Context, r *storage.Reader, slot Slot, ids []string) (have map[string]string, claimed map[string]bool, err error) {
	have, claimed = make(map[string]string, len(ids)), map[string]bool{}
	const q = `SELECT key_id, json FROM one_time_keys WHERE slot = $1 AND key_id IN ($LIST)`
	err = storage.EachIn(ctx, r, q, []any{string(slot)}, ids, func(rows *sql.Rows) error {
		var id, json string
		err := rows.Scan(&id, &json)
		have[id] = json
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	const gone = `SELECT key_id FROM claimed_keys WHERE slot = $1 AND key_id IN ($LIST)`
	err = storage.EachIn(ctx, r, gone, []any{string(slot)}, ids, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		claimed[id] = true
		return err
	})
	return have, claimed, err
}

var oneTimeKeyRow = storage.NewInsert("one_time_keys", []string{"pos", "slot", "key_id", "json"}, "")

// AddOneTimeKey adds a key that is not there yet, behind those that are.
func AddOneTimeKey(tx *storage.Tx, key OneTimeKey) {
	tx.Insert(oneTimeKeyRow, int64(tx.Next()), string(key.Slot), key.ID, key.JSON)
}

// ClaimOneTimeKeys takes the oldest key out of each slot. A slot that is empty
// has no key in the result. Nobody else is ever given the same key: this runs
// under the commit lock.
func ClaimOneTimeKeys(ctx context.Context, tx *storage.Tx, slots []Slot, now int64) ([]OneTimeKey, error) {
	r, err := tx.Snapshot(ctx) // keys may have come in the same commit
	if err != nil {
		return nil, err
	}
	var claimed []OneTimeKey
	var taken []int64
	const q = `
		SELECT pos, slot, key_id, json FROM one_time_keys
		WHERE pos IN (SELECT MIN(pos) FROM one_time_keys WHERE slot IN ($LIST) GROUP BY slot)`
	err = storage.EachIn(ctx, r, q, nil, slots, func(rows *sql.Rows) error {
		var key OneTimeKey
		var pos int64
		err := rows.Scan(&pos, &key.Slot, &key.ID, &key.JSON)
		claimed, taken = append(claimed, key), append(taken, pos)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find one-time keys: %w", err)
	}
	n, err := storage.ExecIn(ctx, tx, `DELETE FROM one_time_keys WHERE pos IN ($LIST)`, nil, taken)
	switch {
	case err != nil:
		return nil, fmt.Errorf("claim one-time keys: %w", err)
	case n != int64(len(taken)):
		return nil, fmt.Errorf("claim one-time keys: %d of %d were there", n, len(taken))
	}
	for _, key := range claimed {
		tx.Insert(claimedKeyRow, string(key.Slot), key.ID, now)
	}
	return claimed, nil
}

var claimedKeyRow = storage.NewInsert("claimed_keys", []string{"slot", "key_id", "at"}, "ON CONFLICT DO NOTHING")

// ClaimFallbackKeys returns the fallback key of each slot that has one, and
// marks it as used.
func ClaimFallbackKeys(ctx context.Context, tx *storage.Tx, slots []Slot) (list []OneTimeKey, fresh []Slot, err error) {
	const q = `SELECT slot, key_id, json, used FROM fallback_keys WHERE slot IN ($LIST)`
	err = storage.EachIn(ctx, &tx.Reader, q, nil, slots, func(rows *sql.Rows) error {
		var key OneTimeKey
		var used int
		err := rows.Scan(&key.Slot, &key.ID, &key.JSON, &used)
		list = append(list, key)
		if used == 0 {
			fresh = append(fresh, key.Slot)
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("find fallback keys: %w", err)
	}
	_, err = storage.ExecIn(ctx, tx, `UPDATE fallback_keys SET used = 1 WHERE slot IN ($LIST)`, nil, fresh)
	return list, fresh, err
}

// SetFallbackKey stores the fallback key of a slot. The same key again stays
// used if it was.
func SetFallbackKey(ctx context.Context, tx *storage.Tx, key OneTimeKey) error {
	const q = `
		INSERT INTO fallback_keys (slot, key_id, json, used) VALUES ($1, $2, $3, 0)
		ON CONFLICT (slot) DO UPDATE SET key_id = excluded.key_id, json = excluded.json, used = CASE
			WHEN fallback_keys.key_id = excluded.key_id AND fallback_keys.json = excluded.json THEN fallback_keys.used
			ELSE 0 END`
	if _, err := tx.Exec(ctx, q, string(key.Slot), key.ID, key.JSON); err != nil {
		return fmt.Errorf("set fallback key: %w", err)
	}
	return nil
}

// CountOneTimeKeys returns how many keys of each algorithm a device has left.
// An algorithm without keys is absent.
func CountOneTimeKeys(ctx context.Context, r *storage.Reader, user matrix.UserID, device matrix.DeviceID) (map[string]int, error) {
	counts := map[string]int{}
	const q = `SELECT slot, COUNT(*) FROM one_time_keys WHERE slot IN ($LIST) GROUP BY slot`
	err := storage.EachIn(ctx, r, q, nil, slotsOf(user, device), func(rows *sql.Rows) error {
		var slot Slot
		var n int
		err := rows.Scan(&slot, &n)
		_, _, algorithm := slot.Parts()
		counts[algorithm] = n
		return err
	})
	return counts, err
}

// UnusedFallbackTypes returns the algorithms of which a device has a fallback
// key that nobody was given yet.
func UnusedFallbackTypes(ctx context.Context, r *storage.Reader, user matrix.UserID, device matrix.DeviceID) ([]string, error) {
	algorithms := []string{}
	const q = `SELECT slot FROM fallback_keys WHERE used = 0 AND slot IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, slotsOf(user, device), func(rows *sql.Rows) error {
		var slot Slot
		err := rows.Scan(&slot)
		_, _, algorithm := slot.Parts()
		algorithms = append(algorithms, algorithm)
		return err
	})
	return algorithms, err
}

// DeviceAt is a device and the position at which something happened to it.
type DeviceAt struct {
	Pos    storage.Position
	User   matrix.UserID
	Device matrix.DeviceID
}

var keyCountRow = storage.NewInsert("key_counts", []string{"pos", "user_id", "device_id"}, "")

// CountsChanged notes that the number of keys of a device changed. It takes a
// position.
func CountsChanged(tx *storage.Tx, user matrix.UserID, device matrix.DeviceID) {
	tx.Insert(keyCountRow, int64(tx.Next()), string(user), string(device))
}

// CountChanges returns the devices whose number of keys changed after a
// position and not after upto. Changes of more than some days ago are gone.
func CountChanges(ctx context.Context, r *storage.Reader, after, upto storage.Position) (list []DeviceAt, err error) {
	const q = `SELECT pos, user_id, device_id FROM key_counts WHERE pos > $1 AND pos <= $2 ORDER BY pos`
	err = r.Each(ctx, q, []any{int64(after), int64(upto)}, func(rows *sql.Rows) error {
		var d DeviceAt
		err := rows.Scan(&d.Pos, &d.User, &d.Device)
		list = append(list, d)
		return err
	})
	return list, err
}

// ClearOneTimeKeys removes all one-time keys of all devices. It is for a
// restored backup, in which keys stand that were claimed since.
func ClearOneTimeKeys(ctx context.Context, tx *storage.Tx) error {
	_, err := tx.Exec(ctx, `DELETE FROM one_time_keys`)
	return err
}
