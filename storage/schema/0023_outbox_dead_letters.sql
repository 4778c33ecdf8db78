-- A message that another server has refused for good, and that was given up
-- so that what comes after it can go: one row is one event or one EDU.
CREATE TABLE outbox_dead_letters (
	pos         BIGINT NOT NULL PRIMARY KEY, -- when it was given up
	destination TEXT   NOT NULL,
	event_nid   BIGINT NOT NULL,             -- 0: an EDU
	edu         TEXT   NOT NULL,             -- '' for an event
	reason      TEXT   NOT NULL,
	at          BIGINT NOT NULL              -- ms
);
