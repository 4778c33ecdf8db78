-- What a room needs to be old: states of long ago, and an end.

-- deleted is 1 while a room is being removed: it is hidden from every read.
-- purged counts the live events that were removed. purged_to is up to which
-- position retention has removed all that it may. deltas counts the changes of
-- the state since the last checkpoint; at delta_limit the next one is due.
ALTER TABLE rooms ADD COLUMN deleted     SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN purged      BIGINT   NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN purged_to   BIGINT   NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN deltas      BIGINT   NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN delta_limit BIGINT   NOT NULL DEFAULT 256;
CREATE INDEX rooms_checkpoint_due ON rooms (room_nid) WHERE deltas >= delta_limit;

-- The state of a room just before a position, so that one of long ago need not
-- be told from that of now. entries is what PackState makes.
CREATE TABLE state_checkpoints (
	room_nid BIGINT NOT NULL,
	pos      BIGINT NOT NULL,
	entries  TEXT   NOT NULL,
	PRIMARY KEY (room_nid, pos)
);

-- Equal snapshots of a room are one row: hash is that of the base and the
-- entries.
ALTER TABLE state_snapshots ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX state_snapshots_by_hash ON state_snapshots (room_nid, hash) WHERE hash <> '';

-- With events_timeline, the events of a room: what is removed is found by these.
CREATE INDEX events_aside ON events (room_nid, pos) WHERE status <> 1;
CREATE INDEX events_by_snapshot ON events (room_nid, snapshot_nid) WHERE snapshot_nid IS NOT NULL;

-- Work on a room that takes longer than a commit. A step writes how far it
-- came, so that after a crash the next one goes on from there. A finished job
-- stays for a while, for operators to look at.
CREATE TABLE jobs (
	job_id      BIGINT NOT NULL PRIMARY KEY,
	kind        TEXT   NOT NULL, -- purge or delete
	room_id     TEXT   NOT NULL,
	up_to       BIGINT NOT NULL, -- purge: the last position that goes
	before_ts   BIGINT NOT NULL, -- purge: only what its sender dates before, 0: all
	reached     BIGINT NOT NULL, -- purge: how far it came
	removed     BIGINT NOT NULL, -- how many rows
	created_at  BIGINT NOT NULL,
	finished_at BIGINT NOT NULL, -- 0: not yet
	error       TEXT   NOT NULL  -- why it could not be done, or ''
);
CREATE INDEX jobs_waiting ON jobs (job_id) WHERE finished_at = 0;

-- When the log had come to a position, by the clock of this server: what is
-- at or below pos was there at the time. A row an hour.
CREATE TABLE log_times (
	ts  BIGINT NOT NULL PRIMARY KEY,
	pos BIGINT NOT NULL
);
