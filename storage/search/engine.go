package search

import "strings"

// This file is the one place where the engines get different queries: neither
// has the other's full-text search. See decision 9.

// match returns the query of an engine and its arguments.
func match(engine string, q *Query) (text string, args []any) {
	rooms := make([]string, len(q.Rooms))
	for i, nid := range q.Rooms {
		rooms[i] = roomWord(nid)
	}
	if engine == "postgres" {
		return matchPostgres(q, strings.Join(rooms, " | "))
	}
	return matchSQLite(q, `"`+strings.Join(rooms, `" OR "`)+`"`)
}

// matchSQLite asks FTS5. Words have letters and digits alone, and are quoted so
// that none is taken for an operator.
func matchSQLite(q *Query, rooms string) (string, []any) {
	var fields []string
	for _, field := range q.Fields {
		fields = append(fields, field+` : ("`+strings.Join(q.Words, `" AND "`)+`")`)
	}
	expression := `room : (` + rooms + `) AND (` + strings.Join(fields, " OR ") + `)`
	if q.ByRank {
		return `SELECT rowid, -bm25(message_index, 0.0, 1.0, 2.0, 2.0) FROM message_index WHERE message_index MATCH $1
			ORDER BY bm25(message_index, 0.0, 1.0, 2.0, 2.0), rowid DESC LIMIT $2`, []any{expression, q.Limit}
	}
	return `SELECT rowid, -bm25(message_index, 0.0, 1.0, 2.0, 2.0) FROM message_index WHERE message_index MATCH $1 AND rowid < $2
		ORDER BY rowid DESC LIMIT $3`, []any{expression, q.Before, q.Limit}
}

// matchPostgres asks tsvector.
func matchPostgres(q *Query, rooms string) (string, []any) {
	var fields []string
	for _, field := range q.Fields {
		fields = append(fields, field+` @@ $2::tsquery`)
	}
	const rank = `ts_rank(body || name || topic, $2::tsquery)`
	where := ` FROM message_index WHERE room @@ $1::tsquery AND (` + strings.Join(fields, " OR ") + `)`
	args := []any{rooms, strings.Join(q.Words, " & ")}
	if q.ByRank {
		return `SELECT rowid, ` + rank + ` AS rank` + where + ` ORDER BY rank DESC, rowid DESC LIMIT $3`, append(args, q.Limit)
	}
	return `SELECT rowid, ` + rank + where + ` AND rowid < $3 ORDER BY rowid DESC LIMIT $4`, append(args, q.Before, q.Limit)
}
