-- The identity keys of a device of this server, with its own signature.
CREATE TABLE device_keys (
	user_id   TEXT   NOT NULL,
	device_id TEXT   NOT NULL,
	json      TEXT   NOT NULL,
	PRIMARY KEY (user_id, device_id)
);

-- One-time keys that nobody has claimed, in the order in which they came. A
-- slot is the user, the device and the algorithm, with line feeds between, so
-- that one query claims for hundreds of devices.
CREATE TABLE one_time_keys (
	pos    BIGINT NOT NULL PRIMARY KEY,
	slot   TEXT   NOT NULL,
	key_id TEXT   NOT NULL,
	json   TEXT   NOT NULL
);
CREATE UNIQUE INDEX one_time_keys_slot ON one_time_keys (slot, key_id);
CREATE INDEX one_time_keys_next ON one_time_keys (slot, pos);

-- The key that is given when the one-time keys of a slot have run out.
CREATE TABLE fallback_keys (
	slot   TEXT     NOT NULL PRIMARY KEY,
	key_id TEXT     NOT NULL,
	json   TEXT     NOT NULL,
	used   SMALLINT NOT NULL
);

-- One-time keys that were claimed lately: a client that repeats an upload must
-- not bring them back.
CREATE TABLE claimed_keys (
	slot   TEXT   NOT NULL,
	key_id TEXT   NOT NULL,
	at     BIGINT NOT NULL,
	PRIMARY KEY (slot, key_id)
);
CREATE INDEX claimed_keys_at ON claimed_keys (at);

-- The number of keys of a device went up or down.
CREATE TABLE key_counts (
	pos       BIGINT NOT NULL PRIMARY KEY,
	user_id   TEXT   NOT NULL,
	device_id TEXT   NOT NULL
);

-- Cross-signing keys of accounts, ours and remote ones.
CREATE TABLE cross_signing_keys (
	user_id    TEXT NOT NULL,
	usage      TEXT NOT NULL, -- master, self_signing or user_signing
	public_key TEXT NOT NULL,
	json       TEXT NOT NULL,
	PRIMARY KEY (user_id, usage)
);

-- A verified signature by one of our accounts on a device or a master key.
CREATE TABLE key_signatures (
	target_user TEXT NOT NULL,
	target_key  TEXT NOT NULL, -- a device ID or a public master key
	signer      TEXT NOT NULL,
	signer_key  TEXT NOT NULL, -- with its algorithm
	signature   TEXT NOT NULL,
	PRIMARY KEY (target_user, target_key, signer, signer_key)
);

-- The devices or cross-signing keys of an account, ours or remote, changed.
CREATE TABLE device_changes (
	pos       BIGINT NOT NULL PRIMARY KEY,
	user_id   TEXT   NOT NULL,
	device_id TEXT   NOT NULL, -- '' for the cross-signing keys
	only_for  TEXT   NOT NULL, -- who alone can see the change, or ''
	previous  BIGINT NOT NULL  -- the change of a device of the account before this one, 0 for none
);
CREATE INDEX device_changes_user ON device_changes (user_id, pos);

-- A message to a device of ours that it has not acknowledged.
CREATE TABLE to_device (
	pos       BIGINT NOT NULL PRIMARY KEY,
	user_id   TEXT   NOT NULL,
	device_id TEXT   NOT NULL,
	sender    TEXT   NOT NULL,
	type      TEXT   NOT NULL,
	content   TEXT   NOT NULL,
	at        BIGINT NOT NULL
);
CREATE INDEX to_device_device ON to_device (user_id, device_id, pos);
CREATE INDEX to_device_at ON to_device (at);

-- A sending that was done: of a client of ours (scope is the account and the
-- device) or of another server (scope is its name).
CREATE TABLE to_device_done (
	scope TEXT   NOT NULL,
	id    TEXT   NOT NULL,
	at    BIGINT NOT NULL,
	PRIMARY KEY (scope, id)
);
CREATE INDEX to_device_done_at ON to_device_done (at);

-- What we know of the devices of a remote account.
CREATE TABLE remote_lists (
	user_id   TEXT     NOT NULL PRIMARY KEY,
	stream_id BIGINT   NOT NULL, -- the newest update that is in the list
	stale     SMALLINT NOT NULL, -- an update was missed: ask before it is used
	at        BIGINT   NOT NULL
);
CREATE INDEX remote_lists_stale ON remote_lists (stale, at);

-- A device of such a list. json is '' where it has no keys.
CREATE TABLE remote_devices (
	user_id      TEXT NOT NULL,
	device_id    TEXT NOT NULL,
	display_name TEXT NOT NULL,
	json         TEXT NOT NULL,
	PRIMARY KEY (user_id, device_id)
);
