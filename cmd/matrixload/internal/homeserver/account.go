package homeserver

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" // what the protocol of the shared secret is made of
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"
)

// User is an account that is logged in.
type User struct {
	Server *Server
	ID     string
	token  string
}

// Register makes an account by open registration: the stage m.login.dummy,
// which asks for nothing. It is an error if the server asks for more.
func (s *Server) Register(ctx context.Context, name, password string) (*User, error) {
	form := map[string]any{"username": name, "password": password, "initial_device_display_name": "matrixload"}
	raw, err := s.post(ctx, api("register"), form)
	if ask, fault := stagesOf(err); ask != nil {
		if !ask.dummyIsEnough() {
			return nil, fmt.Errorf("registration is not open: %w", fault)
		}
		form["auth"] = map[string]string{"type": dummy, "session": ask.Session}
		raw, err = s.post(ctx, api("register"), form)
	}
	if err != nil {
		return nil, err
	}
	return s.loggedIn(raw)
}

// dummy is the stage of registration that asks for nothing.
const dummy = "m.login.dummy"

// stages is what a server wants to see before it makes an account.
type stages struct {
	Session string `json:"session"`
	Flows   []struct {
		Stages []string `json:"stages"`
	} `json:"flows"`
}

// stagesOf returns what a 401 asks for, nil if err is none.
func stagesOf(err error) (*stages, *Fault) {
	fault, ok := errors.AsType[*Fault](err)
	if !ok {
		return nil, nil
	}
	var ask stages
	if json.Unmarshal(fault.body, &ask) != nil || len(ask.Flows) == 0 {
		return nil, nil
	}
	fault.Detail = fmt.Sprintf("the server asks for %v", ask.Flows)
	return &ask, fault
}

func (s *stages) dummyIsEnough() bool {
	for _, flow := range s.Flows {
		if slices.Equal(flow.Stages, []string{dummy}) {
			return true
		}
	}
	return false
}

func (s *Server) post(ctx context.Context, path string, form any) ([]byte, error) {
	body, err := json.Marshal(form)
	if err != nil {
		return nil, err
	}
	return s.do(ctx, request{method: http.MethodPost, path: path, body: body})
}

// RegisterWithSecret makes an account by the shared secret of the server, in
// the way that Synapse began and others took over.
func (s *Server) RegisterWithSecret(ctx context.Context, secret, name, password string) (*User, error) {
	const path = "/_synapse/admin/v1/register"
	raw, err := s.do(ctx, request{method: http.MethodGet, path: path})
	if err != nil {
		return nil, err
	}
	nonce := gjson.GetBytes(raw, "nonce").String()
	if nonce == "" {
		return nil, unexpected("nonce", raw)
	}
	raw, err = s.post(ctx, path, map[string]any{
		"nonce": nonce, "username": name, "password": password, "admin": false,
		"mac": registrationMAC(secret, nonce, name, password),
	})
	if err != nil {
		return nil, err
	}
	return s.loggedIn(raw)
}

// registrationMAC proves that the secret is known, for an ordinary account.
func registrationMAC(secret, nonce, name, password string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	for i, part := range []string{nonce, name, password, "notadmin"} {
		if i > 0 {
			mac.Write([]byte{0})
		}
		mac.Write([]byte(part))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

func (s *Server) loggedIn(raw []byte) (*User, error) {
	u := &User{Server: s, ID: gjson.GetBytes(raw, "user_id").String(), token: gjson.GetBytes(raw, "access_token").String()}
	if u.ID == "" || u.token == "" {
		return nil, &Fault{Cause: "200 without an access token"} // its body may hold secrets
	}
	return u, nil
}

// do sends a request as the user.
func (u *User) do(ctx context.Context, r request) ([]byte, error) {
	r.token = u.token
	return u.Server.do(ctx, r)
}
