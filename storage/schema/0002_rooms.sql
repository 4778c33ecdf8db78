-- A room that this server has heard of. One that is known by an invitation or
-- a knock alone has version 0, no tips and no state.
-- version goes up by one with every live event, so that a writer who prepared
-- against an older state finds out when it commits.
CREATE TABLE rooms (
	room_nid     BIGINT NOT NULL PRIMARY KEY,
	room_id      TEXT   NOT NULL UNIQUE,
	room_version TEXT   NOT NULL,
	version      BIGINT NOT NULL,
	tips         TEXT   NOT NULL, -- the forward extremities: a JSON list of event IDs
	depth        BIGINT NOT NULL, -- the greatest depth of a live event
	head_pos     BIGINT NOT NULL, -- the position of the last live event
	first_pos    BIGINT NOT NULL, -- positions of backfilled events go down from here, 0 at first
	joined       BIGINT NOT NULL, -- how many members are joined
	invited      BIGINT NOT NULL, -- how many are invited
	published    SMALLINT NOT NULL -- 1: in the room directory
);
CREATE INDEX rooms_published ON rooms (joined DESC, room_id) WHERE published = 1;

-- An event. status: 1 accepted, 2 soft-failed, 3 rejected, 4 outlier (known,
-- but not where it stands in the room). pos is its place in the room: above 0
-- the position in the log at which it was received, below 0 for one that was
-- backfilled, 0 for an outlier. json is the PDU without unsigned.
-- snapshot_nid is the state before it where that is not the state of the room
-- at pos. outgoing is 1 where this server sends it to others: it is of a local
-- user, or was let in for another server.
CREATE TABLE events (
	event_nid        BIGINT   NOT NULL PRIMARY KEY,
	event_id         TEXT     NOT NULL UNIQUE,
	room_nid         BIGINT   NOT NULL,
	pos              BIGINT   NOT NULL,
	status           SMALLINT NOT NULL,
	type             TEXT     NOT NULL,
	state_key        TEXT,
	sender           TEXT     NOT NULL,
	depth            BIGINT   NOT NULL,
	origin_server_ts BIGINT   NOT NULL,
	snapshot_nid     BIGINT,
	outgoing         SMALLINT NOT NULL,
	redacted_by      TEXT,
	reason           TEXT     NOT NULL, -- why it was soft-failed or rejected
	json             TEXT     NOT NULL
);
CREATE INDEX events_timeline ON events (room_nid, pos) WHERE status = 1;
CREATE INDEX events_log ON events (pos) WHERE status = 1 AND pos > 0;
CREATE INDEX events_outgoing ON events (pos) WHERE outgoing = 1;

-- The state of a room now.
CREATE TABLE current_state (
	room_nid  BIGINT NOT NULL,
	type      TEXT   NOT NULL,
	state_key TEXT   NOT NULL,
	event_nid BIGINT NOT NULL,
	PRIMARY KEY (room_nid, type, state_key)
);

-- What changed in the state of a room at a position. The state at a position
-- is the state now with the deltas after it undone.
CREATE TABLE state_delta (
	room_nid  BIGINT NOT NULL,
	pos       BIGINT NOT NULL,
	type      TEXT   NOT NULL,
	state_key TEXT   NOT NULL,
	old_nid   BIGINT, -- null: there was none
	new_nid   BIGINT, -- null: there is none any more
	PRIMARY KEY (room_nid, pos, type, state_key)
);
CREATE INDEX state_delta_by_key ON state_delta (room_nid, type, state_key, pos);

-- The state before an event of a fork: the state of the room at base_pos,
-- changed by entries, a JSON list of [type, state_key, event_nid or 0].
CREATE TABLE state_snapshots (
	snapshot_nid BIGINT NOT NULL PRIMARY KEY,
	room_nid     BIGINT NOT NULL,
	base_pos     BIGINT NOT NULL,
	entries      TEXT   NOT NULL
);

-- The membership of a user now: of the current state, and of invitations and
-- knocks to rooms whose state we do not have (stripped is then what the other
-- server told, a JSON list).
CREATE TABLE memberships (
	room_nid   BIGINT   NOT NULL,
	user_id    TEXT     NOT NULL,
	server     TEXT     NOT NULL,
	membership TEXT     NOT NULL,
	event_nid  BIGINT   NOT NULL,
	pos        BIGINT   NOT NULL, -- when it became so
	forgotten  SMALLINT NOT NULL,
	stripped   TEXT,
	PRIMARY KEY (room_nid, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id, membership);
CREATE INDEX memberships_by_server ON memberships (room_nid, membership, server);
CREATE INDEX memberships_log ON memberships (pos);

-- Events that accepted events follow and that have no place here: where
-- history can be asked for. depth is that of one which follows.
CREATE TABLE backward_edges (
	room_nid BIGINT NOT NULL,
	event_id TEXT   NOT NULL,
	depth    BIGINT NOT NULL,
	PRIMARY KEY (room_nid, event_id)
);

-- What a client's transaction ID became, so that a repeated request sends
-- nothing twice.
CREATE TABLE transactions (
	user_id    TEXT   NOT NULL,
	device_id  TEXT   NOT NULL,
	txn_id     TEXT   NOT NULL,
	event_id   TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (user_id, device_id, txn_id)
);
CREATE INDEX transactions_by_event ON transactions (event_id);

CREATE TABLE aliases (
	alias      TEXT   NOT NULL PRIMARY KEY,
	room_id    TEXT   NOT NULL,
	creator    TEXT   NOT NULL,
	created_at BIGINT NOT NULL
);
CREATE INDEX aliases_by_room ON aliases (room_id);

-- The newest receipt of a user in a room, of a type, in a thread ("" for one
-- that is in none).
CREATE TABLE receipts (
	room_nid     BIGINT NOT NULL,
	user_id      TEXT   NOT NULL,
	receipt_type TEXT   NOT NULL,
	thread_id    TEXT   NOT NULL,
	event_id     TEXT   NOT NULL,
	ts           BIGINT NOT NULL,
	pos          BIGINT NOT NULL,
	PRIMARY KEY (room_nid, user_id, receipt_type, thread_id)
);
CREATE INDEX receipts_log ON receipts (pos);

-- A redaction whose event has not come yet.
CREATE TABLE pending_redactions (
	room_nid     BIGINT NOT NULL,
	target_id    TEXT   NOT NULL,
	redaction_id TEXT   NOT NULL,
	PRIMARY KEY (room_nid, target_id, redaction_id)
);
