package roomserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// crashDSN tells a process of this test that it is the server to be killed.
const crashDSN = "BEFFROI_CRASH_DSN"

func TestMain(m *testing.M) {
	if dsn := os.Getenv(crashDSN); dsn != "" {
		if err := sendForEver(dsn); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// sendForEver sends to a few rooms from many goroutines, and prints the ID of
// each event once it was answered.
func sendForEver(dsn string) error {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	ctx := context.Background()
	db, err := storage.Open(ctx, dsn)
	if err != nil {
		return err
	}
	gate, err := policystore.Open(ctx, policystore.Options{DB: db, Self: "one.example", Development: true})
	if err != nil {
		return err
	}
	one, err := newNetwork().add(db, "one.example", gate)
	if err != nil {
		return err
	}
	var out sync.Mutex
	var group sync.WaitGroup
	for range 3 {
		id, err := one.CreateRoom(ctx, roomserver.CreateRequest{CreateRequest: policy.CreateRequest{Creator: alice}})
		if err != nil {
			return err
		}
		for range 4 {
			group.Go(func() {
				for n := 0; ; n++ {
					req := roomserver.SendRequest{Sender: alice, Room: id, Type: "m.room.message", Device: "D",
						TxnID: fmt.Sprint(rand.Int64()), Content: json.RawMessage(fmt.Sprintf(`{"body":"%d"}`, n))}
					if n%7 == 0 {
						req.Type, req.StateKey = "m.room.topic", new(string)
					}
					sent, err := one.Send(ctx, req)
					out.Lock()
					if err != nil {
						fmt.Fprintln(os.Stderr, err)
					} else {
						fmt.Println(sent)
					}
					out.Unlock()
				}
			})
		}
	}
	group.Wait()
	return nil
}

func TestKilledServerLosesNothingItAnswered(t *testing.T) {
	t.Parallel()
	rounds := 4
	if os.Getenv("BEFFROI_SLOW") != "" {
		rounds = 200
	}
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			dsn := testkit.DSN(t, engine)
			answered := make(map[matrix.EventID]bool)
			for range rounds {
				for _, id := range killAfter(t, dsn, time.Duration(50+rand.IntN(400))*time.Millisecond) {
					answered[id] = true
				}
				checkAnswered(t, dsn, answered)
			}
			if len(answered) < rounds {
				t.Errorf("only %d events were answered in %d rounds: nothing was tested", len(answered), rounds)
			}
		})
	}
}

// killAfter runs a server, kills it some time after its first answer, and
// returns what it had answered.
func killAfter(t *testing.T, dsn string, wait time.Duration) (answered []matrix.EventID) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashDSN+"="+dsn)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewReader(pipe)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // a line cut short was not answered
		}
		must(t, err)
		if answered = append(answered, matrix.EventID(strings.TrimSpace(line))); len(answered) == 1 {
			time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // it was killed
	return answered
}

func checkAnswered(t *testing.T, dsn string, answered map[matrix.EventID]bool) {
	t.Helper()
	db, err := storage.Open(t.Context(), dsn)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	ids := make([]matrix.EventID, 0, len(answered))
	for id := range answered {
		ids = append(ids, id)
	}
	must(t, db.View(t.Context(), func(r *storage.Reader) error {
		found, err := rooms.Known(t.Context(), r, ids)
		for _, id := range ids {
			if found[id].Status != rooms.Accepted {
				t.Errorf("%s was answered and is not stored", id)
			}
		}
		return err
	}))
	findings, err := storage.Verify(t.Context(), db)
	must(t, err)
	for _, f := range findings {
		t.Error(f)
	}
}
