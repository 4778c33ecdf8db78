package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/lib/pq"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"beffroi/matrix"
)

// retryAfter is what a client is told to wait when the database is away.
const retryAfter = 2 * time.Second

// unavailable turns the loss of the database, and a full disk, into the answer
// that tells the peer to try again; any other error stays as it is.
func unavailable(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, told := errors.AsType[*matrix.Error](err); told || !away(err) {
		return err
	}
	return fmt.Errorf("%w: %w", matrix.Unavailable(retryAfter), err)
}

// away reports whether an error says that the database cannot do anything now.
func away(err error) bool {
	for _, lost := range []error{driver.ErrBadConn, context.DeadlineExceeded, sql.ErrTxDone, sql.ErrConnDone, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, lost) {
			return true
		}
	}
	if _, network := errors.AsType[*net.OpError](err); network {
		return true
	}
	if e, ok := errors.AsType[*pq.Error](err); ok {
		switch e.Code.Class() {
		case "08", "53", "57", "58": // connection, resources (a full disk), operator, system
			return true
		}
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY:
			return true
		}
	}
	return false
}
