package clientapi

import (
	"context"
	"net/http"
	"net/url"

	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// sendRenewal sends the mail that prolongs the caller's account, also when it
// has expired. Tchap's clients ask for it where they are told that it has.
func (s *Server) sendRenewal(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.None, error) {
	if err := s.limits.take(s.Now(), mailing, who); err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Accounts.RequestRenewal(ctx, who.User, r.Header.Get("Accept-Language"))
}

var renewalWords = map[string]words{
	"en": {"Keep your account", "Keep it", "Do you want to go on using your account?",
		"Thank you", "Your account can be used until ",
		"This link does not work", "It is too old, or not complete. Ask for another mail in the application.", ""},
	"fr": {"Gardez votre compte", "Garder mon compte", "Voulez-vous continuer à utiliser votre compte ?",
		"Merci", "Votre compte est valable jusqu'au ",
		"Ce lien ne fonctionne pas", "Il est trop ancien, ou incomplet. Demandez un nouveau message dans l'application.", ""},
}

// renewalAsk shows whoever follows the link of a reminder what it is for.
func (s *Server) renewalAsk(_ context.Context, _ *caller, r *http.Request, _ httpx.None) (httpx.Content, error) {
	lang := pageLanguage(r)
	say, token := renewalWords[lang], r.URL.Query().Get("token")
	if token == "" || len(token) > maxTokenBytes {
		return page(http.StatusBadRequest, mailPageData{Lang: lang, Title: say.wrong, Text: say.wrongText})
	}
	return page(http.StatusOK, mailPageData{Lang: lang, Title: say.title, Text: say.askText, Ask: say.ask, Token: token})
}

// renewalDone prolongs the account.
func (s *Server) renewalDone(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (httpx.Content, error) {
	lang := pageLanguage(r)
	say := renewalWords[lang]
	raw, err := httpx.Body(r, maxFormBytes)
	if err != nil {
		return httpx.Content{}, err
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil || !storable(form.Get("token")) {
		return httpx.Content{}, matrix.InvalidParam("the form is not that of the page")
	}
	until, err := s.Accounts.Renew(ctx, form.Get("token"))
	switch answer := matrix.Answer(err); {
	case err == nil:
		return page(http.StatusOK, mailPageData{Lang: lang, Title: say.done, Text: say.doneText + until.UTC().Format("2006-01-02") + "."})
	case answer.Status >= http.StatusInternalServerError:
		return httpx.Content{}, err
	default:
		return page(answer.Status, mailPageData{Lang: lang, Title: say.wrong, Text: say.wrongText})
	}
}

type addressInfo struct {
	Server    matrix.ServerName `json:"hs"`
	NewServer matrix.ServerName `json:"new_hs,omitempty"`
	Invited   bool              `json:"invited"`
}

// addressInfo says on which server the owner of an e-mail address has or makes
// an account, as Tchap's clients ask before anybody logs in. An address that no
// organisation has is answered in the same form, with no server.
func (s *Server) addressInfo(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (addressInfo, error) {
	medium, err := httpx.QueryEnum(r, "medium", "", "email")
	if err != nil {
		return addressInfo{}, err
	}
	address, err := httpx.QueryRequired(r, "address")
	if err != nil {
		return addressInfo{}, err
	}
	if medium == "" {
		return addressInfo{}, matrix.MissingParam("medium is missing")
	}
	if s.Addresses == nil {
		return addressInfo{}, matrix.Unrecognized()
	}
	if err := s.limits.take(s.Now(), placing, who); err != nil {
		return addressInfo{}, err
	}
	party, servers, err := s.Addresses.Address(address, s.Now())
	if err != nil {
		return addressInfo{}, err
	}
	var out addressInfo
	if party.Admitted() && len(servers) > 0 {
		out.Server = servers[0]
	}
	if out.Invited, err = s.Accounts.Sponsored(ctx, address); err != nil {
		return addressInfo{}, err
	}
	if out.Server == s.ServerName || out.Server == "" {
		return out, nil
	}
	// Its organisation has another server now, and the account is still here.
	here, err := s.Accounts.HasAddress(ctx, address)
	if here {
		out.Server, out.NewServer = s.ServerName, out.Server
	}
	return out, err
}
