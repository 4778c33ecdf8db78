-- Which event of a room is nearest to a time.
CREATE INDEX events_by_time ON events (room_nid, origin_server_ts, pos) WHERE status = 1;
