package eventauth

import (
	"fmt"

	"beffroi/matrix"
)

// NotAllowed is the refusal of an event by an authorisation rule. It unwraps
// to the *matrix.Error that [NotAllowed.Answer] returns, so a client that
// tried to send the event sees 403 M_FORBIDDEN with the reason.
//
// https://spec.matrix.org/v1.19/server-server-api/#rejection
type NotAllowed struct {
	// Version is the room version whose numbering Rule follows.
	Version matrix.RoomVersion
	// Rule is the number of the rule in the text of that version, such as
	// "5.3.2".
	Rule string
	// Reason says in English what was missing. It names no secret.
	Reason string
}

// Error makes *NotAllowed an error. The text is for logs.
func (n *NotAllowed) Error() string {
	return fmt.Sprintf("auth rule %s of room version %s: %s", n.Rule, n.Version, n.Reason)
}

// Answer returns what a client is told.
func (n *NotAllowed) Answer() *matrix.Error { return matrix.Forbidden("%s", n.Reason) }

// Unwrap returns the answer, for errors.AsType.
func (n *NotAllowed) Unwrap() error { return n.Answer() }
