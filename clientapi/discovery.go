package clientapi

import (
	"cmp"
	"context"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// specVersions are the versions of the specification that this server speaks.
// Clients look for single ones: each stands here, not only the newest.
var specVersions = []string{
	"r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "r0.6.1",
	"v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13",
}

// unstableFeatures are what this server has beyond those versions, or had
// before them.
var unstableFeatures = map[string]bool{
	"org.matrix.msc2285.stable":                      true, // private receipts
	"org.matrix.msc2432":                             true, // aliases of a room
	"org.matrix.msc3912":                             true, // redaction with relations
	"org.matrix.msc3440.stable":                      true, // threads
	"org.matrix.msc3827.stable":                      true, // the directory by type of room
	"org.matrix.msc4306":                             true, // thread subscriptions
	"org.matrix.msc4308":                             true, // the same in sliding sync
	"org.matrix.simplified_msc3575":                  true, // sliding sync
	"org.matrix.msc3882":                             true, // login tokens
	"org.matrix.msc4155":                             true, // filters for invitations
	"org.matrix.msc4380":                             true, // no invitations
	"org.matrix.msc4380.stable":                      true,
	"org.matrix.e2e_cross_signing":                   true,
	"uk.half-shot.msc2666.query_mutual_rooms":        true,
	"uk.half-shot.msc2666.query_mutual_rooms.stable": true,
	"uk.tcpip.msc4133":                               true, // extended profiles
	"uk.tcpip.msc4133.stable":                        true,
	"uk.timedout.msc4323":                            true, // lock and suspend
}

type versionsResponse struct {
	Versions         []string        `json:"versions"`
	UnstableFeatures map[string]bool `json:"unstable_features"`
}

// versions answers whoever asks, and whatever token they show: a client whose
// session has ended has to find that out by another call.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions
func (s *Server) versions(context.Context, *caller, *http.Request, httpx.None) (versionsResponse, error) {
	return versionsResponse{specVersions, unstableFeatures}, nil
}

// https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient
func (s *Server) wellKnownClient(context.Context, *caller, *http.Request, httpx.None) (map[string]any, error) {
	if s.PublicURL == "" {
		return nil, matrix.NotFound("This server does not say where clients find it")
	}
	return map[string]any{"m.homeserver": map[string]string{"base_url": s.PublicURL}}, nil
}

// https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
func (s *Server) wellKnownServer(context.Context, *caller, *http.Request, httpx.None) (map[string]string, error) {
	if s.FederationAddress == "" {
		return nil, matrix.NotFound("This server does not say where other servers find it")
	}
	return map[string]string{"m.server": s.FederationAddress}, nil
}

// Support says whom one turns to about a server, in the form of its document.
//
// https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport
type Support struct {
	Contacts []Contact `json:"contacts,omitempty"`
	Page     string    `json:"support_page,omitempty"`
}

// Contact is a person or a desk. One of the addresses may be "".
type Contact struct {
	Role     string        `json:"role"`
	MatrixID matrix.UserID `json:"matrix_id,omitempty"`
	Email    string        `json:"email_address,omitempty"`
}

// https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport
func (s *Server) wellKnownSupport(context.Context, *caller, *http.Request, httpx.None) (Support, error) {
	if s.Support.Page == "" && len(s.Support.Contacts) == 0 {
		return Support{}, matrix.NotFound("This server does not say whom to turn to")
	}
	return s.Support, nil
}

// wellKnownPolicyServer answers that this is no policy server: what the
// ministries agree on is in the policy document, which every server enforces
// itself.
//
// https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixpolicy_server
func (s *Server) wellKnownPolicyServer(context.Context, *caller, *http.Request, httpx.None) (httpx.None, error) {
	return httpx.None{}, matrix.NotFound("This is no policy server")
}

type enabled struct {
	Enabled bool `json:"enabled"`
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities
func (s *Server) capabilities(_ context.Context, who *caller, _ *http.Request, _ httpx.None) (map[string]any, error) {
	version := cmp.Or(s.Gate.RoomVersion(), s.DefaultVersion)
	available := make(map[matrix.RoomVersion]string)
	for _, known := range matrix.RoomVersions() {
		available[known] = "stable"
	}
	list := map[string]any{
		"m.room_versions":   map[string]any{"default": version, "available": available},
		"m.change_password": enabled{true},
		"m.set_displayname": enabled{true},
		"m.set_avatar_url":  enabled{true},
		"m.profile_fields":  enabled{true},
		"m.3pid_changes":    enabled{s.Accounts.Mailer != nil},
		"m.get_login_token": enabled{true},

		"m.forget_forced_upon_leave": enabled{false},

		"uk.tcpip.msc4133.profile_fields": enabled{true},
	}
	if who.Admin {
		list["m.account_moderation"] = map[string]bool{"lock": true, "suspend": true}
	}
	return map[string]any{"capabilities": list}, nil
}

// turnServer answers that there is none: calls go through a media server of
// their own.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
func (s *Server) turnServer(context.Context, *caller, *http.Request, httpx.None) (httpx.None, error) {
	return httpx.None{}, nil
}

// thirdPartyProtocols answers that no other network is bridged.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocols
func (s *Server) thirdPartyProtocols(context.Context, *caller, *http.Request, httpx.None) (httpx.None, error) {
	return httpx.None{}, nil
}

// noThirdParty answers that there is no such network, or nobody of one.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocolprotocol
func (s *Server) noThirdParty(context.Context, *caller, *http.Request, httpx.None) (httpx.None, error) {
	return httpx.None{}, matrix.NotFound("No other network is bridged here")
}

// passwordPolicy says what a password must be, as Tchap's clients ask it.
func (s *Server) passwordPolicy(context.Context, *caller, *http.Request, httpx.None) (map[string]int, error) {
	return map[string]int{"m.minimum_length": s.Accounts.MinPasswordLength}, nil
}
