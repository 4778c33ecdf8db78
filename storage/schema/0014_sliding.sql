-- What sliding sync has to know.

-- bump_pos is the position of the last event that people would call activity,
-- 0 for none: a list of rooms is sorted by it.
ALTER TABLE rooms ADD COLUMN bump_pos BIGINT NOT NULL DEFAULT 0;
UPDATE rooms SET bump_pos = COALESCE((SELECT MAX(e.pos) FROM events e
	WHERE e.room_nid = rooms.room_nid AND e.status = 1 AND e.pos > 0 AND e.type IN (
		'm.room.create', 'm.room.message', 'm.room.encrypted', 'm.sticker', 'm.call.invite', 'm.poll.start',
		'org.matrix.msc3381.poll.start', 'm.beacon_info', 'org.matrix.msc3672.beacon_info')), 0);

-- What a client has got over a connection, as of one answer. serial is in the
-- answer's pos and nobody can guess it. parent is the row that the request
-- named, 0 for the first of a connection: it stays until the client shows that
-- it has the answer, so that a lost one is made again. state is what
-- syncapi makes of it.
CREATE TABLE sliding_connections (
	serial    BIGINT NOT NULL PRIMARY KEY,
	parent    BIGINT NOT NULL,
	user_id   TEXT   NOT NULL,
	device_id TEXT   NOT NULL,
	conn_id   TEXT   NOT NULL,
	made      BIGINT NOT NULL,
	state     TEXT   NOT NULL
);
CREATE INDEX sliding_connections_device ON sliding_connections (user_id, device_id, conn_id);
CREATE INDEX sliding_connections_made ON sliding_connections (made);

-- Who has read up to an event.
CREATE INDEX receipts_by_event ON receipts (event_id);
