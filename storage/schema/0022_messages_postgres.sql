-- The words of messages, by the numbers of their events. The text itself is
-- not kept here. See decision 9 for why the engines differ.
CREATE TABLE message_index (
	rowid BIGINT   NOT NULL PRIMARY KEY,
	room  tsvector NOT NULL,
	body  tsvector NOT NULL,
	name  tsvector NOT NULL,
	topic tsvector NOT NULL
);
CREATE INDEX message_index_words ON message_index USING gin (room, body, name, topic);
