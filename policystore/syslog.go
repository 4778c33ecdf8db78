package policystore

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"beffroi/matrix"
)

// The priorities of lines in syslog: of the facility "log audit".
const (
	facilityAudit   = 13
	severityWarning = 4
	severityNotice  = 5
	severityInfo    = 6
)

// maxMessageID is how long the name of a kind of messages may be in syslog.
const maxMessageID = 32

// AppendSyslog appends a line of the audit trail as a message of RFC 5424 from
// a server, in a frame of RFC 5425: its length stands before it. The message is
// the line as JSON, with the hash of the line before, so that who collects them
// can follow the chain.
func AppendSyslog(dst []byte, from matrix.ServerName, e *Entry) ([]byte, error) {
	raw, err := json.Marshal(e)
	if err != nil {
		return dst, err
	}
	severity := severityInfo
	switch e.Kind {
	case KindRefusal:
		severity = severityNotice
	case KindRejected, KindFreshness:
		severity = severityWarning
	}
	message := fmt.Sprintf("<%d>1 %s %s beffroi - %s - %s", facilityAudit*8+severity,
		time.UnixMilli(e.TS).UTC().Format("2006-01-02T15:04:05.000Z"), printable(string(from), matrix.MaxIDBytes), printable(e.Kind, maxMessageID), raw)
	dst = append(strconv.AppendInt(dst, int64(len(message)), 10), ' ')
	return append(dst, message...), nil
}

// printable returns what a field of the header of a message may hold: visible
// ASCII, at most n bytes of it, and - for nothing.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), n)]
}
