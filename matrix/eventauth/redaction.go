package eventauth

// checkRedaction is rule 11 of versions 1 and 2. Later versions let a
// redaction pass like any event and decide when it is applied.
//
// https://spec.matrix.org/v1.19/rooms/v1/#authorisation-rules
func (c *check) checkRedaction() error {
	power, err := c.levels()
	if err != nil {
		return err
	}
	if power.User(c.e.Sender()) >= power.Redact() { // 11.1
		return nil
	}
	if server := c.e.Redacts().Server(); server != "" && server == c.e.ID().Server() { // 11.2
		return nil
	}
	return c.deny(c.n.redaction+".3", "redacting events of others needs power level %d", power.Redact())
}
