package federation

import (
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/policy"
)

const (
	v1   = "/_matrix/federation/v1"
	v2   = "/_matrix/federation/v2"
	keys = "/_matrix/key/v2"
)

const (
	// maxBody is the longest ordinary body: an event and what surrounds it, or
	// the accounts whose keys are asked for.
	maxBody = httpx.MaxBody
	// maxTransaction holds 50 events and 100 other messages of the largest
	// size, with escapes and white space. It also stands for the answers with
	// the state of a room.
	maxTransaction = 16 << 20
	// maxQuestion counts for a question to us as a notary, whose answer has the
	// keys of a hundred servers.
	maxQuestion = 4 << 20
)

// Route is one call of the API.
type Route struct {
	Pattern string
	// Action is what the policy is asked about it, beside whether the server
	// may speak with us. policy.ActionNone marks the few calls that need no
	// signature.
	Action  policy.Action
	handler http.Handler
}

// Routes adds the calls to a router.
func (s *Server) Routes(rt *httpx.Router) {
	for _, route := range s.Table() {
		rt.Handle(route.Pattern, route.handler)
	}
}

// route is a call for servers that have signed it.
func route[In, Out any](s *Server, pattern string, action policy.Action, maxBytes int64, fn httpx.Func[peer, In, Out]) Route {
	return Route{pattern, action, signed(s, action, maxBytes, fn)}
}

// openRoute is a call that needs no signature.
func openRoute[In, Out any](s *Server, pattern string, maxBytes int64, fn httpx.Func[httpx.None, In, Out]) Route {
	return Route{pattern, policy.ActionNone, open(s, maxBytes, fn)}
}

// Table returns every call, in the order of the specification.
//
// https://spec.matrix.org/v1.19/server-server-api/
func (s *Server) Table() []Route {
	return []Route{
		openRoute(s, "GET "+v1+"/version", maxBody, s.version),
		openRoute(s, "GET "+v1+"/openid/userinfo", maxBody, s.userInfo),
		openRoute(s, "GET "+keys+"/server", maxBody, s.ownKeys),
		openRoute(s, "GET "+keys+"/server/{keyID}", maxBody, s.ownKeys), // of before version 1.6
		openRoute(s, "POST "+keys+"/query", maxQuestion, s.queryKeys),
		openRoute(s, "GET "+keys+"/query/{serverName}", maxQuestion, s.queryServerKeys),
		openRoute(s, "GET "+keys+"/query/{serverName}/{keyID}", maxQuestion, s.queryServerKeys),

		route(s, "PUT "+v1+"/send/{txnID}", policy.ActionFederateIn, maxTransaction, s.send),

		route(s, "GET "+v1+"/event_auth/{roomID}/{eventID}", policy.ActionFederateIn, maxTransaction, s.eventAuth),
		route(s, "GET "+v1+"/backfill/{roomID}", policy.ActionFederateIn, maxTransaction, s.backfill),
		route(s, "POST "+v1+"/get_missing_events/{roomID}", policy.ActionFederateIn, maxTransaction, s.missingEvents),
		route(s, "GET "+v1+"/state/{roomID}", policy.ActionFederateIn, maxTransaction, s.state),
		route(s, "GET "+v1+"/state_ids/{roomID}", policy.ActionFederateIn, maxTransaction, s.stateIDs),
		route(s, "GET "+v1+"/event/{eventID}", policy.ActionFederateIn, maxBody, s.event),
		route(s, "GET "+v1+"/timestamp_to_event/{roomID}", policy.ActionFederateIn, maxBody, s.timestampToEvent),

		route(s, "GET "+v1+"/make_join/{roomID}/{userID}", policy.ActionJoin, maxBody, s.makeJoin),
		route(s, "PUT "+v1+"/send_join/{roomID}/{eventID}", policy.ActionJoin, maxTransaction, s.sendJoinV1), // of before version 1.18
		route(s, "PUT "+v2+"/send_join/{roomID}/{eventID}", policy.ActionJoin, maxTransaction, s.sendJoin),
		route(s, "GET "+v1+"/make_knock/{roomID}/{userID}", policy.ActionKnock, maxBody, s.makeKnock),
		route(s, "PUT "+v1+"/send_knock/{roomID}/{eventID}", policy.ActionKnock, maxBody, s.sendKnock),
		route(s, "PUT "+v1+"/invite/{roomID}/{eventID}", policy.ActionInvite, maxBody, s.inviteV1),
		route(s, "PUT "+v2+"/invite/{roomID}/{eventID}", policy.ActionInvite, maxBody, s.invite),
		route(s, "PUT "+v1+"/exchange_third_party_invite/{roomID}", policy.ActionInvite, maxBody, s.exchangeThirdPartyInvite),
		route(s, "GET "+v1+"/make_leave/{roomID}/{userID}", policy.ActionLeave, maxBody, s.makeLeave),
		route(s, "PUT "+v1+"/send_leave/{roomID}/{eventID}", policy.ActionLeave, maxBody, s.sendLeaveV1), // of before version 1.18
		route(s, "PUT "+v2+"/send_leave/{roomID}/{eventID}", policy.ActionLeave, maxBody, s.sendLeave),

		route(s, "GET "+v1+"/query/profile", policy.ActionReadProfile, maxBody, s.queryProfile),
		route(s, "GET "+v1+"/query/directory", policy.ActionFederateIn, maxBody, s.queryDirectory),
		route(s, "GET "+v1+"/publicRooms", policy.ActionListPublicRooms, maxBody, s.publicRooms),
		route(s, "POST "+v1+"/publicRooms", policy.ActionListPublicRooms, maxBody, s.searchPublicRooms),
		route(s, "GET "+v1+"/hierarchy/{roomID}", policy.ActionFederateIn, maxBody, s.hierarchy), // each room is judged
		route(s, "GET "+v1+"/user/devices/{userID}", policy.ActionDeviceKeys, maxBody, s.userDevices),
		route(s, "POST "+v1+"/user/keys/query", policy.ActionDeviceKeys, maxBody, s.queryDeviceKeys),
		route(s, "POST "+v1+"/user/keys/claim", policy.ActionDeviceKeys, maxBody, s.claimKeys),

		route(s, "GET "+v1+"/media/download/{mediaID}", policy.ActionReadMedia, maxBody, s.downloadMedia),
		route(s, "GET "+v1+"/media/thumbnail/{mediaID}", policy.ActionReadMedia, maxBody, s.thumbnailMedia),
	}
}
