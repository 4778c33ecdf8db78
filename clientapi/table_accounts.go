package clientapi

import (
	"beffroi/account"
	"beffroi/policy"
)

// freeRenewal is why the link of a mail is no action: it prolongs what is.
var freeRenewal = free("who has the mail may keep the account, which the policy judges as before")

func (s *Server) aboutAccounts() []route {
	return []route{
		{get, v3 + "/login", anyone, freePublic, do(s.loginFlows)},
		{post, v3 + "/login", anyone, asks(policy.ActionLogin), do(s.login)},
		{post, v1 + "/login/get_token", session, freeOwn, do(s.loginToken)},
		{post, v3 + "/refresh", anyone, asks(policy.ActionLogin), do(s.refresh)},
		{post, v3 + "/logout", leaving, freeOwn, do(s.logout)},
		{post, v3 + "/logout/all", leaving, freeOwn, do(s.logoutAll)},
		{post, v3 + "/register", anyone, asks(policy.ActionRegister), do(s.register)},
		{get, v3 + "/register/available", anyone, asks(policy.ActionRegister), do(s.registerAvailable)},
		{get, v1 + "/register/m.login.registration_token/validity", anyone, asks(policy.ActionRegister), do(s.registrationToken)},
		{post, v3 + "/register/email/requestToken", anyone, asks(policy.ActionRegister), do(s.registerEmail)},
		{post, v3 + "/register/msisdn/requestToken", anyone, asks(policy.ActionRegister), do(s.noPhone)},
		{get, "/_synapse/admin/v1/register", anyone, asks(policy.ActionRegister), do(s.registrationNonce)},
		{post, "/_synapse/admin/v1/register", anyone, asks(policy.ActionRegister), do(s.registerBySecret)},
		{post, submitTokenPath, anyone, asks(policy.ActionRegister), do(s.submitToken)},
		{get, account.EmailLinkPath, anyone, asks(policy.ActionRegister), do(s.mailLinkAsk)},
		{post, account.EmailLinkPath, anyone, asks(policy.ActionRegister), do(s.mailLinkDone)},

		{post, "/_matrix/client/unstable/account_validity/send_mail", leaving, freeOwn, do(s.sendRenewal)},
		{post, "/_synapse/client/email_account_validity/send_mail", leaving, freeOwn, do(s.sendRenewal)},
		{get, account.RenewalPath, anyone, freeRenewal, do(s.renewalAsk)},
		{post, account.RenewalPath, anyone, freeRenewal, do(s.renewalDone)},
		{get, "/_matrix/identity/api/v1/info", anyone, asks(policy.ActionRegister), do(s.addressInfo)},

		{get, v3 + "/account/whoami", session, freeOwn, do(s.whoami)},
		{post, v3 + "/account/deactivate", maybe, freeOwn, do(s.deactivate)},
		{get, v3 + "/account/3pid", session, freeOwn, do(s.threepids)},
		{post, v3 + "/account/3pid", session, freeOwn, do(s.noIdentityServer)},
		{post, v3 + "/account/3pid/add", session, freeOwn, do(s.addThreepid)},
		{post, v3 + "/account/3pid/bind", session, freeOwn, do(s.bindThreepid)},
		{post, v3 + "/account/3pid/delete", session, freeOwn, do(s.deleteThreepid)},
		{post, v3 + "/account/3pid/unbind", session, freeOwn, do(s.unbindThreepid)},
		{post, v3 + "/account/3pid/email/requestToken", maybe, asks(policy.ActionRegister), do(s.contactEmail)},
		{post, v3 + "/account/3pid/msisdn/requestToken", anyone, asks(policy.ActionRegister), do(s.noPhone)},
		{post, v3 + "/account/password", maybe, asks(policy.ActionLogin), do(s.changePassword)},
		{post, v3 + "/account/password/email/requestToken", anyone, asks(policy.ActionLogin), do(s.passwordEmail)},
		{post, v3 + "/account/password/msisdn/requestToken", anyone, asks(policy.ActionLogin), do(s.noPhone)},

		{get, v3 + "/admin/whois/{userID}", selfOrAdmin, freeAdmin, do(s.whois)},
		{get, v1 + "/admin/lock/{userID}", admin, freeAdmin, do(s.locked)},
		{put, v1 + "/admin/lock/{userID}", admin, freeAdmin, do(s.lock)},
		{get, v1 + "/admin/suspend/{userID}", admin, freeAdmin, do(s.suspended)},
		{put, v1 + "/admin/suspend/{userID}", admin, freeAdmin, do(s.suspend)},

		{get, v3 + "/devices", session, freeOwn, do(s.devices)},
		{get, v3 + "/devices/{deviceID}", session, freeOwn, do(s.device)},
		{put, v3 + "/devices/{deviceID}", session, freeOwn, do(s.renameDevice)},
		{remove, v3 + "/devices/{deviceID}", session, freeOwn, do(s.deleteDevice)},
		{post, v3 + "/delete_devices", session, freeOwn, do(s.deleteDevices)},
	}
}
