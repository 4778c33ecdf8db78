package matrix_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"beffroi/matrix"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err    *matrix.Error
		status int
		code   string
		field  string
		value  any
	}{
		"forbidden":       {matrix.Forbidden("no"), 403, "M_FORBIDDEN", "", nil},
		"not found":       {matrix.NotFound("no"), 404, "M_NOT_FOUND", "", nil},
		"bad JSON":        {matrix.BadJSON("no"), 400, "M_BAD_JSON", "", nil},
		"not JSON":        {matrix.NotJSON("no"), 400, "M_NOT_JSON", "", nil},
		"invalid param":   {matrix.InvalidParam("no"), 400, "M_INVALID_PARAM", "", nil},
		"missing param":   {matrix.MissingParam("no"), 400, "M_MISSING_PARAM", "", nil},
		"too large":       {matrix.TooLarge("no"), 413, "M_TOO_LARGE", "", nil},
		"missing token":   {matrix.MissingToken(), 401, "M_MISSING_TOKEN", "", nil},
		"unknown token":   {matrix.UnknownToken(true), 401, "M_UNKNOWN_TOKEN", "soft_logout", true},
		"unauthorised":    {matrix.Unauthorized("no"), 401, "M_UNAUTHORIZED", "", nil},
		"limit exceeded":  {matrix.LimitExceeded(2 * time.Second), 429, "M_LIMIT_EXCEEDED", "retry_after_ms", int64(2000)},
		"unavailable":     {matrix.Unavailable(time.Second), 503, "M_UNKNOWN", "retry_after_ms", int64(1000)},
		"unrecognised":    {matrix.Unrecognized(), 404, "M_UNRECOGNIZED", "", nil},
		"any other error": {matrix.Answer(errors.New("secret")), 500, "M_UNKNOWN", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.err.Status != tc.status || tc.err.Code != tc.code || tc.err.Fields[tc.field] != tc.value || tc.err.Text == "" {
				t.Errorf("%+v", tc.err)
			}
			wrapped := fmt.Errorf("read: %w", tc.err)
			if !matrix.IsCode(wrapped, tc.code) || matrix.Answer(wrapped) != tc.err || matrix.IsCode(wrapped, "M_OTHER") {
				t.Error("the code is lost when the error is wrapped")
			}
		})
	}
	if got := matrix.Answer(errors.New("secret")); got.Text == "secret" {
		t.Error("an inner error is shown")
	}
}

func TestWithChangesACopy(t *testing.T) {
	t.Parallel()
	first := matrix.Forbidden("no").With("a", 1)
	second := first.With("b", 2)
	if len(first.Fields) != 1 || len(second.Fields) != 2 || second.Fields["a"] != 1 {
		t.Errorf("%v and %v", first.Fields, second.Fields)
	}
}
