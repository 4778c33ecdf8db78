-- A backup of room keys. Of an account's the newest that is not deleted is the
-- current one. A deleted one keeps its row, so that no number comes twice.
-- etag goes up with every change of the sessions, and count is how many there
-- are.
CREATE TABLE key_backups (
	user_id   TEXT     NOT NULL,
	version   BIGINT   NOT NULL,
	algorithm TEXT     NOT NULL,
	auth_data TEXT     NOT NULL, -- a JSON object
	etag      BIGINT   NOT NULL,
	count     BIGINT   NOT NULL,
	deleted   SMALLINT NOT NULL,
	PRIMARY KEY (user_id, version)
);

-- A session in a backup. A slot is the room and the session, with a line feed
-- between, so that one query asks for hundreds of sessions. json is what the
-- client sent, encrypted for itself.
CREATE TABLE key_backup_sessions (
	user_id     TEXT     NOT NULL,
	version     BIGINT   NOT NULL,
	slot        TEXT     NOT NULL,
	room_id     TEXT     NOT NULL,
	first_index BIGINT   NOT NULL,
	forwarded   BIGINT   NOT NULL,
	verified    SMALLINT NOT NULL,
	json        TEXT     NOT NULL,
	PRIMARY KEY (user_id, version, slot)
);
CREATE INDEX key_backup_sessions_by_room ON key_backup_sessions (user_id, version, room_id);
