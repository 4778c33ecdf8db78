package storage

import (
	"context"
	"fmt"
	"strings"
)

// Swap is the statement that moves a row of a table from what its writer found
// there to what the writer makes of it, and moves nothing where somebody else
// came first. The rows that are given to [Tx.Swap] wait for the end of the
// transaction like those of an [Insert]: the writers of one commit cost one
// statement, and several of one row cost one change of it.
type Swap struct {
	table   string
	columns []SwapColumn
	values  int // that one row takes
	texts   [len(insertSizes)]string
}

// SwapColumn is a column of a [Swap]. The first is the key of the row.
type SwapColumn struct {
	Name, Type string // as in the schema
	Does       SwapAction
}

// SwapAction is what a [Swap] does with a column.
type SwapAction uint8

// The actions, with the values that [Tx.Swap] takes for each.
const (
	SwapKey     SwapAction = iota // one value: which row
	SwapCompare                   // two values: what was found and what it becomes
	SwapSet                       // one value: what it becomes
	SwapAdd                       // one int64: by how much it grows
	SwapRaise                     // one int64: what it is at least
)

// NewSwap returns the statement for a table.
func NewSwap(table string, columns ...SwapColumn) *Swap {
	sw := &Swap{table: table, columns: columns}
	var types, set, where []string
	for _, c := range columns {
		types = append(types, c.Type)
		column := fmt.Sprintf("%s.%s", table, c.Name)
		value := fmt.Sprintf("v.column%d", len(types))
		switch c.Does {
		case SwapKey:
			where = append(where, column+" = "+value)
		case SwapCompare:
			types = append(types, c.Type)
			where = append(where, column+" = "+value)
			set = append(set, fmt.Sprintf("%s = v.column%d", c.Name, len(types)))
		case SwapSet:
			set = append(set, c.Name+" = "+value)
		case SwapAdd:
			set = append(set, fmt.Sprintf("%s = %s + %s", c.Name, column, value))
		case SwapRaise:
			set = append(set, fmt.Sprintf("%s = CASE WHEN %s < %s THEN %s ELSE %s END", c.Name, column, value, value, column))
		}
	}
	sw.values = len(types)
	for i, rows := range insertSizes {
		var b strings.Builder
		fmt.Fprintf(&b, "UPDATE %s SET %s FROM (VALUES ", table, strings.Join(set, ", "))
		for n := range rows * sw.values {
			switch {
			case n == 0:
				b.WriteByte('(')
			case n%sw.values == 0:
				b.WriteString("), (")
			default:
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "CAST($%d AS %s)", n+1, types[n%sw.values])
		}
		fmt.Fprintf(&b, ")) AS v WHERE %s", strings.Join(where, " AND "))
		sw.texts[i] = b.String()
	}
	return sw
}

// join makes one change of two of the same row. It reports false where the
// second was not made on top of the first.
func (sw *Swap) join(first, second []any) bool {
	n := 0
	for _, c := range sw.columns {
		switch c.Does {
		case SwapKey:
		case SwapCompare:
			if first[n+1] != second[n] {
				return false
			}
			n++
		case SwapSet, SwapAdd, SwapRaise:
		}
		n++
	}
	n = 0
	for _, c := range sw.columns {
		switch c.Does {
		case SwapKey:
		case SwapCompare:
			n++
			first[n] = second[n]
		case SwapSet:
			first[n] = second[n]
		case SwapAdd:
			first[n] = first[n].(int64) + second[n].(int64)
		case SwapRaise:
			first[n] = max(first[n].(int64), second[n].(int64))
		}
		n++
	}
	return true
}

// Swap moves one row, at the end of the transaction or before the first
// statement that names its table. It returns [ErrConflict] when the row is known
// not to be what the writer found; where that shows only at the end, the
// writers of the commit are asked again, one at a time.
func (tx *Tx) Swap(ctx context.Context, sw *Swap, args ...any) error {
	if len(args) != sw.values {
		panic(fmt.Sprintf("storage: %d values for %d of a swap in %s", len(args), sw.values, sw.table))
	}
	if tx.eager {
		switch n, err := tx.Exec(ctx, sw.texts[len(insertSizes)-1], args...); {
		case err != nil:
			return fmt.Errorf("swap in %s: %w", sw.table, err)
		case n == 0:
			return ErrConflict
		}
		return nil
	}
	// What the writers before it in this commit have made of the row is known.
	if before := tx.batch.swapped(sw, args[0]); before != nil && tx.rows.swapped(sw, args[0]) == nil {
		if !sw.join(append([]any(nil), before...), args) {
			return ErrConflict
		}
	}
	return tx.rows.swap(sw, args)
}

// swaps is the rows of one table that wait to be moved.
type swaps struct {
	swap *Swap
	args [][]any
	keys map[any]int // where in args the row of a key is
}

// swapped returns the change of a row that waits, or nil.
func (b *buffer) swapped(sw *Swap, key any) []any {
	for _, s := range b.swaps {
		if s.swap == sw {
			if at, ok := s.keys[key]; ok {
				return s.args[at]
			}
		}
	}
	return nil
}

func (b *buffer) swap(sw *Swap, args []any) error {
	if before := b.swapped(sw, args[0]); before != nil {
		if !sw.join(before, args) {
			return ErrConflict
		}
		return nil
	}
	for _, s := range b.swaps {
		if s.swap == sw {
			s.keys[args[0]] = len(s.args)
			s.args = append(s.args, args)
			return nil
		}
	}
	b.swaps = append(b.swaps, &swaps{sw, [][]any{args}, map[any]int{args[0]: 0}})
	return nil
}

// flush moves the rows that wait.
func (s *swaps) flush(ctx context.Context, r *Reader) error {
	rows := s.args
	for i, size := range insertSizes {
		for ; len(rows) >= size; rows = rows[size:] {
			args := make([]any, 0, size*s.swap.values)
			for _, row := range rows[:size] {
				args = append(args, row...)
			}
			switch n, err := r.exec(ctx, s.swap.texts[i], args...); {
			case err != nil:
				return fmt.Errorf("swap in %s: %w", s.swap.table, err)
			case n < int64(size):
				return ErrConflict
			}
		}
	}
	return nil
}
