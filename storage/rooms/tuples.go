package rooms

import (
	"context"
	"database/sql"
	"strconv"
	"strings"

	"beffroi/storage"
)

// tupleSizes are the numbers of rows that queries over tuples are prepared for.
// A shorter list is filled up with rows that match nothing: no room has the
// number 0.
var tupleSizes = [...]int{1, 8, 64, 256}

// tuples is a list of rows that a query joins with. Its columns have SQL types.
type tuples struct {
	types []string
	flat  []any
	empty []any // a row that matches nothing
}

// each runs a query for every chunk of the rows. In the text, $ROWS stands
// where the rows of VALUES go, before every other placeholder, and $LAST is
// the value that follows them.
func (t *tuples) each(ctx context.Context, r *storage.Reader, query string, last any, scan func(rows *sql.Rows) error) error {
	width := len(t.types)
	for flat := t.flat; len(flat) > 0; {
		size := tupleSizes[len(tupleSizes)-1]
		for _, s := range tupleSizes {
			if len(flat) <= s*width {
				size = s
				break
			}
		}
		n := min(size*width, len(flat))
		args := append(make([]any, 0, size*width+1), flat[:n]...)
		for flat = flat[n:]; len(args) < size*width; {
			args = append(args, t.empty...)
		}
		text := strings.Replace(query, "$ROWS", t.rows(size), 1)
		if last != nil {
			args = append(args, last)
			text = strings.Replace(text, "$LAST", "$"+strconv.Itoa(len(args)), 1)
		}
		if err := r.Each(ctx, text, args, scan); err != nil {
			return err
		}
	}
	return nil
}

// rows returns the text of rows of placeholders. The casts tell PostgreSQL the
// types; SQLite does not mind.
func (t *tuples) rows(n int) string {
	var b strings.Builder
	number := 1
	for row := range n {
		if row > 0 {
			b.WriteByte(',')
		}
		for i, typ := range t.types {
			if i == 0 {
				b.WriteByte('(')
			} else {
				b.WriteByte(',')
			}
			b.WriteString("CAST($" + strconv.Itoa(number) + " AS " + typ + ")")
			number++
		}
		b.WriteByte(')')
	}
	return b.String()
}
