package peers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/peers"
)

const a, b = matrix.ServerName("a.example"), matrix.ServerName("b.example")

func write(t *testing.T, db *storage.DB, fn func(ctx context.Context, tx *storage.Tx) error) {
	t.Helper()
	if _, err := db.Append(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, db *storage.DB, fn func(ctx context.Context, r *storage.Reader) error) {
	t.Helper()
	if err := db.View(t.Context(), func(r *storage.Reader) error { return fn(t.Context(), r) }); err != nil {
		t.Fatal(err)
	}
}

func TestInbox(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		fresh := map[string]bool{}
		for i, txn := range []string{"1", "2", "1", "3"} {
			write(t, db, func(ctx context.Context, tx *storage.Tx) (err error) {
				fresh[fmt.Sprint(i, txn)], err = peers.Receive(ctx, tx, a, txn, []byte(strings.Repeat("x", 10)), 100)
				return err
			})
		}
		write(t, db, func(ctx context.Context, tx *storage.Tx) error {
			_, err := peers.Receive(ctx, tx, b, "1", []byte("{}"), 200)
			return err
		})
		if !fresh["01"] || !fresh["12"] || fresh["21"] || !fresh["33"] {
			t.Errorf("fresh: %v", fresh)
		}
		waiting := func(after storage.Position, limit int, maxBytes int64) (got []string) {
			read(t, db, func(ctx context.Context, r *storage.Reader) error {
				list, err := peers.Waiting(ctx, r, after, limit, maxBytes)
				for _, in := range list {
					got = append(got, string(in.Origin[0])+in.TxnID)
				}
				return err
			})
			return got
		}
		for _, test := range []struct {
			limit int
			bytes int64
			want  string
		}{{10, 1000, "a1 a2 a3 b1"}, {2, 1000, "a1 a2"}, {10, 11, "a1 a2"}, {10, 1, "a1"}} {
			if got := strings.Join(waiting(0, test.limit, test.bytes), " "); got != test.want {
				t.Errorf("limits %d and %d: %s, want %s", test.limit, test.bytes, got, test.want)
			}
		}
		write(t, db, func(ctx context.Context, tx *storage.Tx) error { return peers.Done(ctx, tx, a, "2") })
		if got := strings.Join(waiting(0, 10, 1000), " "); got != "a1 a3 b1" {
			t.Errorf("after one was done: %s", got)
		}
		write(t, db, func(ctx context.Context, tx *storage.Tx) error {
			if again, err := peers.Receive(ctx, tx, a, "2", []byte("{}"), 300); again || err != nil {
				t.Errorf("a transaction that was done came again: %v, %v", again, err)
			}
			if n, err := peers.Forget(ctx, tx, 150, 10); n != 1 || err != nil {
				t.Errorf("forgot %d, %v", n, err)
			}
			return nil
		})
	})
}

func TestEDUsAreReplacedByKey(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		add := func(to []matrix.ServerName, key, content string) {
			write(t, db, func(ctx context.Context, tx *storage.Tx) error {
				return peers.AddEDU(ctx, tx, to, peers.EDU{Type: "m.x", Content: json.RawMessage(content)}, key)
			})
		}
		queued := func(name matrix.ServerName) (got []string, last storage.Position) {
			read(t, db, func(ctx context.Context, r *storage.Reader) error {
				rows, err := peers.QueuedEDUs(ctx, r, name, 0, 0, 100)
				for _, row := range rows {
					var edu peers.EDU
					if err := json.Unmarshal(row.EDU, &edu); err != nil {
						return err
					}
					got, last = append(got, string(edu.Content)), row.Pos
				}
				return err
			})
			return got, last
		}
		add([]matrix.ServerName{a, b}, "k", "1")
		add([]matrix.ServerName{a, b}, "", "2")
		add([]matrix.ServerName{a}, "k", "3")
		got, last := queued(a)
		if strings.Join(got, " ") != "2 3" {
			t.Errorf("a has %v", got)
		}
		if got, _ := queued(b); strings.Join(got, " ") != "1 2" {
			t.Errorf("b has %v", got)
		}
		// What is in a transaction under way stays as it was.
		write(t, db, func(ctx context.Context, tx *storage.Tx) error {
			return peers.SaveDestination(ctx, tx, a, peers.Destination{TxnID: "t", EDUsTo: last})
		})
		add([]matrix.ServerName{a}, "k", "4")
		add([]matrix.ServerName{a}, "k", "5")
		if got, _ := queued(a); strings.Join(got, " ") != "2 3 5" {
			t.Errorf("a has %v", got)
		}
		write(t, db, func(ctx context.Context, tx *storage.Tx) error { return peers.Sent(ctx, tx, a, 0, last) })
		if got, _ := queued(a); strings.Join(got, " ") != "5" {
			t.Errorf("a has %v", got)
		}
		write(t, db, func(ctx context.Context, tx *storage.Tx) error { return peers.Discard(ctx, tx, b) })
		read(t, db, func(ctx context.Context, r *storage.Reader) error {
			if names, err := peers.Backlog(ctx, r); err != nil || !slices.Equal(names, []matrix.ServerName{a}) {
				t.Errorf("backlog is %v, %v", names, err)
			}
			return nil
		})
	})
}

func TestLongEDUIsRefused(t *testing.T) {
	t.Parallel()
	db := testkit.OpenDB(t, "sqlite")
	_, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		content := json.RawMessage(`"` + strings.Repeat("x", peers.MaxEDUBytes) + `"`)
		return peers.AddEDU(ctx, tx, []matrix.ServerName{a}, peers.EDU{Type: "m.x", Content: content}, "")
	})
	if !matrix.IsCode(err, "M_TOO_LARGE") {
		t.Errorf("error is %v, want M_TOO_LARGE", err)
	}
}

func TestOldEDUsAreTrimmed(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		const extra = 50
		edu := peers.EDU{Type: "m.x", Content: json.RawMessage(`1`)}
		destinations := slices.Repeat([]matrix.ServerName{a}, peers.MaxWaitingEDUs+extra)
		write(t, db, func(ctx context.Context, tx *storage.Tx) error { return peers.AddEDU(ctx, tx, destinations, edu, "") })
		const underway = 10
		write(t, db, func(ctx context.Context, tx *storage.Tx) error { return peers.Trim(ctx, tx, a, underway) })
		read(t, db, func(ctx context.Context, r *storage.Reader) error {
			rows, err := peers.QueuedEDUs(ctx, r, a, 0, 0, 2*peers.MaxWaitingEDUs)
			if len(rows) != peers.MaxWaitingEDUs+underway || err != nil {
				t.Errorf("%d rows are left, %v", len(rows), err)
			} else if rows[underway-1].Pos != underway || rows[underway].Pos != extra+1 {
				t.Errorf("left are %d and %d", rows[underway-1].Pos, rows[underway].Pos)
			}
			return nil
		})
	})
}
