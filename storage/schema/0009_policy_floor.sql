-- The journal of floors: a row for each national document that was put in
-- force. The one in force has the highest version. bundle is the signed bundle
-- as it came, and sha256 the hash of its document's canonical JSON.
CREATE TABLE policy_floors (
	version      BIGINT NOT NULL PRIMARY KEY,
	pos          BIGINT NOT NULL UNIQUE, -- its place in the log
	issuer       TEXT   NOT NULL,
	sha256       TEXT   NOT NULL,
	actor        TEXT   NOT NULL,
	way          TEXT   NOT NULL, -- how it came in: feed or import
	activated_ts BIGINT NOT NULL,
	bundle       TEXT   NOT NULL
);

-- What each peer said last of the documents it enforces. failure is why it did
-- not answer when it was asked last, or ''.
CREATE TABLE policy_peers (
	server        TEXT   NOT NULL PRIMARY KEY,
	version       BIGINT NOT NULL,
	sha256        TEXT   NOT NULL,
	floor_version BIGINT NOT NULL, -- 0: none
	floor_sha256  TEXT   NOT NULL,
	freshness     TEXT   NOT NULL,
	asked_ts      BIGINT NOT NULL,
	answered_ts   BIGINT NOT NULL, -- 0: never
	failure       TEXT   NOT NULL
);
