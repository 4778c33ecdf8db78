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
var tupleSizes = [...]int{1, 8, 64}

// eachTuple runs an arm of a query for each row of values, many to a statement,
// and calls scan for each row found. In the text, %1, %2 and so on stand for the
// values of a row. The rows come in no order.
//
// One arm for each row, and not a join with a list of rows, lets every engine
// see that each is a short stretch of an index.
func eachTuple(ctx context.Context, r *storage.Reader, arm string, width int, flat []any, scan func(rows *sql.Rows) error) error {
	for len(flat) > 0 {
		size := tupleSizes[len(tupleSizes)-1]
		for _, s := range tupleSizes {
			if len(flat) <= s*width {
				size = s
				break
			}
		}
		n := min(size*width, len(flat))
		args := append(make([]any, 0, size*width), flat[:n]...)
		for empty := flat[n-width : n]; len(args) < size*width; {
			args = append(append(args, 0), empty[1:]...)
		}
		flat = flat[n:]
		if err := r.Each(ctx, unionOf(arm, width, size), args, scan); err != nil {
			return err
		}
	}
	return nil
}

// unionOf returns the arms for a number of rows. The first value of each is the
// number of a room.
func unionOf(arm string, width, rows int) string {
	var b strings.Builder
	b.Grow(rows * (len(arm) + 32))
	pairs := make([]string, 2*width)
	for row := range rows {
		for i := range width {
			pairs[2*i], pairs[2*i+1] = "%"+strconv.Itoa(i+1), "$"+strconv.Itoa(row*width+i+1)
		}
		if row > 0 {
			b.WriteString(" UNION ALL ")
		}
		b.WriteString("SELECT * FROM (" + strings.NewReplacer(pairs...).Replace(arm) + ") a" + strconv.Itoa(row))
	}
	return b.String()
}
