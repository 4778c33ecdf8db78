package clientapi

import (
	"regexp"
	"strings"
	"testing"

	"beffroi/policy"
)

// TestTable holds every route against the rule: one action of the policy, or a
// reason why there is none.
func TestTable(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, rt := range new(Server).table() {
		name := rt.method + " " + rt.path
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		if (rt.action == policy.ActionNone) == (rt.free == "") {
			t.Errorf("%s must have an action or a reason why it has none, and not both", name)
		}
		if rt.do == nil {
			t.Errorf("%s does nothing", name)
		}
		if rt.who == self && !strings.Contains(rt.path, "{userID}") {
			t.Errorf("%s says whose it is nowhere", name)
		}
	}
	for path := range unstable {
		if !strings.Contains(strings.Join(keysOf(seen), "\n")+"\n", " "+path+"\n") {
			t.Errorf("%s has other names and is not served", path)
		}
	}
}

func keysOf(set map[string]bool) (out []string) {
	for name := range set {
		out = append(out, name)
	}
	return out
}

// needed is what a client calls that signs in, talks and encrypts.
const needed = `
GET /_matrix/client/versions
GET /.well-known/matrix/client
GET /login
POST /login
POST /register
GET /register/available
POST /register/email/requestToken
POST /logout
POST /logout/all
GET /account/whoami
GET /capabilities
GET /profile/{userId}
GET /profile/{userId}/{keyName}
PUT /profile/{userId}/{keyName}
GET /devices
GET /devices/{deviceId}
PUT /devices/{deviceId}
DELETE /devices/{deviceId}
POST /delete_devices
POST /user/{userId}/filter
GET /user/{userId}/filter/{filterId}
GET /pushrules/
GET /pushrules/global/
GET /pushrules/global/{kind}/{ruleId}
PUT /pushrules/global/{kind}/{ruleId}
DELETE /pushrules/global/{kind}/{ruleId}
GET /pushrules/global/{kind}/{ruleId}/enabled
PUT /pushrules/global/{kind}/{ruleId}/enabled
GET /pushrules/global/{kind}/{ruleId}/actions
PUT /pushrules/global/{kind}/{ruleId}/actions
GET /user/{userId}/account_data/{type}
PUT /user/{userId}/account_data/{type}
GET /user/{userId}/rooms/{roomId}/account_data/{type}
PUT /user/{userId}/rooms/{roomId}/account_data/{type}
POST /createRoom
POST /join/{roomIdOrAlias}
POST /rooms/{roomId}/join
POST /rooms/{roomId}/leave
POST /rooms/{roomId}/invite
POST /rooms/{roomId}/kick
POST /rooms/{roomId}/ban
POST /rooms/{roomId}/unban
POST /knock/{roomIdOrAlias}
POST /rooms/{roomId}/forget
PUT /rooms/{roomId}/send/{eventType}/{txnId}
PUT /rooms/{roomId}/state/{eventType}
PUT /rooms/{roomId}/state/{eventType}/
PUT /rooms/{roomId}/state/{eventType}/{stateKey}
PUT /rooms/{roomId}/redact/{eventId}/{txnId}
GET /rooms/{roomId}/state
GET /rooms/{roomId}/state/{eventType}
GET /rooms/{roomId}/state/{eventType}/
GET /rooms/{roomId}/state/{eventType}/{stateKey}
GET /rooms/{roomId}/messages
GET /rooms/{roomId}/members
GET /rooms/{roomId}/joined_members
GET /joined_rooms
GET /rooms/{roomId}/event/{eventId}
GET /rooms/{roomId}/context/{eventId}
GET /rooms/{roomId}/aliases
GET /directory/room/{roomAlias}
PUT /directory/room/{roomAlias}
DELETE /directory/room/{roomAlias}
GET /directory/list/room/{roomId}
PUT /directory/list/room/{roomId}
GET /publicRooms
POST /publicRooms
PUT /rooms/{roomId}/typing/{userId}
POST /rooms/{roomId}/receipt/{receiptType}/{eventId}
POST /rooms/{roomId}/read_markers
GET /sync
POST /keys/upload
POST /keys/query
POST /keys/claim
GET /keys/changes
POST /keys/device_signing/upload
POST /keys/signatures/upload
PUT /sendToDevice/{eventType}/{txnId}
POST /room_keys/version
GET /room_keys/version
GET /room_keys/version/{version}
PUT /room_keys/version/{version}
DELETE /room_keys/version/{version}
PUT /room_keys/keys
GET /room_keys/keys
DELETE /room_keys/keys
PUT /room_keys/keys/{roomId}
GET /room_keys/keys/{roomId}
DELETE /room_keys/keys/{roomId}
PUT /room_keys/keys/{roomId}/{sessionId}
GET /room_keys/keys/{roomId}/{sessionId}
DELETE /room_keys/keys/{roomId}/{sessionId}
GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}
GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}
GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}
GET /_matrix/client/v1/rooms/{roomId}/threads
POST /rooms/{roomId}/report
POST /rooms/{roomId}/report/{eventId}
POST /users/{userId}/report
GET /voip/turnServer
GET /thirdparty/protocols`

var anyParameter = regexp.MustCompile(`\{[A-Za-z]+\}`)

func TestEveryNeededRouteIsThere(t *testing.T) {
	t.Parallel()
	have := make(map[string]bool)
	for _, rt := range new(Server).table() {
		for _, path := range rt.paths() {
			path = strings.TrimSuffix(path, "{$}")
			have[rt.method+" "+anyParameter.ReplaceAllString(path, "{}")] = true
		}
	}
	for line := range strings.Lines(strings.TrimSpace(needed)) {
		method, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		path = anyParameter.ReplaceAllString(path, "{}")
		names := []string{path}
		if !strings.HasPrefix(path, "/_") && !strings.HasPrefix(path, "/.") {
			names = []string{v3 + path, r0 + path}
		}
		for _, name := range names {
			if !have[method+" "+name] {
				t.Errorf("%s %s is missing", method, name)
			}
		}
	}
}
