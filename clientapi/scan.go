package clientapi

import (
	"context"
	"errors"
	"io"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/media"
)

// scanner is where Tchap's clients ask whether a file is clean, and fetch it
// when it is. The contract is that of the content scanner they had before.
const scanner = "/_matrix/media_proxy/unstable"

// doScan is [do] with the errors of that contract.
func doScan[In, Out any](fn httpx.Func[*caller, In, Out]) handler {
	return func(auth authFunc) http.Handler {
		return httpx.JSON(func(r *http.Request) (*caller, error) {
			who, err := auth(r)
			return who, scanError(err)
		}, func(ctx context.Context, who *caller, r *http.Request, in In) (Out, error) {
			out, err := fn(ctx, who, r, in)
			return out, scanError(err)
		})
	}
}

// scanError adds to an error what that contract has: a reason and an info.
func scanError(err error) error {
	answer, ok := errors.AsType[*matrix.Error](err)
	if !ok {
		return err
	}
	reason, _ := answer.Fields["reason"].(string)
	switch {
	case reason != "":
	case answer.Fields["org.beffroi.scan"] == "infected":
		reason = "MCS_MEDIA_NOT_CLEAN"
	case answer.Code == "M_NOT_JSON" || answer.Code == "M_BAD_JSON":
		reason = "MCS_MALFORMED_JSON"
	case answer.Status == http.StatusBadGateway || answer.Status == http.StatusGatewayTimeout || answer.Status == http.StatusServiceUnavailable:
		reason = "MCS_MEDIA_REQUEST_FAILED"
		answer = answer.With("reason", reason)
		answer.Status = http.StatusBadGateway
	default:
		reason = answer.Code
	}
	return answer.With("reason", reason).With("info", answer.Text)
}

// scans refuses everything where there is no scanner: then these paths are none.
func (s *Server) scans() error {
	if !s.Media.Scans() {
		return matrix.Unrecognized()
	}
	return nil
}

type scanResponse struct {
	Clean bool   `json:"clean"`
	Info  string `json:"info"`
}

// verdict turns what scanning ended with into an answer: malware is one.
func verdict(err error) (scanResponse, error) {
	if err == nil {
		return scanResponse{true, "File is clean"}, nil
	}
	if answer := matrix.Answer(err); answer.Fields["org.beffroi.scan"] == "infected" {
		return scanResponse{false, answer.Text}, nil
	}
	return scanResponse{}, err
}

func (s *Server) scanKey(context.Context, *caller, *http.Request, httpx.None) (map[string]string, error) {
	return map[string]string{"public_key": s.Media.PublicKey()}, s.scans()
}

func (s *Server) scanMedia(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (scanResponse, error) {
	q, err := mediaQuery(who, r)
	if err = errors.Join(s.scans(), err); err != nil {
		return scanResponse{}, err
	}
	f, err := s.Media.Open(ctx, q)
	if err == nil {
		err = f.Content.Close()
	}
	return verdict(err)
}

func (s *Server) scannedDownload(ctx context.Context, who *caller, r *http.Request, in httpx.None) (httpx.File, error) {
	if err := s.scans(); err != nil {
		return httpx.File{}, err
	}
	return s.downloadMedia(ctx, who, r, in)
}

func (s *Server) scannedThumbnail(ctx context.Context, who *caller, r *http.Request, in httpx.None) (httpx.File, error) {
	if err := s.scans(); err != nil {
		return httpx.File{}, err
	}
	return s.thumbnailMedia(ctx, who, r, in)
}

func (s *Server) scanEncrypted(ctx context.Context, who *caller, r *http.Request, body httpx.Stream) (scanResponse, error) {
	q, file, err := s.encryptedQuery(who, r, body)
	if err != nil {
		return scanResponse{}, err
	}
	return verdict(s.Media.ScanEncrypted(ctx, q, file))
}

func (s *Server) downloadEncrypted(ctx context.Context, who *caller, r *http.Request, body httpx.Stream) (httpx.File, error) {
	q, file, err := s.encryptedQuery(who, r, body)
	if err != nil {
		return httpx.File{}, err
	}
	f, err := s.Media.OpenEncrypted(ctx, q, file)
	if err != nil {
		return httpx.File{}, err
	}
	return mediaFile(f, false), nil
}

// maxScanBody bounds a question about an attachment: a kilobyte, and twice that
// when it is sealed.
const maxScanBody = 64 << 10

// encryptedQuery reads which attachment is meant, and asks the policy whether
// the caller may have files of its server.
func (s *Server) encryptedQuery(who *caller, r *http.Request, body httpx.Stream) (q media.Query, file matrix.EncryptedFile, err error) {
	if err := s.scans(); err != nil {
		return q, file, err
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxScanBody+1))
	switch {
	case err != nil:
		return q, file, matrix.NotJSON("the body ended before its time")
	case len(raw) > maxScanBody:
		return q, file, matrix.TooLarge("the body is longer than %d bytes", maxScanBody)
	}
	var in struct {
		File   *matrix.EncryptedFile `json:"file"`
		Sealed *media.SealedBody     `json:"encrypted_body"`
	}
	if err := httpx.Unmarshal(raw, &in); err != nil {
		return q, file, err
	}
	if in.Sealed != nil {
		if raw, err = s.Media.Unseal(*in.Sealed); err != nil {
			return q, file, err
		}
		in.File = nil
		if err := httpx.Unmarshal(raw, &in); err != nil {
			return q, file, err
		}
	}
	if in.File == nil {
		return q, file, matrix.BadJSON("the body lacks file")
	}
	mxc, err := in.File.MXC()
	if err != nil {
		return q, file, err
	}
	q = media.Query{MXC: mxc, Wait: media.DefaultWait}
	return q, *in.File, s.askMedia(r, who, mxc.Server)
}
