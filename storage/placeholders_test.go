package storage

import "testing"

func TestPositional(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"SELECT 1":                         "SELECT 1",
		"a = $1 AND b IN ($2,$3)":          "a = ? AND b IN (?,?)",
		"a = $1 OR $1 = ''":                "a = $1 OR $1 = ''",
		"a = $1 LIMIT $2":                  "a = ? LIMIT 0 + ?",
		"pos > $1 AND pos <= $2":           "pos > 0 + ? AND pos <= ?",
		"b = $2 AND a = $1":                "b = $2 AND a = $1",
		"($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)": "(?,?,?,?,?,?,?,?,?,?)",
	} {
		if got := positional(unseen(query)); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}
