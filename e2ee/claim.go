package e2ee

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
)

// Claim asks for a one-time key of devices: of each, one of an algorithm.
type Claim struct {
	OneTimeKeys map[matrix.UserID]map[matrix.DeviceID]string `json:"one_time_keys"`
	Timeout     int64                                        `json:"timeout"` // ms, for other servers
}

// ClaimResult is the keys that were claimed, under algorithm:ID.
type ClaimResult struct {
	OneTimeKeys map[matrix.UserID]map[matrix.DeviceID]map[string]json.RawMessage `json:"one_time_keys"`
	Failures    map[matrix.ServerName]Failure                                    `json:"failures"`
}

func newClaimResult() ClaimResult {
	return ClaimResult{
		OneTimeKeys: map[matrix.UserID]map[matrix.DeviceID]map[string]json.RawMessage{},
		Failures:    map[matrix.ServerName]Failure{},
	}
}

func (c *ClaimResult) add(user matrix.UserID, device matrix.DeviceID, name string, key json.RawMessage) {
	if c.OneTimeKeys[user] == nil {
		c.OneTimeKeys[user] = map[matrix.DeviceID]map[string]json.RawMessage{}
	}
	c.OneTimeKeys[user][device] = map[string]json.RawMessage{name: key}
}

func (c Claim) valid() error {
	asked := 0
	for user, devices := range c.OneTimeKeys {
		if _, err := matrix.ParseUserID(string(user)); err != nil {
			return err
		}
		asked += len(devices)
	}
	if asked > maxAsked {
		return matrix.TooLarge("a request claims at most %d keys", maxAsked)
	}
	return nil
}

// Claim takes one-time keys of devices, ours and remote: the one that was
// published first, which nobody is given again, or else the fallback key.
// Devices without either are absent, and servers that do not answer in time
// are in Failures.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim
func (s *Server) Claim(ctx context.Context, c Claim) (ClaimResult, error) {
	if err := c.valid(); err != nil {
		return ClaimResult{}, err
	}
	local, remote := s.split(slices.Sorted(maps.Keys(c.OneTimeKeys)))
	result := newClaimResult()
	if err := s.claimLocal(ctx, local, c, &result); err != nil {
		return ClaimResult{}, err
	}
	servers := map[matrix.ServerName]map[matrix.UserID]map[matrix.DeviceID]string{}
	for _, user := range remote {
		if servers[user.Server()] == nil {
			servers[user.Server()] = map[matrix.UserID]map[matrix.DeviceID]string{}
		}
		servers[user.Server()][user] = c.OneTimeKeys[user]
	}
	var mu sync.Mutex
	eachServer(ctx, s, timeout(c.Timeout), servers,
		func(ctx context.Context, server matrix.ServerName, ask map[matrix.UserID]map[matrix.DeviceID]string) {
			raw, err := s.Remote.UserKeysClaim(ctx, server, map[string]any{"one_time_keys": ask})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = readClaimAnswer(raw, ask, &result)
			}
			if err != nil {
				result.Failures[server] = failure(err)
			}
		})
	return result, nil
}

// readClaimAnswer takes what is good of the answer of another server.
func readClaimAnswer(raw json.RawMessage, ask map[matrix.UserID]map[matrix.DeviceID]string, result *ClaimResult) error {
	var answer struct {
		OneTimeKeys map[matrix.UserID]map[matrix.DeviceID]map[string]json.RawMessage `json:"one_time_keys"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return matrix.BadJSON("the answer of the server is malformed")
	}
	for user, devices := range ask {
		for device, algorithm := range devices {
			for name, key := range answer.OneTimeKeys[user][device] {
				if strings.HasPrefix(name, algorithm+":") && plain(name) && len(key) <= maxOneTimeKeyBytes {
					result.add(user, device, name, key) // its signature is for the client to check
				}
			}
		}
	}
	return nil
}

// claimLocal takes keys of devices of ours in one commit.
func (s *Server) claimLocal(ctx context.Context, list []matrix.UserID, c Claim, result *ClaimResult) error {
	var slots []keys.Slot
	for _, user := range list {
		for device, algorithm := range c.OneTimeKeys[user] {
			if plain(string(device)) && slices.Contains(keys.Algorithms, algorithm) {
				slots = append(slots, keys.SlotOf(user, device, algorithm))
			}
		}
	}
	if len(slots) == 0 {
		return nil
	}
	var given []keys.OneTimeKey
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		given, err = claim(ctx, tx, slots, s.now())
		return err
	})
	if err != nil {
		return err
	}
	for _, key := range given {
		user, device, algorithm := key.Slot.Parts()
		result.add(user, device, algorithm+":"+key.ID, json.RawMessage(key.JSON))
	}
	return nil
}

// claim takes a key out of each slot, and wakes the devices that have fewer.
func claim(ctx context.Context, tx *storage.Tx, slots []keys.Slot, now int64) ([]keys.OneTimeKey, error) {
	given, err := keys.ClaimOneTimeKeys(ctx, tx, slots, now)
	if err != nil {
		return nil, err
	}
	served := make(map[keys.Slot]bool, len(given))
	changed := make([]keys.Slot, 0, len(given))
	for _, key := range given {
		served[key.Slot] = true
		changed = append(changed, key.Slot)
	}
	empty := slices.DeleteFunc(slices.Clone(slots), func(slot keys.Slot) bool { return served[slot] })
	fallback, fresh, err := keys.ClaimFallbackKeys(ctx, tx, empty)
	if err != nil {
		return nil, err
	}
	for _, slot := range append(changed, fresh...) {
		user, device, _ := slot.Parts()
		keys.CountsChanged(tx, user, device)
	}
	return append(given, fallback...), nil
}

// AnswerClaim answers another server, with keys of accounts of ours only.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim
func (s *Server) AnswerClaim(ctx context.Context, c Claim) (ClaimResult, error) {
	if err := c.valid(); err != nil {
		return ClaimResult{}, err
	}
	local, _ := s.split(slices.Sorted(maps.Keys(c.OneTimeKeys)))
	result := newClaimResult()
	return result, s.claimLocal(ctx, local, c, &result)
}
