-- The right to a new access token for a device, by the SHA-256 of its text. A
-- device has one, and while a client that asked for another has not used what
-- it got, also that one's successor.
CREATE TABLE refresh_tokens (
	token_hash  TEXT   NOT NULL PRIMARY KEY,
	user_id     TEXT   NOT NULL,
	device_id   TEXT   NOT NULL,
	access_hash TEXT   NOT NULL, -- of the access token that came with it
	replaces    TEXT   NOT NULL, -- the refresh token that it came for, until it or its access token is used
	expires     BIGINT NOT NULL
);
CREATE INDEX refresh_tokens_device ON refresh_tokens (user_id, device_id);
CREATE INDEX refresh_tokens_access ON refresh_tokens (access_hash);
CREATE INDEX refresh_tokens_replaces ON refresh_tokens (replaces);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires);

-- A token that is good for something but a session, by its SHA-256.
CREATE TABLE short_tokens (
	token_hash TEXT   NOT NULL PRIMARY KEY,
	kind       TEXT   NOT NULL, -- login: opens one session; openid: names its account to others
	user_id    TEXT   NOT NULL,
	expires    BIGINT NOT NULL
);
CREATE INDEX short_tokens_user ON short_tokens (user_id, kind);
CREATE INDEX short_tokens_expires ON short_tokens (expires);

-- An account that was deactivated and has still to leave its rooms.
CREATE TABLE departures (
	user_id TEXT   NOT NULL PRIMARY KEY,
	at      BIGINT NOT NULL
);

-- An account whose past others, who come later, shall not read.
CREATE TABLE erasures (
	user_id TEXT   NOT NULL PRIMARY KEY,
	at      BIGINT NOT NULL,
	pos     BIGINT NOT NULL -- of the log; who was in a room before goes on reading
);
