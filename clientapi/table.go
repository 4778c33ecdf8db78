package clientapi

import (
	"net/http"
	"slices"

	"beffroi/policy"
)

const (
	get    = http.MethodGet
	put    = http.MethodPut
	post   = http.MethodPost
	remove = http.MethodDelete
)

// table is every route: method, path, who may call, the action of the policy
// (or why there is none), and what it does.
func (s *Server) table() []route {
	return slices.Concat(s.aboutServer(), s.aboutAccounts(), s.aboutUsers(), s.aboutRooms(), s.aboutHistory(), s.aboutKeys(), s.aboutMedia(), s.aboutNews())
}

// unstable are the names of paths from before they were in the specification.
var unstable = map[string][]string{
	v3 + "/rooms/{roomID}/aliases":   {"/_matrix/client/unstable/org.matrix.msc2432/rooms/{roomID}/aliases"},
	v3 + "/profile/{userID}/{field}": {"/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userID}/{field}"},
	v3 + "/profile/{userID}":         {"/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userID}"},
	v1 + "/mutual_rooms":             {"/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"},
	v1 + "/login/get_token":          {"/_matrix/client/unstable/org.matrix.msc3882/login/token"},
	v1 + "/admin/lock/{userID}":      {"/_matrix/client/unstable/uk.timedout.msc4323/admin/lock/{userID}"},
	v1 + "/admin/suspend/{userID}":   {"/_matrix/client/unstable/uk.timedout.msc4323/admin/suspend/{userID}"},
	v1 + "/room_summary/{room}": {"/_matrix/client/unstable/im.nheko.summary/summary/{room}",
		"/_matrix/client/unstable/im.nheko.summary/rooms/{room}/summary"},
	v1 + "/rooms/{roomID}/timestamp_to_event": {"/_matrix/client/unstable/org.matrix.msc3030/rooms/{roomID}/timestamp_to_event"},
	v1 + "/rooms/{roomID}/hierarchy":          {"/_matrix/client/unstable/org.matrix.msc2946/rooms/{roomID}/hierarchy"},
}

func (s *Server) aboutServer() []route {
	return []route{
		{get, "/_matrix/client/versions", anyone, freePublic, do(s.versions)},
		{get, "/.well-known/matrix/client", anyone, freePublic, do(s.wellKnownClient)},
		{get, "/.well-known/matrix/server", anyone, freePublic, do(s.wellKnownServer)},
		{get, "/.well-known/matrix/support", anyone, freePublic, do(s.wellKnownSupport)},
		{get, "/.well-known/matrix/policy_server", anyone, freePublic, do(s.wellKnownPolicyServer)},
		{get, v3 + "/capabilities", session, freePublic, do(s.capabilities)},
		{get, v3 + "/voip/turnServer", session, freePublic, do(s.turnServer)},
		{get, v3 + "/thirdparty/protocols", session, freePublic, do(s.thirdPartyProtocols)},
		{get, v3 + "/thirdparty/protocol/{protocol}", session, freePublic, do(s.noThirdParty)},
		{get, v3 + "/thirdparty/location", session, freePublic, do(s.noThirdParty)},
		{get, v3 + "/thirdparty/location/{protocol}", session, freePublic, do(s.noThirdParty)},
		{get, v3 + "/thirdparty/user", session, freePublic, do(s.noThirdParty)},
		{get, v3 + "/thirdparty/user/{protocol}", session, freePublic, do(s.noThirdParty)},
		{get, v3 + "/password_policy", anyone, freePublic, do(s.passwordPolicy)},
		{get, "/_matrix/client/unstable/org.beffroi.policy/can", session, freeAsking, do(s.can)},
	}
}

func (s *Server) aboutUsers() []route {
	return []route{
		{get, v3 + "/profile/{userID}", inside, asks(policy.ActionReadProfile), do(s.profile)},
		{get, v3 + "/profile/{userID}/{field}", inside, asks(policy.ActionReadProfile), do(s.profileField)},
		{post, v3 + "/user/{userID}/openid/request_token", self, freeOwn, do(s.openIDToken)},

		{put, v3 + "/profile/{userID}/{field}", self, freeOwn, do(s.setProfileField)},
		{remove, v3 + "/profile/{userID}/{field}", self, freeOwn, do(s.deleteProfileField)},

		{post, v3 + "/user/{userID}/filter", self, freeOwn, do(s.addFilter)},
		{get, v3 + "/user/{userID}/filter/{filterID}", self, freeOwn, do(s.filter)},
		{get, v3 + "/user/{userID}/account_data/{type}", self, freeOwn, do(s.accountData)},
		{put, v3 + "/user/{userID}/account_data/{type}", self, freeOwn, do(s.setAccountData)},
		{get, v3 + "/user/{userID}/rooms/{roomID}/account_data/{type}", self, freeOwn, do(s.roomAccountData)},
		{put, v3 + "/user/{userID}/rooms/{roomID}/account_data/{type}", self, freeOwn, do(s.setRoomAccountData)},
		{get, v3 + "/user/{userID}/rooms/{roomID}/tags", self, freeOwn, do(s.tags)},
		{put, v3 + "/user/{userID}/rooms/{roomID}/tags/{tag}", self, freeOwn, do(s.setTag)},
		{remove, v3 + "/user/{userID}/rooms/{roomID}/tags/{tag}", self, freeOwn, do(s.deleteTag)},

		{get, v3 + "/pushrules", session, freeOwn, do(s.pushRules)},
		{get, v3 + "/pushrules/{$}", session, freeOwn, do(s.pushRules)},
		{get, v3 + "/pushrules/global", session, freeOwn, do(s.pushRulesGlobal)},
		{get, v3 + "/pushrules/global/{$}", session, freeOwn, do(s.pushRulesGlobal)},
		{get, v3 + "/pushrules/global/{kind}/{ruleID}", session, freeOwn, do(s.pushRule)},
		{put, v3 + "/pushrules/global/{kind}/{ruleID}", session, freeOwn, do(s.putPushRule)},
		{remove, v3 + "/pushrules/global/{kind}/{ruleID}", session, freeOwn, do(s.deletePushRule)},
		{get, v3 + "/pushrules/global/{kind}/{ruleID}/enabled", session, freeOwn, do(s.pushRuleEnabled)},
		{put, v3 + "/pushrules/global/{kind}/{ruleID}/enabled", session, freeOwn, do(s.setPushRuleEnabled)},
		{get, v3 + "/pushrules/global/{kind}/{ruleID}/actions", session, freeOwn, do(s.pushRuleActions)},
		{put, v3 + "/pushrules/global/{kind}/{ruleID}/actions", session, freeOwn, do(s.setPushRuleActions)},
	}
}

func (s *Server) aboutRooms() []route {
	return []route{
		{post, v3 + "/createRoom", session, asks(policy.ActionCreateRoom), do(s.createRoom)},
		{post, v3 + "/join/{room}", session, asks(policy.ActionJoin), do(s.join)},
		{post, v3 + "/rooms/{roomID}/join", session, asks(policy.ActionJoin), do(s.joinRoom)},
		{post, v3 + "/knock/{room}", session, asks(policy.ActionKnock), do(s.knock)},
		{post, v3 + "/rooms/{roomID}/invite", session, asks(policy.ActionInvite), do(s.invite)},
		{post, v3 + "/rooms/{roomID}/leave", session, asks(policy.ActionLeave), do(s.leave)},
		{post, v3 + "/rooms/{roomID}/forget", session, freeOwn, do(s.forget)},
		{post, v3 + "/rooms/{roomID}/kick", session, asks(policy.ActionKickBan), do(s.kick)},
		{post, v3 + "/rooms/{roomID}/ban", session, asks(policy.ActionKickBan), do(s.ban)},
		{post, v3 + "/rooms/{roomID}/unban", session, asks(policy.ActionKickBan), do(s.unban)},
		{post, v3 + "/rooms/{roomID}/upgrade", session, asks(policy.ActionUpgradeRoom), do(s.upgrade)},

		{post, v3 + "/rooms/{roomID}/report", session, freeReport, do(s.reportRoom)},
		{post, v3 + "/rooms/{roomID}/report/{eventID}", session, freeReport, do(s.reportEvent)},
		{post, v3 + "/users/{userID}/report", session, freeReport, do(s.reportUser)},

		{put, v3 + "/rooms/{roomID}/send/{type}/{txnID}", session, asks(policy.ActionSendMessage), do(s.send)},
		{put, v3 + "/rooms/{roomID}/redact/{eventID}/{txnID}", session, asks(policy.ActionSendMessage), do(s.redact)},
		{put, v3 + "/rooms/{roomID}/state/{type}", session, asks(policy.ActionSendState), do(s.sendState)},
		{put, v3 + "/rooms/{roomID}/state/{type}/{$}", session, asks(policy.ActionSendState), do(s.sendState)},
		{put, v3 + "/rooms/{roomID}/state/{type}/{stateKey}", session, asks(policy.ActionSendState), do(s.sendState)},
		{put, v3 + "/rooms/{roomID}/typing/{userID}", self, asks(policy.ActionEDU), do(s.typing)},
		{post, v3 + "/rooms/{roomID}/receipt/{receiptType}/{eventID}", session, asks(policy.ActionEDU), do(s.receipt)},
		{post, v3 + "/rooms/{roomID}/read_markers", session, asks(policy.ActionEDU), do(s.readMarkers)},

		{get, v3 + "/directory/room/{roomAlias}", anyone, freeName, do(s.resolveAlias)},
		{put, v3 + "/directory/room/{roomAlias}", session, asks(policy.ActionAlias), do(s.addAlias)},
		{remove, v3 + "/directory/room/{roomAlias}", session, asks(policy.ActionAlias), do(s.removeAlias)},
		{get, v3 + "/rooms/{roomID}/aliases", session, freeRead, do(s.aliases)},
		{get, v3 + "/directory/list/room/{roomID}", inside, asks(policy.ActionListPublicRooms), do(s.published)},
		{put, v3 + "/directory/list/room/{roomID}", session, asks(policy.ActionPublishRoom), do(s.publish)},
		{get, v3 + "/publicRooms", inside, asks(policy.ActionListPublicRooms), do(s.publicRooms)},
		{post, v3 + "/publicRooms", session, asks(policy.ActionListPublicRooms), do(s.searchPublicRooms)},
	}
}

// aboutHistory is what clients read.
//
// Divergence: the calls of before sync, which the specification has deprecated
// since its first release, are not there: GET /events, /events/{eventId},
// /initialSync and /rooms/{roomId}/initialSync. No client that this server is
// for makes them, and each would be a second way to read rooms that has to keep
// what the first keeps. Their answer is 404 M_UNRECOGNIZED.
func (s *Server) aboutHistory() []route {
	return []route{
		{get, v3 + "/sync", session, freeRead, do(s.sync)},
		{post, "/_matrix/client/v4/sync", session, freeRead, do(s.slidingSync)},
		{post, "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", session, freeRead, do(s.slidingSyncDeployed)},
		{get, v1 + "/mutual_rooms", session, freeOwn, do(s.mutualRooms)},
		{put, threadPath, session, freeOwn, do(s.followThread)},
		{get, threadPath, session, freeOwn, do(s.followsThread)},
		{remove, threadPath, session, freeOwn, do(s.leaveThread)},
		{get, threadsPath, session, freeOwn, do(s.threadSubscriptions)},
		{get, v3 + "/joined_rooms", session, freeOwn, do(s.joinedRooms)},
		{get, v3 + "/rooms/{roomID}/messages", session, freeRead, do(s.messages)},
		{get, v3 + "/rooms/{roomID}/event/{eventID}", session, freeRead, do(s.event)},
		{get, v3 + "/rooms/{roomID}/context/{eventID}", session, freeRead, do(s.eventContext)},
		{get, v1 + "/rooms/{roomID}/relations/{eventID}", session, freeRead, do(s.relations)},
		{get, v1 + "/rooms/{roomID}/relations/{eventID}/{relType}", session, freeRead, do(s.relations)},
		{get, v1 + "/rooms/{roomID}/relations/{eventID}/{relType}/{type}", session, freeRead, do(s.relations)},
		{get, v1 + "/rooms/{roomID}/threads", session, freeRead, do(s.threads)},
		{get, v1 + "/rooms/{roomID}/timestamp_to_event", session, freeRead, do(s.timestampToEvent)},
		{get, v1 + "/rooms/{roomID}/hierarchy", session, freeFind, do(s.hierarchy)},
		{get, v1 + "/room_summary/{room}", inside, freeFind, do(s.roomSummary)},
		{get, v3 + "/rooms/{roomID}/state", session, freeRead, do(s.state)},
		{get, v3 + "/rooms/{roomID}/state/{type}", session, freeRead, do(s.stateEvent)},
		{get, v3 + "/rooms/{roomID}/state/{type}/{$}", session, freeRead, do(s.stateEvent)},
		{get, v3 + "/rooms/{roomID}/state/{type}/{stateKey}", session, freeRead, do(s.stateEvent)},
		{get, v3 + "/rooms/{roomID}/members", session, freeRead, do(s.members)},
		{get, v3 + "/rooms/{roomID}/joined_members", session, freeRead, do(s.joinedMembers)},
	}
}

func (s *Server) aboutKeys() []route {
	return []route{
		{post, v3 + "/keys/upload", session, asks(policy.ActionDeviceKeys), do(s.uploadKeys)},
		{post, v3 + "/keys/upload/{deviceID}", session, asks(policy.ActionDeviceKeys), do(s.uploadKeys)},
		{post, v3 + "/keys/query", session, asks(policy.ActionDeviceKeys), do(s.queryKeys)},
		{post, v3 + "/keys/claim", session, asks(policy.ActionDeviceKeys), do(s.claimKeys)},
		{get, v3 + "/keys/changes", session, asks(policy.ActionDeviceKeys), do(s.keyChanges)},
		{post, v3 + "/keys/device_signing/upload", session, asks(policy.ActionDeviceKeys), do(s.uploadSigningKeys)},
		{post, v3 + "/keys/signatures/upload", session, asks(policy.ActionDeviceKeys), do(s.uploadSignatures)},
		{put, dehydratedPath, session, asks(policy.ActionDeviceKeys), do(s.dehydrate)},
		{get, dehydratedPath, session, freeOwn, do(s.dehydrated)},
		{remove, dehydratedPath, session, freeOwn, do(s.removeDehydrated)},
		{get, dehydratedPath + "/{deviceID}/events", session, freeOwn, do(s.dehydratedEventsGet)},
		{post, dehydratedPath + "/{deviceID}/events", session, freeOwn, do(s.dehydratedEventsPost)},
		{put, v3 + "/sendToDevice/{type}/{txnID}", session, asks(policy.ActionSendToDevice), do(s.sendToDevice)},

		{post, v3 + "/room_keys/version", session, freeOwn, do(s.createBackup)},
		{get, v3 + "/room_keys/version", session, freeOwn, do(s.backup)},
		{get, v3 + "/room_keys/version/{version}", session, freeOwn, do(s.backup)},
		{put, v3 + "/room_keys/version/{version}", session, freeOwn, do(s.setBackup)},
		{remove, v3 + "/room_keys/version/{version}", session, freeOwn, do(s.deleteBackup)},
		{put, v3 + "/room_keys/keys", session, freeOwn, do(s.backUp)},
		{get, v3 + "/room_keys/keys", session, freeOwn, do(s.backedUp)},
		{remove, v3 + "/room_keys/keys", session, freeOwn, do(s.removeBackedUp)},
		{put, v3 + "/room_keys/keys/{roomID}", session, freeOwn, do(s.backUpRoom)},
		{get, v3 + "/room_keys/keys/{roomID}", session, freeOwn, do(s.backedUp)},
		{remove, v3 + "/room_keys/keys/{roomID}", session, freeOwn, do(s.removeBackedUp)},
		{put, v3 + "/room_keys/keys/{roomID}/{sessionID}", session, freeOwn, do(s.backUpSession)},
		{get, v3 + "/room_keys/keys/{roomID}/{sessionID}", session, freeOwn, do(s.backedUp)},
		{remove, v3 + "/room_keys/keys/{roomID}/{sessionID}", session, freeOwn, do(s.removeBackedUp)},
	}
}
