package search

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"beffroi/matrix"
	"beffroi/storage"
)

// Person is somebody who can be found.
type Person struct {
	User                   matrix.UserID
	DisplayName, AvatarURL string
	Words                  []string
}

const (
	// maxPrefix is up to how many characters of a word lead to a person.
	maxPrefix = 12
	// maxPersonWords bounds the words of one person that lead to them.
	maxPersonWords = 12
)

var (
	insertPerson = storage.NewInsert("people", []string{"user_id", "display_name", "avatar_url", "words"},
		"ON CONFLICT (user_id) DO UPDATE SET display_name = excluded.display_name, avatar_url = excluded.avatar_url, words = excluded.words")
	insertPrefix = storage.NewInsert("people_prefixes", []string{"prefix", "user_id"}, "ON CONFLICT DO NOTHING")
)

// SetPeople replaces what is known of some people. Those of gone cannot be
// found any more. Nobody may be named twice.
func SetPeople(ctx context.Context, tx *storage.Tx, list []Person, gone []matrix.UserID) error {
	all := make([]string, 0, len(list)+len(gone))
	for _, p := range list {
		all = append(all, string(p.User))
	}
	for _, user := range gone {
		all = append(all, string(user))
	}
	for _, q := range [...]string{`DELETE FROM people_prefixes WHERE user_id IN ($LIST)`, `DELETE FROM people WHERE user_id IN ($LIST)`} {
		if _, err := storage.ExecIn(ctx, tx, q, nil, all); err != nil {
			return fmt.Errorf("forget people: %w", err)
		}
	}
	for _, p := range list {
		p.Words = p.Words[:min(len(p.Words), maxPersonWords)]
		tx.Insert(insertPerson, string(p.User), p.DisplayName, p.AvatarURL, strings.Join(p.Words, " "))
		seen := make(map[string]bool)
		for _, word := range p.Words {
			for n := 1; n <= maxPrefix; n++ {
				prefix := cut(word, n)
				if seen[prefix] {
					continue
				}
				seen[prefix] = true
				tx.Insert(insertPrefix, prefix, string(p.User))
			}
		}
	}
	return nil
}

// People returns people one of whose words begins with prefix, at most limit,
// in the order of their IDs.
func People(ctx context.Context, r *storage.Reader, prefix string, limit int) (list []Person, err error) {
	const q = `SELECT p.user_id, p.display_name, p.avatar_url, p.words FROM people_prefixes x
		JOIN people p ON p.user_id = x.user_id WHERE x.prefix = $1 ORDER BY x.user_id LIMIT $2`
	err = r.Each(ctx, q, []any{cut(prefix, maxPrefix), limit}, func(rows *sql.Rows) error {
		var p Person
		var words string
		err := rows.Scan(&p.User, &p.DisplayName, &p.AvatarURL, &words)
		p.Words = strings.Split(words, " ")
		list = append(list, p)
		return err
	})
	return list, err
}

// InOpenRooms returns those of the users who are in a room that is open.
func InOpenRooms(ctx context.Context, r *storage.Reader, users []matrix.UserID) (map[matrix.UserID]bool, error) {
	found := make(map[matrix.UserID]bool)
	const q = `SELECT DISTINCT m.user_id FROM memberships m JOIN open_rooms o ON o.room_nid = m.room_nid
		WHERE m.membership = 'join' AND m.user_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, users, func(rows *sql.Rows) error {
		var user matrix.UserID
		err := rows.Scan(&user)
		found[user] = true
		return err
	})
	return found, err
}

// SetOpen notes which of some rooms are open.
func SetOpen(ctx context.Context, tx *storage.Tx, open map[int64]bool) error {
	for nid, is := range open {
		q := `DELETE FROM open_rooms WHERE room_nid = $1`
		if is {
			q = `INSERT INTO open_rooms (room_nid) VALUES ($1) ON CONFLICT DO NOTHING`
		}
		if _, err := tx.Exec(ctx, q, nid); err != nil {
			return fmt.Errorf("note open rooms: %w", err)
		}
	}
	return nil
}

// Hidden returns those of the users who do not want to be found.
func Hidden(ctx context.Context, r *storage.Reader, typ string, users []matrix.UserID) (map[matrix.UserID]string, error) {
	found := make(map[matrix.UserID]string)
	args := []any{typ}
	const q = `SELECT user_id, content FROM account_data WHERE room_id = '' AND type = $1 AND user_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, args, users, func(rows *sql.Rows) error {
		var user matrix.UserID
		var content string
		err := rows.Scan(&user, &content)
		found[user] = content
		return err
	})
	return found, err
}

// Touched returns the accounts whose place among people may have changed with
// from < pos ≤ to: they are new or gone, or changed their profile, or the
// account data of a type.
func Touched(ctx context.Context, r *storage.Reader, typ string, from, to storage.Position) ([]matrix.UserID, error) {
	const q = `SELECT user_id FROM users WHERE sessions > $1 AND sessions <= $2
		UNION SELECT user_id FROM profiles WHERE pos > $3 AND pos <= $4
		UNION SELECT user_id FROM account_data WHERE pos > $5 AND pos <= $6 AND type = $7 AND room_id = ''`
	args := []any{int64(from), int64(to), int64(from), int64(to), int64(from), int64(to), typ}
	return storage.Column[matrix.UserID](ctx, r, q, args...)
}
