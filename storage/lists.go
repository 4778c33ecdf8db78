package storage

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
)

// listSizes are the lengths of the lists that queries are prepared for. A
// shorter list is filled up with its last value, so that the number of
// prepared statements stays small.
var listSizes = [...]int{1, 8, 64, 500}

// Column returns the one column of a query, row by row.
func Column[T any](ctx context.Context, r *Reader, query string, args ...any) (list []T, err error) {
	err = r.Each(ctx, query, args, func(rows *sql.Rows) error {
		var value T
		err := rows.Scan(&value)
		list = append(list, value)
		return err
	})
	return list, err
}

// EachIn runs a query once for every 500 values of a list and calls scan for
// each row. In the text, $LIST stands where the placeholders go, after every
// numbered placeholder: args are $1 to $n and the list begins at $n+1. The
// rows come in no order across chunks, and an empty list asks nothing.
func EachIn[T any](ctx context.Context, r *Reader, query string, args []any, list []T,
	scan func(rows *sql.Rows) error) error {
	for len(list) > 0 {
		size := chunkSize(len(list))
		chunk := list[:min(size, len(list))]
		list = list[len(chunk):]
		all := append(make([]any, 0, len(args)+size), args...)
		for i := range size {
			all = append(all, chunk[min(i, len(chunk)-1)])
		}
		text := strings.Replace(query, "$LIST", placeholders(len(args)+1, size), 1)
		if err := r.Each(ctx, text, all, scan); err != nil {
			return err
		}
	}
	return nil
}

// ExecIn runs a statement once for every 500 values of a list, with $LIST as
// in [EachIn], and returns how many rows it changed.
func ExecIn[T any](ctx context.Context, tx *Tx, query string, args []any, list []T) (changed int64, err error) {
	for len(list) > 0 {
		size := chunkSize(len(list))
		chunk := list[:min(size, len(list))]
		list = list[len(chunk):]
		all := append(make([]any, 0, len(args)+size), args...)
		for i := range size {
			all = append(all, chunk[min(i, len(chunk)-1)])
		}
		n, err := tx.Exec(ctx, strings.Replace(query, "$LIST", placeholders(len(args)+1, size), 1), all...)
		if err != nil {
			return changed, err
		}
		changed += n
	}
	return changed, nil
}

func chunkSize(n int) int {
	for _, size := range listSizes {
		if n <= size {
			return size
		}
	}
	return listSizes[len(listSizes)-1]
}

func placeholders(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(first + i))
	}
	return b.String()
}
