package clientapi_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/internal/testkit"
	"beffroi/media"
	"beffroi/policystore"
	"beffroi/storage"
)

const (
	uploadPath   = "/_matrix/media/v3/upload"
	downloadPath = "/_matrix/client/v1/media/download/"
)

// asks makes a request with any body and returns the answer as it was written.
func (p *person) asks(method, path, contentType, content string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(content))
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	p.router.ServeHTTP(w, r)
	return w
}

// uploads sends a file and returns what comes after mxc://.
func (p *person) uploads(t testing.TB, query, contentType, content string) string {
	t.Helper()
	w := p.asks("POST", uploadPath+query, contentType, content)
	got := toReply(w)
	mxc, ok := strings.CutPrefix(got.Get("content_uri").String(), "mxc://here.example/")
	if w.Code != http.StatusOK || !ok || mxc == "" {
		t.Fatalf("upload: %d %s", w.Code, w.Body)
	}
	return "here.example/" + mxc
}

func TestFileGoesUpAndDown(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		mxc := alice.uploads(t, "?filename=plan%20%C3%A9.png", "image/png", "the bytes")
		w := bob.asks("GET", downloadPath+mxc, "", "")
		if w.Code != 200 || w.Body.String() != "the bytes" {
			t.Fatalf("download: %d %s", w.Code, w.Body)
		}
		for name, want := range map[string]string{
			"Content-Type": "image/png", "Content-Length": "9", "X-Content-Type-Options": "nosniff",
			"Content-Disposition": `inline; filename*=utf-8''plan%20%C3%A9.png`, "Cross-Origin-Resource-Policy": "cross-origin",
			"Cache-Control": "private, max-age=31536000, immutable", "Access-Control-Allow-Origin": "*", "Accept-Ranges": "bytes",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "sandbox;") || !strings.Contains(csp, "script-src 'none'") {
			t.Errorf("policy of the content: %q", csp)
		}
		if w := bob.asks("GET", downloadPath+mxc+"/other.txt", "", ""); w.Header().Get("Content-Disposition") != "inline; filename=other.txt" {
			t.Errorf("named in the path: %q", w.Header().Get("Content-Disposition"))
		}
		if again := alice.uploads(t, "", "", "the bytes"); again == mxc {
			t.Error("two uploads have one name")
		} else if w := bob.asks("GET", downloadPath+again, "", ""); w.Header().Get("Content-Type") != "application/octet-stream" || w.Header().Get("Content-Disposition") != "attachment" {
			t.Errorf("without type and name: %v", w.Header())
		}
		if w := bob.asks("HEAD", downloadPath+mxc, "", ""); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "9" {
			t.Errorf("HEAD: %d %v", w.Code, w.Header())
		}
		if empty := alice.uploads(t, "", "text/plain", ""); bob.asks("GET", downloadPath+empty, "", "").Code != 200 {
			t.Error("an empty file cannot be read")
		}
	})
}

func TestRangesOfAFile(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	mxc := alice.uploads(t, "", "text/plain", "0123456789")
	tag := alice.asks("GET", downloadPath+mxc, "", "").Header().Get("ETag")
	for name, tc := range map[string]struct {
		header []string
		status int
		body   string
	}{
		"first":            {[]string{"Range", "bytes=0-3"}, 206, "0123"},
		"middle":           {[]string{"Range", "bytes=4-5"}, 206, "45"},
		"to the end":       {[]string{"Range", "bytes=7-"}, 206, "789"},
		"last":             {[]string{"Range", "bytes=-2"}, 206, "89"},
		"more than all":    {[]string{"Range", "bytes=-200"}, 206, "0123456789"},
		"beyond the end":   {[]string{"Range", "bytes=8-99999999999999999999"}, 206, "89"},
		"all":              {[]string{"Range", "bytes=0-9"}, 206, "0123456789"},
		"out of bounds":    {[]string{"Range", "bytes=10-"}, 416, "M_UNKNOWN"},
		"far out":          {[]string{"Range", "bytes=99999999999999999999-"}, 416, "M_UNKNOWN"},
		"last nothing":     {[]string{"Range", "bytes=-0"}, 416, "M_UNKNOWN"},
		"backwards":        {[]string{"Range", "bytes=5-2"}, 200, "0123456789"},
		"nonsense":         {[]string{"Range", "bytes=a-b"}, 200, "0123456789"},
		"signed":           {[]string{"Range", "bytes=+1-2"}, 200, "0123456789"},
		"several":          {[]string{"Range", "bytes=0-1,3-4"}, 200, "0123456789"},
		"other unit":       {[]string{"Range", "lines=0-1"}, 200, "0123456789"},
		"if it is that":    {[]string{"Range", "bytes=0-1", "If-Range", tag}, 206, "01"},
		"if it is another": {[]string{"Range", "bytes=0-1", "If-Range", `"x"`}, 200, "0123456789"},
		"known":            {[]string{"If-None-Match", tag}, 304, ""},
		"known, weak":      {[]string{"If-None-Match", `"x", W/` + tag}, 304, ""},
		"not known":        {[]string{"If-None-Match", `"x"`}, 200, "0123456789"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := alice.asks("GET", downloadPath+mxc, "", "", tc.header...)
			if body := w.Body.String(); w.Code != tc.status || body != tc.body && (tc.status != 416 || !strings.Contains(body, tc.body)) {
				t.Errorf("%d %s %v", w.Code, body, w.Header())
			}
		})
	}
}

func TestNoFileForStrangers(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, nobody := h.registers(t, "alice"), &person{host: h}
	mxc := alice.uploads(t, "", "text/plain", "secret")
	for path, want := range map[string][2]string{
		downloadPath + mxc:                             {"401", "M_MISSING_TOKEN"},
		"/_matrix/client/v1/media/config":              {"401", "M_MISSING_TOKEN"},
		"/_matrix/media/v3/config":                     {"401", "M_MISSING_TOKEN"},
		"/_matrix/media/v3/download/" + mxc:            {"404", "M_NOT_FOUND"},
		"/_matrix/media/r0/download/" + mxc:            {"404", "M_NOT_FOUND"},
		"/_matrix/media/v1/download/" + mxc + "/x.txt": {"404", "M_NOT_FOUND"},
		"/_matrix/media/v3/download/away.example/abc":  {"404", "M_NOT_FOUND"},
	} {
		w := nobody.asks("GET", path, "", "")
		if got := toReply(w); strconv.Itoa(w.Code) != want[0] || got.Get("errcode").String() != want[1] {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for _, method := range []string{"POST " + uploadPath, "POST /_matrix/media/v1/create", "PUT " + uploadPath + "/" + mxc} {
		verb, path, _ := strings.Cut(method, " ")
		if w := nobody.asks(verb, path, "", "x"); w.Code != 401 {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
}

func TestOldEndpointsServeWhatIsOld(t *testing.T) {
	t.Parallel()
	db := testkit.OpenDB(t, "sqlite")
	h := startOn(t, db, func(_ *account.Options, co *clientapi.Options, _ *policystore.Options) {
		co.Media = newMedia(t, db, func(o *media.Options) { o.Public.All = true })
	})
	alice, nobody := h.registers(t, "alice"), &person{host: h}
	mxc := alice.uploads(t, "?filename=a.html", "text/html", "<script>alert(1)</script>")
	w := nobody.asks("GET", "/_matrix/media/r0/download/"+mxc, "", "")
	if w.Code != 200 || w.Header().Get("Content-Disposition") != "attachment; filename=a.html" || w.Header().Get("Cache-Control") != "public, max-age=86400" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestUploadLimits(t *testing.T) {
	t.Parallel()
	db := testkit.OpenDB(t, "sqlite")
	h := startOn(t, db, func(_ *account.Options, co *clientapi.Options, _ *policystore.Options) {
		co.Media = newMedia(t, db, func(o *media.Options) { o.MaxUpload, o.UserQuota = 100, 250 })
	})
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	if got := alice.get(t, "/_matrix/client/v1/media/config").ok(t); got.Get(`m\.upload\.size`).Int() != 100 {
		t.Errorf("config: %s", got.Raw)
	}
	full := strings.Repeat("x", 100)
	toReply(alice.asks("POST", uploadPath, "", full+"x")).wants(t, 413, "M_TOO_LARGE")
	unknown := httptest.NewRequest("POST", uploadPath, struct{ *bytes.Reader }{bytes.NewReader([]byte(full + "x"))})
	unknown.ContentLength = -1
	unknown.Header.Set("Authorization", "Bearer "+alice.token)
	h.serve(unknown).wants(t, 413, "M_TOO_LARGE")
	short := httptest.NewRequest("POST", uploadPath, strings.NewReader("abc"))
	short.ContentLength = 10
	short.Header.Set("Authorization", "Bearer "+alice.token)
	h.serve(short).wants(t, 400, "")
	alice.uploads(t, "", "", full)
	alice.uploads(t, "", "", full)
	toReply(alice.asks("POST", uploadPath, "", full)).wants(t, 403, "M_FORBIDDEN")
	alice.uploads(t, "", "", strings.Repeat("y", 50))
	bob.uploads(t, "", "", full)
}

func TestReservedNames(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		made := alice.post(t, "/_matrix/media/v1/create", body{}).ok(t)
		mxc := strings.TrimPrefix(made.Get("content_uri").String(), "mxc://")
		if made.Get("unused_expires_at").Int() == 0 {
			t.Errorf("reserved: %s", made.Raw)
		}
		toReply(bob.asks("GET", downloadPath+mxc+"?timeout_ms=0", "", "")).wants(t, 504, "M_NOT_YET_UPLOADED")
		toReply(bob.asks("PUT", uploadPath+"/"+mxc, "", "x")).wants(t, 403, "M_FORBIDDEN")
		toReply(alice.asks("PUT", uploadPath+"/here.example/nothing", "", "x")).wants(t, 404, "M_NOT_FOUND")
		toReply(alice.asks("PUT", uploadPath+"/away.example/nothing", "", "x")).wants(t, 404, "M_NOT_FOUND")
		waited := make(chan *httptest.ResponseRecorder, 1)
		go func() { waited <- bob.asks("GET", downloadPath+mxc, "", "") }()
		toReply(alice.asks("PUT", uploadPath+"/"+mxc+"?filename=late.txt", "text/plain", "late")).ok(t)
		if w := <-waited; w.Code != 200 || w.Body.String() != "late" {
			t.Errorf("who waited: %d %s", w.Code, w.Body)
		}
		toReply(alice.asks("PUT", uploadPath+"/"+mxc, "", "other")).wants(t, 409, "M_CANNOT_OVERWRITE_MEDIA")
		ready := alice.uploads(t, "", "", "ready")
		toReply(alice.asks("PUT", uploadPath+"/"+ready, "", "other")).wants(t, 409, "M_CANNOT_OVERWRITE_MEDIA")
		for range 50 {
			alice.post(t, "/_matrix/media/v1/create", nil).ok(t)
		}
		alice.post(t, "/_matrix/media/v1/create", nil).wants(t, 429, "M_LIMIT_EXCEEDED")
		bob.post(t, "/_matrix/media/v1/create", nil).ok(t)
	})
}

func TestBadFileNamesAndTypes(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	for name, tc := range map[string]struct{ filename, kind, wantType, wantDisposition string }{
		"path":          {"../../etc/passwd", "text/plain", "text/plain", "inline; filename=passwd"},
		"Windows path":  {`C:\x\y.txt`, "text/plain", "text/plain", "inline; filename=y.txt"},
		"dots":          {"..", "text/plain", "text/plain", "inline"},
		"control":       {"a\r\nX-Evil: 1\x7f.txt", "text/plain", "text/plain", `inline; filename="aX-Evil: 1.txt"`},
		"right to left": {"photo\u202egpj.exe", "image/jpeg", "image/jpeg", "inline; filename=photogpj.exe"},
		"quotes":        {`a"b.txt`, "text/plain", "text/plain", `inline; filename="a\"b.txt"`},
		"semicolon":     {"name;with;semicolons", "text/plain", "text/plain", `inline; filename="name;with;semicolons"`},
		"long":          {strings.Repeat("é", 300), "text/plain", "text/plain", "inline; filename*=utf-8''" + strings.Repeat("%C3%A9", 127)},
		"HTML":          {"a.html", "text/html; charset=utf-8", "text/html; charset=utf-8", "attachment; filename=a.html"},
		"SVG":           {"a.svg", "image/svg+xml", "image/svg+xml", "attachment; filename=a.svg"},
		"disguised":     {"a.svg", "IMAGE/SVG+XML ", "IMAGE/SVG+XML", "attachment; filename=a.svg"},
		"no type":       {"a", "nonsense", "application/octet-stream", "attachment; filename=a"},
		"bad type":      {"a", "text/html;;;=", "application/octet-stream", "attachment; filename=a"},
		"upper case":    {"a", "Text/Plain", "Text/Plain", "inline; filename=a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mxc := alice.uploads(t, "?filename="+url.QueryEscape(tc.filename), tc.kind, "x")
			w := alice.asks("GET", downloadPath+mxc, "", "")
			if got := w.Header().Get("Content-Type"); got != tc.wantType {
				t.Errorf("type %q, want %q", got, tc.wantType)
			}
			if got := w.Header().Get("Content-Disposition"); got != tc.wantDisposition {
				t.Errorf("disposition %q, want %q", got, tc.wantDisposition)
			}
		})
	}
	for _, path := range []string{"here.example/..%2F..%2Fetc", "here.example/a.b", "%2e%2e/abc", "here.example/%00", "a%2Fb/abc", "here.example/" + strings.Repeat("a", 300)} {
		if w := alice.asks("GET", downloadPath+path, "", ""); w.Code != 404 && w.Code != 400 && w.Code != 403 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := alice.asks("GET", downloadPath+"here.example/abc?timeout_ms=x", "", ""); w.Code != 400 {
		t.Errorf("timeout: %d", w.Code)
	}
}

func TestThumbnails(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice := h.registers(t, "alice")
		mxc := alice.uploads(t, "?filename=a.png", "text/html", string(picture(t, 400, 300)))
		thumb := func(mxc, query string) *httptest.ResponseRecorder {
			return alice.asks("GET", "/_matrix/client/v1/media/thumbnail/"+mxc+query, "", "")
		}
		for _, tc := range []struct {
			query         string
			width, height int
		}{
			{"?width=20&height=20&method=crop", 32, 32}, {"?width=20&height=20&method=crop", 32, 32}, {"?width=90&height=90&method=crop", 96, 96},
			{"?width=100&height=100", 320, 240}, {"?width=100&height=50&method=crop", 100, 50}, {"?width=640&height=480", 400, 300},
			{"?width=99999999999999999999&height=1", 400, 300}, {"?width=32&height=32&method=scale&animated=true", 320, 240},
		} {
			w := thumb(mxc, tc.query)
			c, _, err := image.DecodeConfig(w.Body)
			if w.Code != 200 || err != nil || c.Width != tc.width || c.Height != tc.height || w.Header().Get("Content-Type") != "image/png" ||
				w.Header().Get("Content-Disposition") != "inline; filename=thumbnail.png" {
				t.Errorf("%s: %d %dx%d %v %v", tc.query, w.Code, c.Width, c.Height, err, w.Header())
			}
		}
		for query, code := range map[string]string{
			"": "M_MISSING_PARAM", "?width=10": "M_MISSING_PARAM", "?width=0&height=10": "M_INVALID_PARAM", "?width=-1&height=10": "M_INVALID_PARAM",
			"?width=x&height=10": "M_INVALID_PARAM", "?width=10&height=10&method=stretch": "M_INVALID_PARAM", "?width=1.5&height=2": "M_INVALID_PARAM",
		} {
			toReply(thumb(mxc, query)).wants(t, 400, code)
		}
		toReply(thumb(alice.uploads(t, "", "image/png", "no picture"), "?width=10&height=10")).wants(t, 400, "M_UNKNOWN")
		bomb := "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\xc3\x50\x00\x00\xc3\x50\x08\x06\x00\x00\x00"
		bomb += string(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(bomb[12:]))))
		toReply(thumb(alice.uploads(t, "", "image/png", bomb), "?width=10&height=10")).wants(t, 413, "M_TOO_LARGE")
		toReply(thumb("here.example/nothing", "?width=10&height=10")).wants(t, 404, "M_NOT_FOUND")
		nobody := &person{host: h}
		toReply(nobody.asks("GET", "/_matrix/client/v1/media/thumbnail/"+mxc+"?width=1&height=1", "", "")).wants(t, 401, "M_MISSING_TOKEN")
		toReply(nobody.asks("GET", "/_matrix/media/v3/thumbnail/"+mxc+"?width=1&height=1", "", "")).wants(t, 404, "M_NOT_FOUND")
	})
}

// picture is a PNG of a size.
func picture(t testing.TB, w, h int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = byte(i / 7)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
