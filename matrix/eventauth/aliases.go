package eventauth

import "beffroi/matrix"

// checkAliases is rule 4 of versions 1 to 5: a server may say which aliases
// it has for the room, whether or not the sender is in it.
//
// https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules
func (c *check) checkAliases() error {
	key, isState := c.e.StateKey()
	if !isState { // 4.1
		return c.deny(c.n.aliases+".1", "m.room.aliases without a state key")
	}
	if matrix.ServerName(key) != c.e.Sender().Server() { // 4.2
		return c.deny(c.n.aliases+".2", "the aliases are another server's")
	}
	return nil // 4.3
}
