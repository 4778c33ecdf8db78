-- What an account was told of its end, by the end that it was told of: an
-- account that was renewed is told anew.
CREATE TABLE reminders (
	user_id     TEXT   NOT NULL PRIMARY KEY,
	valid_until BIGINT NOT NULL,
	sent        BIGINT NOT NULL -- how many
);

-- A link that prolongs an account, by the SHA-256 of its token.
CREATE TABLE renewal_tokens (
	token_hash  TEXT   NOT NULL PRIMARY KEY,
	user_id     TEXT   NOT NULL,
	valid_until BIGINT NOT NULL, -- the end that it prolongs
	expires     BIGINT NOT NULL
);
CREATE INDEX renewal_tokens_expires ON renewal_tokens (expires);
CREATE INDEX renewal_tokens_user ON renewal_tokens (user_id);
CREATE INDEX users_valid_until ON users (valid_until) WHERE valid_until > 0;

-- An address of an external organisation whose owner may have an account,
-- because somebody answers for it.
CREATE TABLE sponsorships (
	address TEXT   NOT NULL PRIMARY KEY, -- in comparable form
	sponsor TEXT   NOT NULL, -- a user ID
	created BIGINT NOT NULL,
	expires BIGINT NOT NULL, -- until when the account can be made
	ends    BIGINT NOT NULL  -- of the account; 0 is that of every account
);
CREATE INDEX sponsorships_expires ON sponsorships (expires);
