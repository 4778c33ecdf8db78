-- A device of an account that no client runs: it collects messages until one
-- takes it over. data is what only a client can read. The device itself is in
-- devices, and once that is gone this row says nothing any more.
CREATE TABLE dehydrated_devices (
	user_id   TEXT NOT NULL PRIMARY KEY,
	device_id TEXT NOT NULL,
	data      TEXT NOT NULL
);

-- Whether a user follows a thread. subscribed is 0 for one that they followed
-- once: what they had seen by then does not make them follow it again.
CREATE TABLE thread_subscriptions (
	user_id    TEXT     NOT NULL,
	room_id    TEXT     NOT NULL,
	root_id    TEXT     NOT NULL,
	subscribed SMALLINT NOT NULL,
	automatic  SMALLINT NOT NULL,
	pos        BIGINT   NOT NULL, -- of the last change
	PRIMARY KEY (user_id, room_id, root_id)
);
CREATE UNIQUE INDEX thread_subscriptions_pos ON thread_subscriptions (pos);
CREATE INDEX thread_subscriptions_user ON thread_subscriptions (user_id, pos);
