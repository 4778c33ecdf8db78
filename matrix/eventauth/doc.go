// Package eventauth decides whether an event may be in a room: the
// authorisation rules of room versions 1 to 12, the selection of the events
// they look at, and the power levels.
//
// It is pure. It looks at the event, at the state it is given and at nothing
// else, so the same call serves the checks against the auth events, against
// the state before the event and against the current state.
//
// Signatures of events, and with them the signature that a restricted join
// needs of the authorising user's server, are verified before by
// event.VerifySignatures. The only signature that is checked here is the one
// of an identity server in a third-party invite, which is part of the rules.
//
// https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules
package eventauth
