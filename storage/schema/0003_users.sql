-- An account of this server. A deactivated one stays, so that its name is
-- never given to somebody else.
CREATE TABLE users (
	user_id     TEXT     NOT NULL PRIMARY KEY,
	kind        TEXT     NOT NULL, -- '' a person, or guest, bot, support
	password    TEXT     NOT NULL, -- a hash with its parameters, '' where there is no password
	created     BIGINT   NOT NULL,
	valid_until BIGINT   NOT NULL, -- 0 is for ever
	admin       SMALLINT NOT NULL,
	locked      SMALLINT NOT NULL,
	suspended   SMALLINT NOT NULL,
	deactivated SMALLINT NOT NULL,
	sessions    BIGINT   NOT NULL  -- position at which what its sessions may do last changed
);
CREATE INDEX users_sessions ON users (sessions);

-- A client of an account.
CREATE TABLE devices (
	user_id      TEXT   NOT NULL,
	device_id    TEXT   NOT NULL,
	display_name TEXT   NOT NULL,
	created      BIGINT NOT NULL,
	seen         BIGINT NOT NULL,
	seen_ip      TEXT   NOT NULL,
	PRIMARY KEY (user_id, device_id)
);

-- An access token, by the SHA-256 of its text. The text is stored nowhere.
CREATE TABLE access_tokens (
	token_hash TEXT   NOT NULL PRIMARY KEY,
	user_id    TEXT   NOT NULL,
	device_id  TEXT   NOT NULL,
	created    BIGINT NOT NULL,
	expires    BIGINT NOT NULL -- 0 is never
);
CREATE INDEX access_tokens_device ON access_tokens (user_id, device_id);

-- One field of a profile, as JSON. A removed field keeps its row with an empty
-- value, so that followers learn of it.
CREATE TABLE profiles (
	user_id TEXT   NOT NULL,
	field   TEXT   NOT NULL,
	value   TEXT   NOT NULL,
	pos     BIGINT NOT NULL, -- of the last change
	PRIMARY KEY (user_id, field)
);
CREATE UNIQUE INDEX profiles_pos ON profiles (pos);

-- What clients keep on the server, for an account (room_id '') or one of its rooms.
CREATE TABLE account_data (
	user_id TEXT   NOT NULL,
	room_id TEXT   NOT NULL,
	type    TEXT   NOT NULL,
	content TEXT   NOT NULL,
	pos     BIGINT NOT NULL, -- of the last change
	PRIMARY KEY (user_id, room_id, type)
);
CREATE UNIQUE INDEX account_data_pos ON account_data (pos);
CREATE INDEX account_data_user ON account_data (user_id, pos);

-- A filter for sync. Its ID is made of its content, so that it is kept once.
CREATE TABLE filters (
	user_id   TEXT   NOT NULL,
	filter_id TEXT   NOT NULL,
	content   TEXT   NOT NULL,
	used      BIGINT NOT NULL,
	PRIMARY KEY (user_id, filter_id)
);

-- A verified address of an account.
CREATE TABLE threepids (
	medium    TEXT   NOT NULL, -- email
	address   TEXT   NOT NULL, -- in comparable form
	user_id   TEXT   NOT NULL,
	validated BIGINT NOT NULL,
	added     BIGINT NOT NULL,
	PRIMARY KEY (medium, address)
);
CREATE INDEX threepids_user ON threepids (user_id);

-- Somebody who is proving that an address is theirs.
CREATE TABLE mail_sessions (
	sid         TEXT     NOT NULL PRIMARY KEY,
	secret_hash TEXT     NOT NULL, -- of the client's secret
	purpose     TEXT     NOT NULL, -- register, password or contact
	user_id     TEXT     NOT NULL, -- whose contact it will be, or ''
	address     TEXT     NOT NULL, -- in comparable form
	attempt     BIGINT   NOT NULL, -- of the client
	next_link   TEXT     NOT NULL,
	code_hash   TEXT     NOT NULL, -- '' where no code will do: the address cannot serve the purpose
	link_hash   TEXT     NOT NULL,
	tries       BIGINT   NOT NULL,
	sent        BIGINT   NOT NULL,
	expires     BIGINT   NOT NULL,
	validated   BIGINT   NOT NULL  -- 0 is not yet
);
CREATE INDEX mail_sessions_expires ON mail_sessions (expires);

-- One mail that was sent, for the limits.
CREATE TABLE mails_sent (
	id      TEXT   NOT NULL PRIMARY KEY,
	address TEXT   NOT NULL,
	at      BIGINT NOT NULL
);
CREATE INDEX mails_sent_address ON mails_sent (address, at);
CREATE INDEX mails_sent_at ON mails_sent (at);

-- A conversation of user-interactive authentication.
CREATE TABLE uia_sessions (
	session_hash TEXT     NOT NULL PRIMARY KEY,
	operation    TEXT     NOT NULL,
	user_id      TEXT     NOT NULL, -- who asked, '' before login
	subject      TEXT     NOT NULL, -- what it is about; it cannot change on the way
	completed    TEXT     NOT NULL, -- stages, separated by spaces
	mail_sid     TEXT     NOT NULL, -- the session of the e-mail stage
	token_hash   TEXT     NOT NULL, -- of the registration token stage
	expires      BIGINT   NOT NULL
);
CREATE INDEX uia_sessions_expires ON uia_sessions (expires);

-- A token with which one may register, by its SHA-256.
CREATE TABLE registration_tokens (
	token_hash TEXT     NOT NULL PRIMARY KEY,
	admin      SMALLINT NOT NULL,
	uses_left  BIGINT   NOT NULL,
	created    BIGINT   NOT NULL,
	expires    BIGINT   NOT NULL
);
