-- Of what members are notified, and what they have not read.

-- notice is which of the default push rules notifies everybody in the room of
-- the event, 0: none (see roomserver). thread_id is the root of the thread
-- that the event is in, '' for the main timeline.
ALTER TABLE events ADD COLUMN notice    SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN thread_id TEXT     NOT NULL DEFAULT '';
CREATE INDEX events_notices ON events (room_nid, pos, notice, sender) WHERE notice > 0 AND thread_id = '';
CREATE INDEX events_thread_notices ON events (room_nid, pos, notice, sender) WHERE notice > 0 AND thread_id <> '';
-- Sending is reading: the last events of a user of this server in a room.
CREATE INDEX events_own ON events (room_nid, sender, pos, thread_id) WHERE outgoing = 1;

-- since is from when on the membership has been what it is, whatever else of
-- it has changed.
ALTER TABLE memberships ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
UPDATE memberships SET since = pos;

-- What an event is for one user, where their push rules say something else of
-- it than what they say of every event with such a notice: they are mentioned,
-- it has a word of theirs.
CREATE TABLE notices (
	user_id   TEXT     NOT NULL,
	room_nid  BIGINT   NOT NULL,
	pos       BIGINT   NOT NULL,
	event_nid BIGINT   NOT NULL,
	thread_id TEXT     NOT NULL,
	notice    SMALLINT NOT NULL, -- of the event
	notify    SMALLINT NOT NULL,
	highlight SMALLINT NOT NULL,
	PRIMARY KEY (user_id, room_nid, pos)
);
CREATE INDEX notices_by_event ON notices (event_nid);
CREATE INDEX notices_by_user ON notices (user_id, pos);

-- Where an application wants to hear of notifications. data and the rest are
-- kept as the client gave them.
CREATE TABLE pushers (
	user_id      TEXT   NOT NULL,
	app_id       TEXT   NOT NULL,
	pushkey      TEXT   NOT NULL,
	device_id    TEXT   NOT NULL, -- whose logout removes it
	content      TEXT   NOT NULL, -- the pusher as clients see it: a JSON object
	created      BIGINT NOT NULL,
	PRIMARY KEY (user_id, app_id, pushkey)
);
CREATE INDEX pushers_by_key ON pushers (app_id, pushkey);
