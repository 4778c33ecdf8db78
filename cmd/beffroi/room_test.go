package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beffroi/storage"
	"beffroi/storage/rooms"
)

func TestRoomCommandsQueueJobs(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "test.db")
	db, err := storage.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Append(t.Context(), func(_ context.Context, tx *storage.Tx) error {
		rooms.Insert(tx, "!town:one.example", "12")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		want string // in the output or in the error
	}{
		{[]string{"purge", "!town:one.example", "--before", "8760h"}, "is queued"},
		{[]string{"purge", "!town:one.example", "--before", "soon"}, "--before is a day"},
		{[]string{"purge", "!town:one.example"}, "before"},
		{[]string{"delete", "!no:one.example"}, "no such room"},
		{[]string{"delete", "!town:one.example"}, "is queued"},
		{[]string{"jobs"}, "delete  !town:one.example  0 rows  waits"},
	} {
		cmd := roomCommand()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(append(tc.args, "--database", file, "--data", t.TempDir()))
		text := ""
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			text = err.Error()
		}
		if text += out.String(); !strings.Contains(text, tc.want) {
			t.Errorf("%v: %q lacks %q", tc.args, text, tc.want)
		}
	}
}

func TestParseBefore(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.Local)
	for text, want := range map[string]time.Time{
		"2026-01-31": time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local), "48h": now.Add(-48 * time.Hour),
		"": {}, "-1h": {}, "31.01.2026": {},
	} {
		got, err := parseBefore(text, now)
		if (err == nil) != !want.IsZero() || err == nil && !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
