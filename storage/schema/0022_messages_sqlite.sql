-- The words of messages, by the numbers of their events. The text itself is
-- not kept here. See decision 9 for why the engines differ.
CREATE VIRTUAL TABLE message_index USING fts5(room, body, name, topic,
	content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 0");
