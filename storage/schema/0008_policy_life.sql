-- A document on its way to be active. status: open, approved,
-- activated or withdrawn.
-- parent is the version that was active when it was written: once another one
-- is, the draft is stale. preview is what it would change, a JSON object.
CREATE TABLE policy_drafts (
	draft_id    TEXT     NOT NULL PRIMARY KEY,
	version     BIGINT   NOT NULL,
	parent      BIGINT   NOT NULL,
	sha256      TEXT     NOT NULL, -- of document, in hexadecimal
	author      TEXT     NOT NULL,
	reason      TEXT     NOT NULL, -- why, for people
	treatment   TEXT     NOT NULL, -- of what it finds: leave, freeze or remove
	until_ts    BIGINT   NOT NULL, -- until when findings are left, 0 for the others
	created_ts  BIGINT   NOT NULL,
	status      TEXT     NOT NULL,
	approver    TEXT     NOT NULL, -- who approved or withdrew it, or ''
	decided_ts  BIGINT   NOT NULL,
	document    TEXT     NOT NULL, -- canonical JSON
	preview     TEXT     NOT NULL
);
CREATE INDEX policy_drafts_by_time ON policy_drafts (created_ts DESC, draft_id);

-- A membership that the document of version refuses. status: open, left (until
-- until_ts), frozen (reported only), removed, resolved (allowed by now), or
-- failed, and detail says why.
CREATE TABLE policy_findings (
	room_nid     BIGINT NOT NULL,
	user_id      TEXT   NOT NULL,
	room_id      TEXT   NOT NULL,
	membership   TEXT   NOT NULL, -- join, invite or knock
	version      BIGINT NOT NULL,
	reason       TEXT   NOT NULL,
	rule         TEXT   NOT NULL,
	organisation TEXT   NOT NULL,
	found_ts     BIGINT NOT NULL,
	treatment    TEXT   NOT NULL,
	until_ts     BIGINT NOT NULL,
	status       TEXT   NOT NULL,
	treated_ts   BIGINT NOT NULL,
	detail       TEXT   NOT NULL,
	PRIMARY KEY (room_nid, user_id)
);
CREATE INDEX policy_findings_due ON policy_findings (until_ts, room_nid, user_id) WHERE status = 'open' OR status = 'left';

-- The sweep of a version: how its findings are treated and how far it came.
-- (room_nid, user_id) is the last membership it has looked at.
CREATE TABLE policy_sweeps (
	version     BIGINT NOT NULL PRIMARY KEY,
	treatment   TEXT   NOT NULL,
	until_ts    BIGINT NOT NULL,
	room_nid    BIGINT NOT NULL,
	user_id     TEXT   NOT NULL,
	scanned     BIGINT NOT NULL,
	found       BIGINT NOT NULL,
	started_ts  BIGINT NOT NULL,
	finished_ts BIGINT NOT NULL -- 0 while it goes on
);

-- The candidate that runs beside the active document: at most the row of the
-- greatest started_ts whose ended_ts is 0 is in use.
CREATE TABLE policy_shadows (
	shadow_id  TEXT   NOT NULL PRIMARY KEY,
	version    BIGINT NOT NULL,
	sha256     TEXT   NOT NULL,
	actor      TEXT   NOT NULL,
	started_ts BIGINT NOT NULL,
	until_ts   BIGINT NOT NULL,
	ended_ts   BIGINT NOT NULL,
	asked      BIGINT NOT NULL, -- how many decisions were compared
	document   TEXT   NOT NULL
);

-- What a candidate would have decided otherwise, with one example of each kind.
CREATE TABLE policy_shadow_findings (
	shadow_id    TEXT     NOT NULL,
	action       TEXT     NOT NULL,
	denies       SMALLINT NOT NULL, -- 1: the candidate denies what is allowed, 0: the other way round
	reason       TEXT     NOT NULL,
	rule         TEXT     NOT NULL,
	organisation TEXT     NOT NULL,
	count        BIGINT   NOT NULL,
	actor        TEXT     NOT NULL,
	subject      TEXT     NOT NULL,
	server       TEXT     NOT NULL,
	room         TEXT     NOT NULL,
	PRIMARY KEY (shadow_id, action, denies, reason, rule, organisation)
);

-- A token of the admin API. Only its hash is kept.
CREATE TABLE admin_tokens (
	token_id   TEXT   NOT NULL PRIMARY KEY,
	sha256     TEXT   NOT NULL UNIQUE,
	name       TEXT   NOT NULL, -- who holds it: the actor in journal and audit trail
	role       TEXT   NOT NULL,
	created_ts BIGINT NOT NULL,
	expires_ts BIGINT NOT NULL, -- 0: never
	revoked_ts BIGINT NOT NULL  -- 0: not revoked
);
