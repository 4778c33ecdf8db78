package client

import (
	"io"
	"net/http"
	"strings"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func body(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }
