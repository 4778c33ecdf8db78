package storage

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/lib/pq"

	"beffroi/matrix"
)

// retryAfter is what a client is told to wait when the database is away.
const retryAfter = 2 * time.Second

// unavailable turns the loss of the database into the answer that tells the
// peer to try again; any other error stays as it is.
func unavailable(err error) error {
	var opErr *net.OpError
	var pqErr *pq.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, driver.ErrBadConn), errors.As(err, &opErr), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &pqErr) && (pqErr.Code.Class() == "57" || pqErr.Code.Class() == "08"):
		return fmt.Errorf("%w: %w", matrix.Unavailable(retryAfter), err)
	}
	return err
}
