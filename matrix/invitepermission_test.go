package matrix_test

import (
	"strings"
	"testing"

	"beffroi/matrix"
)

func TestInvitePermission(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		content string
		host    matrix.UserID
		want    matrix.InviteAction
	}{
		"nothing":              {`{}`, "@a:b.example", matrix.InviteAllow},
		"blocked user":         {`{"blocked_users":["@a:b.example"]}`, "@a:b.example", matrix.InviteBlock},
		"other user":           {`{"blocked_users":["@a:b.example"]}`, "@aa:b.example", matrix.InviteAllow},
		"pattern":              {`{"ignored_users":["@a?:*"]}`, "@ab:c.example", matrix.InviteIgnore},
		"server":               {`{"blocked_servers":["*.evil.example"]}`, "@a:x.EVIL.example", matrix.InviteBlock},
		"server with a port":   {`{"blocked_servers":["evil.example"]}`, "@a:evil.example:8448", matrix.InviteBlock},
		"users before servers": {`{"allowed_users":["@a:b.example"],"blocked_servers":["*"]}`, "@a:b.example", matrix.InviteAllow},
		"allow before ignore":  {`{"allowed_servers":["b.example"],"ignored_servers":["*"]}`, "@a:b.example", matrix.InviteAllow},
		"ignore before block":  {`{"ignored_users":["@a:*"],"blocked_users":["@a:*"]}`, "@a:b.example", matrix.InviteIgnore},
		"off":                  {`{"enabled":false,"blocked_users":["*"]}`, "@a:b.example", matrix.InviteAllow},
		"wrong type":           {`{"blocked_users":[1]}`, "@a:b.example", matrix.InviteAllow},
		"no JSON":              {`{`, "@a:b.example", matrix.InviteAllow},
		"too many":             {`{"blocked_users":["` + strings.Repeat(`x","`, 1000) + `*"]}`, "@a:b.example", matrix.InviteAllow},
	} {
		var p matrix.InvitePermission
		p.Read(matrix.TypeInviteFilter, []byte(tc.content))
		if got := p.Of(tc.host); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
	var p matrix.InvitePermission
	p.Read("m.another", []byte(`{"default_action":"block"}`))
	if p.Of("@a:b.example") != matrix.InviteAllow {
		t.Error("another type of account data blocks")
	}
}
