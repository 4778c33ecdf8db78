package clientapi

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"

	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// mailPage is what somebody sees who follows the link of a mail. It asks
// before it does anything: programs that scan mail follow links, too.
var mailPage = template.Must(template.New("mail").Parse(`<!doctype html>
<html lang="{{.Lang}}"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}
button{font:inherit;padding:.5rem 1.5rem}</style>
<h1>{{.Title}}</h1><p>{{.Text}}</p>
{{if .Ask}}<form method="post"><input type="hidden" name="sid" value="{{.SID}}">
<input type="hidden" name="token" value="{{.Token}}"><button>{{.Ask}}</button></form>{{end}}
{{if .Next}}<p><a href="{{.Next}}">{{.NextText}}</a></p>{{end}}
</html>
`))

type mailPageData struct{ Lang, Title, Text, Ask, SID, Token, Next, NextText string }

// maxTokenBytes bounds the token of a link, which is shorter.
const maxTokenBytes = 255

// words are the sentences of the page.
type words struct{ title, ask, askText, done, doneText, wrong, wrongText, next string }

var pageWords = map[string]words{
	"en": {"Confirm your address", "Confirm", "Is this your e-mail address? Confirm it to go on.",
		"Thank you", "Your address is confirmed. You can go back to the application.",
		"This link does not work", "It was used before, or is too old. Ask for another mail.", "Continue"},
	"fr": {"Confirmez votre adresse", "Confirmer", "Est-ce bien votre adresse ? Confirmez-la pour continuer.",
		"Merci", "Votre adresse est confirmée. Vous pouvez retourner dans l'application.",
		"Ce lien ne fonctionne pas", "Il a déjà servi, ou il est trop ancien. Demandez un nouveau message.", "Continuer"},
}

// maxFormBytes bounds the form of the page: two identifiers.
const maxFormBytes = 4 << 10

// mailLinkAsk shows whoever follows the link of a mail what it is for.
func (s *Server) mailLinkAsk(_ context.Context, _ *caller, r *http.Request, _ httpx.None) (httpx.Content, error) {
	lang, q := pageLanguage(r), r.URL.Query()
	say := pageWords[lang]
	return page(http.StatusOK, mailPageData{Lang: lang, Title: say.title, Text: say.askText, Ask: say.ask,
		SID: q.Get("sid"), Token: q.Get("token")})
}

// mailLinkDone proves the address.
func (s *Server) mailLinkDone(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (httpx.Content, error) {
	lang := pageLanguage(r)
	say := pageWords[lang]
	raw, err := httpx.Body(r, maxFormBytes)
	if err != nil {
		return httpx.Content{}, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil || !storable(form.Get("sid")) || !storable(form.Get("token")) {
		return httpx.Content{}, matrix.InvalidParam("the form is not that of the page")
	}
	next, err := s.Accounts.SubmitEmailLink(ctx, form.Get("sid"), form.Get("token"))
	switch answer := matrix.Answer(err); {
	case err == nil:
	case answer.Status >= http.StatusInternalServerError:
		return httpx.Content{}, err
	default:
		return page(answer.Status, mailPageData{Lang: lang, Title: say.wrong, Text: say.wrongText})
	}
	out := mailPageData{Lang: lang, Title: say.done, Text: say.doneText, NextText: say.next}
	if u, err := url.Parse(next); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		out.Next = next
	}
	return page(http.StatusOK, out)
}

func pageLanguage(r *http.Request) string {
	if strings.HasPrefix(strings.ToLower(r.Header.Get("Accept-Language")), "fr") {
		return "fr"
	}
	return "en"
}

func page(status int, data mailPageData) (httpx.Content, error) {
	var buf bytes.Buffer
	if err := mailPage.Execute(&buf, data); err != nil {
		return httpx.Content{}, fmt.Errorf("write page: %w", err)
	}
	return httpx.Content{Code: status, Size: int64(buf.Len()), Body: io.NopCloser(&buf), Header: http.Header{
		"Content-Type":            {"text/html; charset=utf-8"},
		"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"},
		"Referrer-Policy":         {"no-referrer"},
		"Cache-Control":           {"no-store"},
	}}, nil
}
