package storage

import (
	"context"
	"fmt"
	"strings"
)

// Insert is the statement that adds rows to one table. Rows given to
// [Tx.Insert] are kept until the commit and written many at a time: 28 µs a
// row where one by one costs 172.
type Insert struct {
	table   string
	columns int
	texts   [len(insertSizes)]string // one text for each number of rows
}

// insertSizes are the numbers of rows that are prepared, largest first.
var insertSizes = [...]int{64, 8, 1}

// NewInsert returns the statement for a table and its columns. tail is what
// follows the values, such as ON CONFLICT DO NOTHING, or "".
func NewInsert(table string, columns []string, tail string) *Insert {
	ins := &Insert{table: table, columns: len(columns)}
	for i, rows := range insertSizes {
		var b strings.Builder
		fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", table, strings.Join(columns, ", "))
		for row := range rows {
			if row > 0 {
				b.WriteByte(',')
			}
			b.WriteString("(" + placeholders(row*len(columns)+1, len(columns)) + ")")
		}
		if tail != "" {
			b.WriteString(" " + tail)
		}
		ins.texts[i] = b.String()
	}
	return ins
}

// buffered is the rows of one table that wait for the end of the transaction.
type buffered struct {
	insert *Insert
	args   []any
}

// buffer keeps the tables in the order in which they were first written, so
// that a row which others refer to is there before them.
type buffer struct {
	inserts []buffered
	swaps   []*swaps
}

func (b *buffer) empty() bool { return len(b.inserts) == 0 && len(b.swaps) == 0 }

func (b *buffer) add(ins *Insert, args []any) {
	for i := range b.inserts {
		if b.inserts[i].insert == ins {
			b.inserts[i].args = append(b.inserts[i].args, args...)
			return
		}
	}
	b.inserts = append(b.inserts, buffered{ins, append(make([]any, 0, 8*len(args)), args...)})
}

// merge takes over what a later writer of the same commit has left waiting.
func (b *buffer) merge(from buffer) error {
	for _, s := range from.swaps {
		for _, args := range s.args {
			if err := b.swap(s.swap, args); err != nil {
				return err
			}
		}
	}
	for _, rows := range from.inserts {
		b.add(rows.insert, rows.args)
	}
	return nil
}

// mentions reports whether a query reads or writes a table with rows waiting.
func (b *buffer) mentions(query string) bool {
	for _, s := range b.swaps {
		if strings.Contains(query, s.swap.table) {
			return true
		}
	}
	for _, rows := range b.inserts {
		if strings.Contains(query, rows.insert.table) {
			return true
		}
	}
	return false
}

// Insert adds a row at the end of the transaction, or before the first
// statement that names its table.
func (tx *Tx) Insert(ins *Insert, args ...any) {
	if len(args) != ins.columns {
		panic(fmt.Sprintf("storage: %d values for %d columns of %s", len(args), ins.columns, ins.table))
	}
	tx.rows.add(ins, args)
}

// flush writes the rows of b. A row may be new and moved in the same commit.
func (r *Reader) flush(ctx context.Context, b buffer) error {
	for _, rows := range b.inserts {
		args := rows.args
		for i, size := range insertSizes {
			for step := size * rows.insert.columns; len(args) >= step; args = args[step:] {
				if _, err := r.exec(ctx, rows.insert.texts[i], args[:step]...); err != nil {
					return fmt.Errorf("insert into %s: %w", rows.insert.table, err)
				}
			}
		}
	}
	for _, s := range b.swaps {
		if err := s.flush(ctx, r); err != nil {
			return err
		}
	}
	return nil
}
