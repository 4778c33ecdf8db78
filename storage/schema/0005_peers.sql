-- A row is a public key of another server, once verified and kept for ever:
-- old events are signed with old keys. expired is 1 for a key that its server
-- lists as old; valid_until is then when it stopped using it.
CREATE TABLE server_keys (
	server      TEXT     NOT NULL,
	key_id      TEXT     NOT NULL,
	public_key  TEXT     NOT NULL,
	valid_until BIGINT   NOT NULL,
	expired     SMALLINT NOT NULL,
	PRIMARY KEY (server, key_id)
);

-- A row is the last signed answer of a server about its keys, as we pass it
-- on where we are asked as a notary.
CREATE TABLE server_key_answers (
	server      TEXT   NOT NULL PRIMARY KEY,
	answer      TEXT   NOT NULL,
	valid_until BIGINT NOT NULL,
	fetched_at  BIGINT NOT NULL
);

-- A row is a transaction of another server. It stays, without its body, after
-- it was worked through, so that it is known when it comes again.
CREATE TABLE inbox (
	origin      TEXT     NOT NULL,
	txn_id      TEXT     NOT NULL,
	pos         BIGINT   NOT NULL,
	received_at BIGINT   NOT NULL,
	done        SMALLINT NOT NULL,
	body        TEXT     NOT NULL,
	PRIMARY KEY (origin, txn_id)
);
CREATE UNIQUE INDEX inbox_waiting ON inbox (pos) WHERE done = 0;
CREATE INDEX inbox_old ON inbox (received_at) WHERE done = 1;

-- A row is an event of another server that was given up, for an operator to
-- look at: we could not handle it, or could not get what it refers to.
CREATE TABLE dead_letters (
	pos     BIGINT NOT NULL PRIMARY KEY,
	origin  TEXT   NOT NULL,
	txn_id  TEXT   NOT NULL,
	room_id TEXT   NOT NULL,
	reason  TEXT   NOT NULL,
	at      BIGINT NOT NULL,
	body    TEXT   NOT NULL
);

-- A row is another server to which something was sent or shall be. txn_id is
-- the transaction under way, '' for none: it has the rows of the outbox up to
-- these two positions, and is repeated until the server has answered 200.
CREATE TABLE destinations (
	destination TEXT   NOT NULL PRIMARY KEY,
	txn_id      TEXT   NOT NULL,
	txn_pdus_to BIGINT NOT NULL,
	txn_edus_to BIGINT NOT NULL,
	failures    BIGINT NOT NULL,
	retry_at    BIGINT NOT NULL
);

-- A row is an event that waits for a server. pos is its place in the log.
CREATE TABLE outbox_pdus (
	destination TEXT   NOT NULL,
	pos         BIGINT NOT NULL,
	event_nid   BIGINT NOT NULL,
	PRIMARY KEY (destination, pos)
);

-- A row is a message that is no event and waits for a server. Of those with
-- the same edu_key, unless that is '', only the newest is worth sending.
CREATE TABLE outbox_edus (
	destination TEXT   NOT NULL,
	pos         BIGINT NOT NULL,
	edu_key     TEXT   NOT NULL,
	edu         TEXT   NOT NULL,
	PRIMARY KEY (destination, pos)
);
CREATE INDEX outbox_edus_pos ON outbox_edus (pos);
CREATE INDEX outbox_edus_key ON outbox_edus (destination, edu_key) WHERE edu_key <> '';
