-- Somebody who can be found: an account of this server, or somebody of another
-- who is in a room with one.
CREATE TABLE people (
	user_id      TEXT     NOT NULL PRIMARY KEY,
	display_name TEXT     NOT NULL,
	avatar_url   TEXT     NOT NULL,
	words        TEXT     NOT NULL -- of the name and the ID, folded, separated by spaces
);

-- What a word of somebody's name begins with, up to a length.
CREATE TABLE people_prefixes (
	prefix  TEXT NOT NULL,
	user_id TEXT NOT NULL,
	PRIMARY KEY (prefix, user_id)
);
CREATE INDEX people_prefixes_by_user ON people_prefixes (user_id);

-- A room whose members anybody may find: it can be joined or read by all.
CREATE TABLE open_rooms (room_nid BIGINT NOT NULL PRIMARY KEY);
