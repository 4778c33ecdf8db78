-- An event says in its content that it relates to another one. Whether it
-- counts is told by its own row: what is not accepted, or was redacted, does
-- not. The other event need not be known, nor be of this room.
CREATE TABLE relations (
	event_nid BIGINT NOT NULL PRIMARY KEY, -- the one that relates
	room_nid  BIGINT NOT NULL,
	target_id TEXT   NOT NULL,
	rel_type  TEXT   NOT NULL,
	type      TEXT   NOT NULL -- of the one that relates
);
CREATE INDEX relations_by_target ON relations (room_nid, target_id, rel_type);
CREATE INDEX relations_threads ON relations (room_nid, target_id) WHERE rel_type = 'm.thread';
