package homeserver

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// maxFile bounds a file that is downloaded.
const maxFile = 64 << 20

// Upload sends a file and returns its mxc:// URI.
func (u *User) Upload(ctx context.Context, content []byte) (string, error) {
	raw, err := u.do(ctx, request{method: http.MethodPost, path: "/_matrix/media/v3/upload", body: content, contentType: "application/octet-stream"})
	if err != nil {
		return "", err
	}
	return field(raw, "content_uri")
}

// Download fetches a file and returns how long it is.
func (u *User) Download(ctx context.Context, uri string) (int, error) {
	server, id, _ := strings.Cut(strings.TrimPrefix(uri, "mxc://"), "/")
	raw, err := u.do(ctx, request{method: http.MethodGet, maxBytes: maxFile,
		path: "/_matrix/client/v1/media/download/" + url.PathEscape(server) + "/" + url.PathEscape(id)})
	return len(raw), err
}
