-- The journal of policy documents: a row for each that was activated. The
-- active one has the highest version. document is canonical JSON and sha256
-- its hash in hexadecimal.
CREATE TABLE policy_documents (
	version      BIGINT NOT NULL PRIMARY KEY,
	pos          BIGINT NOT NULL UNIQUE, -- its place in the log
	issuer       TEXT   NOT NULL,
	sha256       TEXT   NOT NULL,
	actor        TEXT   NOT NULL, -- who activated it: a user ID, or system
	way          TEXT   NOT NULL, -- how it came in: initial, file, api, …
	activated_ts BIGINT NOT NULL,
	document     TEXT   NOT NULL
);

-- The audit trail. Rows are only ever added. seq has no gaps, hash covers
-- every other column, and prev is the hash of the row before. A row of kind
-- repeat says that what the row repeats names was refused that many times more.
CREATE TABLE audit (
	seq          BIGINT NOT NULL PRIMARY KEY,
	id           TEXT   NOT NULL UNIQUE, -- the decision ID told to the peer
	ts           BIGINT NOT NULL,
	kind         TEXT   NOT NULL,
	actor        TEXT   NOT NULL,
	action       TEXT   NOT NULL,
	subject      TEXT   NOT NULL,
	server       TEXT   NOT NULL,
	room         TEXT   NOT NULL,
	source       TEXT   NOT NULL,
	reason       TEXT   NOT NULL,
	rule         TEXT   NOT NULL,
	version      BIGINT NOT NULL, -- of the policy document
	organisation TEXT   NOT NULL, -- that was refused
	detail       TEXT   NOT NULL, -- for people
	count        BIGINT NOT NULL,
	repeats      TEXT   NOT NULL, -- the ID of the row this one counts on
	prev         TEXT   NOT NULL,
	hash         TEXT   NOT NULL
);
CREATE INDEX audit_ts ON audit (ts, seq);
CREATE INDEX audit_repeats ON audit (repeats) WHERE repeats <> '';

-- The end of the audit trail, so that rows cut off at its end are missed.
CREATE TABLE audit_head (
	id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
	seq  BIGINT  NOT NULL,
	hash TEXT    NOT NULL
);
INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '');
