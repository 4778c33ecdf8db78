package e2ee

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/users"
)

// Query asks for the keys of accounts. An empty list of devices means all.
type Query struct {
	DeviceKeys map[matrix.UserID][]matrix.DeviceID `json:"device_keys"`
	Timeout    int64                               `json:"timeout"` // ms, for other servers
}

// QueryResult is the keys that were found.
type QueryResult struct {
	DeviceKeys      map[matrix.UserID]map[matrix.DeviceID]json.RawMessage `json:"device_keys"`
	MasterKeys      map[matrix.UserID]json.RawMessage                     `json:"master_keys"`
	SelfSigningKeys map[matrix.UserID]json.RawMessage                     `json:"self_signing_keys"`
	UserSigningKeys map[matrix.UserID]json.RawMessage                     `json:"user_signing_keys,omitempty"`
	Failures        map[matrix.ServerName]Failure                         `json:"failures"`
}

func newQueryResult() QueryResult {
	return QueryResult{
		DeviceKeys:      map[matrix.UserID]map[matrix.DeviceID]json.RawMessage{},
		MasterKeys:      map[matrix.UserID]json.RawMessage{},
		SelfSigningKeys: map[matrix.UserID]json.RawMessage{},
		UserSigningKeys: map[matrix.UserID]json.RawMessage{},
		Failures:        map[matrix.ServerName]Failure{},
	}
}

// setCrossSigning puts a cross-signing key where its usage belongs.
func (q *QueryResult) setCrossSigning(user matrix.UserID, usage string, key json.RawMessage) {
	switch usage {
	case keys.Master:
		q.MasterKeys[user] = key
	case keys.SelfSigning:
		q.SelfSigningKeys[user] = key
	case keys.UserSigning:
		q.UserSigningKeys[user] = key
	}
}

// Query returns the keys of accounts, ours and remote, as viewer may see them.
// Servers that do not answer in time are in Failures; accounts and devices
// that do not exist are absent.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
func (s *Server) Query(ctx context.Context, viewer matrix.UserID, q Query) (QueryResult, error) {
	if err := q.valid(); err != nil {
		return QueryResult{}, err
	}
	local, remote := s.split(slices.Sorted(maps.Keys(q.DeviceKeys)))
	result := newQueryResult()
	err := s.DB.View(ctx, func(r *storage.Reader) error {
		if err := s.localKeys(ctx, r, viewer, local, q.DeviceKeys, &result, true); err != nil {
			return err
		}
		var err error
		remote, err = s.cachedKeys(ctx, r, viewer, remote, q.DeviceKeys, &result)
		return err
	})
	if err != nil || len(remote) == 0 {
		return result, err
	}
	return result, s.askForKeys(ctx, viewer, remote, q, &result)
}

func (q Query) valid() error {
	asked := 0
	for user, devices := range q.DeviceKeys {
		if _, err := matrix.ParseUserID(string(user)); err != nil {
			return err
		}
		asked += 1 + len(devices)
	}
	if asked > maxAsked {
		return matrix.TooLarge("a request asks for at most %d accounts and devices", maxAsked)
	}
	return nil
}

// split divides accounts into ours and those of other servers.
func (s *Server) split(list []matrix.UserID) (local, remote []matrix.UserID) {
	for _, user := range list {
		if s.isLocal(user) {
			local = append(local, user)
		} else {
			remote = append(remote, user)
		}
	}
	return local, remote
}

// localKeys adds the keys of accounts of ours. viewer "" is another server.
func (s *Server) localKeys(ctx context.Context, r *storage.Reader, viewer matrix.UserID, list []matrix.UserID,
	only map[matrix.UserID][]matrix.DeviceID, result *QueryResult, names bool) error {
	exist, err := users.Existing(ctx, r, list)
	if err != nil {
		return err
	}
	for user := range exist {
		result.DeviceKeys[user] = map[matrix.DeviceID]json.RawMessage{}
	}
	displayed := map[deviceKey]string{}
	if names {
		err := users.DevicesOf(ctx, r, list, func(user matrix.UserID, d users.Device) {
			displayed[deviceKey{user, d.ID}] = d.DisplayName
		})
		if err != nil {
			return err
		}
	}
	all, err := keys.AllDeviceKeys(ctx, r, list)
	if err != nil {
		return err
	}
	for _, k := range all {
		if wanted(only[k.User], k.Device) && exist[k.User] {
			result.DeviceKeys[k.User][k.Device] = withDisplayName([]byte(k.JSON), displayed[deviceKey{k.User, k.Device}])
		}
	}
	return addCrossSigning(ctx, r, viewer, list, result)
}

func wanted(only []matrix.DeviceID, device matrix.DeviceID) bool {
	return len(only) == 0 || slices.Contains(only, device)
}

// withDisplayName adds what the server knows of a device.
func withDisplayName(object []byte, name string) json.RawMessage {
	if name == "" {
		return object
	}
	unsigned := canonicaljson.SetField(nil, "device_display_name", canonicaljson.AppendString(nil, name))
	return canonicaljson.SetField(object, "unsigned", unsigned)
}

// addCrossSigning adds the stored cross-signing keys of accounts, and to all
// keys in the result the signatures that viewer may see. A user-signing key is
// for its owner.
func addCrossSigning(ctx context.Context, r *storage.Reader, viewer matrix.UserID, list []matrix.UserID, result *QueryResult) error {
	stored, err := keys.CrossSigningKeys(ctx, r, list)
	if err != nil {
		return err
	}
	for _, k := range stored {
		if k.Usage != keys.UserSigning || k.User == viewer {
			result.setCrossSigning(k.User, k.Usage, json.RawMessage(k.JSON))
		}
	}
	return addSignatures(ctx, r, viewer, list, result)
}

// addSignatures adds the signatures that viewer may see to the keys of
// accounts in the result.
func addSignatures(ctx context.Context, r *storage.Reader, viewer matrix.UserID, list []matrix.UserID, result *QueryResult) error {
	signatures, err := keys.Signatures(ctx, r, viewer, list)
	if err != nil {
		return err
	}
	for _, sig := range signatures {
		if device, ok := result.DeviceKeys[sig.TargetUser][matrix.DeviceID(sig.TargetKey)]; ok {
			result.DeviceKeys[sig.TargetUser][matrix.DeviceID(sig.TargetKey)] =
				addSignature(device, sig.Signer, sig.SignerKey, sig.Signature)
		}
		if master := result.MasterKeys[sig.TargetUser]; master != nil && publicOf(master) == sig.TargetKey {
			result.MasterKeys[sig.TargetUser] = addSignature(master, sig.Signer, sig.SignerKey, sig.Signature)
		}
	}
	return nil
}

// publicOf returns the one key in a cross-signing key.
func publicOf(object []byte) string {
	c := canonicaljson.Object(canonicaljson.Field(object, "keys"))
	m, _ := c.Next()
	text, _ := canonicaljson.Unquote(m.Value)
	return text
}

// cachedKeys adds the keys of those remote accounts whose changes we are told,
// and returns the others. Accounts that share no room with us are never
// cached: nobody would tell us.
func (s *Server) cachedKeys(ctx context.Context, r *storage.Reader, viewer matrix.UserID, list []matrix.UserID,
	only map[matrix.UserID][]matrix.DeviceID, result *QueryResult) (unknown []matrix.UserID, err error) {
	lists, err := keys.RemoteLists(ctx, r, list)
	if err != nil {
		return nil, err
	}
	var known []matrix.UserID
	for _, user := range list {
		if l, ok := lists[user]; ok && !l.Stale {
			known = append(known, user)
			result.DeviceKeys[user] = map[matrix.DeviceID]json.RawMessage{}
		} else {
			unknown = append(unknown, user)
		}
	}
	devices, err := keys.RemoteDevices(ctx, r, known)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		if d.JSON != "" && wanted(only[d.User], d.ID) {
			result.DeviceKeys[d.User][d.ID] = withDisplayName([]byte(d.JSON), d.DisplayName)
		}
	}
	return unknown, addCrossSigning(ctx, r, viewer, known, result)
}

// askForKeys asks the servers of accounts, all at the same time.
func (s *Server) askForKeys(ctx context.Context, viewer matrix.UserID, list []matrix.UserID, q Query, result *QueryResult) error {
	servers := map[matrix.ServerName]map[matrix.UserID][]matrix.DeviceID{}
	for _, user := range list {
		if servers[user.Server()] == nil {
			servers[user.Server()] = map[matrix.UserID][]matrix.DeviceID{}
		}
		servers[user.Server()][user] = append([]matrix.DeviceID{}, q.DeviceKeys[user]...)
	}
	var mu sync.Mutex
	eachServer(ctx, s, timeout(q.Timeout), servers, func(ctx context.Context, server matrix.ServerName, ask map[matrix.UserID][]matrix.DeviceID) {
		raw, err := s.Remote.UserKeysQuery(ctx, server, map[string]any{"device_keys": ask})
		answer := newQueryResult()
		if err == nil {
			err = readQueryAnswer(raw, ask, &answer)
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			result.Failures[server] = failure(err)
			return
		}
		maps.Copy(result.DeviceKeys, answer.DeviceKeys)
		maps.Copy(result.MasterKeys, answer.MasterKeys)
		maps.Copy(result.SelfSigningKeys, answer.SelfSigningKeys)
	})
	if err := s.DB.View(ctx, func(r *storage.Reader) error {
		return addSignatures(ctx, r, viewer, list, result)
	}); err != nil {
		return err
	}
	return s.track(ctx, slices.Sorted(maps.Keys(result.DeviceKeys)))
}

// eachServer runs fn for each server, with a bound for all requests together.
func eachServer[T any](ctx context.Context, s *Server, limit time.Duration, servers map[matrix.ServerName]T,
	fn func(context.Context, matrix.ServerName, T)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var group sync.WaitGroup
	for server, what := range servers {
		group.Go(func() {
			select {
			case s.remoteSlots <- struct{}{}:
				defer func() { <-s.remoteSlots }()
			case <-ctx.Done(): // fn fails at once, and says so
			}
			fn(ctx, server, what)
		})
	}
	group.Wait()
}

func timeout(ms int64) time.Duration {
	if ms <= 0 {
		return defaultTimeout
	}
	return min(time.Duration(min(ms, maxTimeout.Milliseconds()))*time.Millisecond, maxTimeout)
}

// readQueryAnswer takes what is good of the answer of another server: keys of
// the accounts that it was asked for, well formed and signed by their devices.
func readQueryAnswer(raw json.RawMessage, ask map[matrix.UserID][]matrix.DeviceID, result *QueryResult) error {
	var answer struct {
		DeviceKeys      map[matrix.UserID]map[matrix.DeviceID]json.RawMessage `json:"device_keys"`
		MasterKeys      map[matrix.UserID]json.RawMessage                     `json:"master_keys"`
		SelfSigningKeys map[matrix.UserID]json.RawMessage                     `json:"self_signing_keys"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return matrix.BadJSON("the answer of the server is malformed")
	}
	for user := range ask {
		devices, ok := answer.DeviceKeys[user]
		if !ok {
			continue
		}
		result.DeviceKeys[user] = map[matrix.DeviceID]json.RawMessage{}
		for device, object := range devices {
			if len(result.DeviceKeys[user]) >= maxRemoteDevices {
				break
			}
			if d, err := parseRemoteDevice(user, device, object); err == nil {
				result.DeviceKeys[user][device] = withDisplayName([]byte(d.JSON), d.DisplayName)
			}
		}
		list := crossSigningOf(user, answer.MasterKeys[user], answer.SelfSigningKeys[user])
		for _, k := range list {
			result.setCrossSigning(user, k.Usage, json.RawMessage(k.JSON))
		}
	}
	return nil
}

// AnswerQuery answers another server, about accounts of ours only.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery
func (s *Server) AnswerQuery(ctx context.Context, q Query) (QueryResult, error) {
	if err := q.valid(); err != nil {
		return QueryResult{}, err
	}
	local, _ := s.split(slices.Sorted(maps.Keys(q.DeviceKeys)))
	result := newQueryResult()
	err := s.DB.View(ctx, func(r *storage.Reader) error {
		return s.localKeys(ctx, r, "", local, q.DeviceKeys, &result, s.ShareDeviceNames)
	})
	return result, err
}
