-- The log: every change that someone may wait for takes a position from here.
-- Position order is the order in which transactions committed, on both
-- engines (see append.go).
CREATE TABLE stream_head (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), pos BIGINT NOT NULL);
INSERT INTO stream_head (id, pos) VALUES (1, 0);

-- How far each follower has read the log.
CREATE TABLE cursors (
	follower TEXT   NOT NULL PRIMARY KEY,
	pos      BIGINT NOT NULL
);
