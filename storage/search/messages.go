package search

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"beffroi/storage"
)

// Message is what an event can be found by.
type Message struct {
	EventNID, RoomNID int64
	Body, Name, Topic string
}

var insertMessage = storage.NewInsert("message_index", []string{"rowid", "room", "body", "name", "topic"}, "")

// AddMessages indexes messages, each once.
func AddMessages(tx *storage.Tx, list []Message) {
	for _, m := range list {
		tx.Insert(insertMessage, m.EventNID, roomWord(m.RoomNID), words(m.Body), words(m.Name), words(m.Topic))
	}
}

func roomWord(nid int64) string { return "r" + strconv.FormatInt(nid, 10) }

// words returns a text as both engines take it: words, each once, that need
// no quotes.
func words(text string) string {
	var list []string
	seen := make(map[string]bool)
	for _, word := range Words(text) {
		if !seen[word] {
			seen[word] = true
			list = append(list, word)
		}
	}
	return strings.Join(list, " ")
}

// The fields that are searched.
const (
	FieldBody  = "body"
	FieldName  = "name"
	FieldTopic = "topic"
)

// Query asks for messages that have all of some words in one of some fields.
type Query struct {
	Rooms  []int64
	Fields []string // FieldBody, FieldName, FieldTopic
	Words  []string // of [Words]
	// Before is the number of an event: only those before it. By rank it counts
	// for nothing.
	Before int64
	ByRank bool
	Limit  int
}

// Hit is a message that was found.
type Hit struct {
	EventNID int64
	Rank     float64 // higher is closer
}

// Messages returns what a query finds, the latest or the closest first. No room
// or no word finds nothing.
func Messages(ctx context.Context, r *storage.Reader, engine string, q Query) (hits []Hit, err error) {
	if len(q.Rooms) == 0 || len(q.Words) == 0 || len(q.Fields) == 0 {
		return nil, nil
	}
	text, args := match(engine, &q)
	err = r.Each(ctx, text, args, func(rows *sql.Rows) error {
		var h Hit
		err := rows.Scan(&h.EventNID, &h.Rank)
		hits = append(hits, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("search messages: %w", err)
	}
	return hits, nil
}
