-- The bytes of files, once for all that are alike. A row goes when no file has
-- its bytes any more, and the same bytes get a new name when they come again:
-- what one node removes, no other can just have begun to use.
CREATE TABLE media_blobs (
	hash    TEXT   NOT NULL PRIMARY KEY, -- SHA-256, in hexadecimal
	name    TEXT   NOT NULL, -- in the store, by chance
	size    BIGINT NOT NULL,
	stored  BIGINT NOT NULL,
	verdict TEXT   NOT NULL, -- of the scanner: '' none yet, clean or infected
	threat  TEXT   NOT NULL, -- what the scanner calls it
	scanned BIGINT NOT NULL  -- 0 is never
);
CREATE UNIQUE INDEX media_blobs_name ON media_blobs (name);

-- A file by its mxc:// URI: of this server, or a copy of another one's.
CREATE TABLE media (
	origin       TEXT     NOT NULL, -- the server, in lower case
	media_id     TEXT     NOT NULL,
	uploader     TEXT     NOT NULL, -- '' for a copy
	room_id      TEXT     NOT NULL, -- for which it was uploaded, '' where nobody said
	hash         TEXT     NOT NULL, -- '' while it is not uploaded
	size         BIGINT   NOT NULL,
	content_type TEXT     NOT NULL,
	filename     TEXT     NOT NULL, -- '' where it has none
	created      BIGINT   NOT NULL, -- when it came here, or was reserved
	expires      BIGINT   NOT NULL, -- until when it can be uploaded, 0 once it was
	used         BIGINT   NOT NULL, -- when it was last served, to the hour
	quarantined  TEXT     NOT NULL, -- by whom, '' where it is not
	protected    SMALLINT NOT NULL, -- neither quarantined with others nor retired
	PRIMARY KEY (origin, media_id)
);
CREATE INDEX media_hash ON media (hash);
CREATE INDEX media_uploader ON media (uploader, created, size);
CREATE INDEX media_room ON media (room_id) WHERE room_id <> '';
CREATE INDEX media_expires ON media (expires) WHERE expires > 0;
CREATE INDEX media_used ON media (used);

-- In which rooms an event spoke of a file in the clear.
CREATE TABLE media_rooms (
	room_id  TEXT NOT NULL,
	origin   TEXT NOT NULL,
	media_id TEXT NOT NULL,
	PRIMARY KEY (room_id, origin, media_id)
);
CREATE INDEX media_rooms_media ON media_rooms (origin, media_id);

-- A smaller picture that was made of a file.
CREATE TABLE media_thumbnails (
	hash         TEXT     NOT NULL, -- of the file
	width        BIGINT   NOT NULL, -- as asked for
	height       BIGINT   NOT NULL,
	method       TEXT     NOT NULL, -- crop or scale
	animated     SMALLINT NOT NULL,
	name         TEXT     NOT NULL, -- in the store
	size         BIGINT   NOT NULL,
	content_type TEXT     NOT NULL,
	PRIMARY KEY (hash, width, height, method, animated)
);
CREATE UNIQUE INDEX media_thumbnails_name ON media_thumbnails (name);
