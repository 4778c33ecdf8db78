package account

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"embed"
	"fmt"
	"strings"
	"text/template"
	"time"

	gomail "github.com/wneessen/go-mail"
	"golang.org/x/text/language"

	"beffroi/matrix"
)

// The ways to protect the connection to the mail server.
const (
	TLSRequired = "starttls" // begin in the clear, then insist on TLS
	TLSImplicit = "implicit" // TLS from the first byte
	TLSNone     = "none"     // for a mail server on this machine
)

const (
	// mailTimeout bounds one mail. A client waits for it.
	mailTimeout = 20 * time.Second
	// maxMailing bounds how many mails are on their way.
	maxMailing = 8
)

// MailOptions say how mail is sent.
type MailOptions struct {
	Host     string
	Port     int
	Username string // "" sends without authentication
	Password string
	TLS      string         // "" is TLSRequired
	RootCAs  *x509.CertPool // nil is the system's
	From     string         // an address, with or without a name
}

// Mailer sends mails by SMTP.
type Mailer struct {
	options MailOptions
	slots   chan struct{} // maxMailing of them
}

// NewMailer checks the options. It connects to nobody.
func NewMailer(o MailOptions) (*Mailer, error) {
	m := &Mailer{options: o, slots: make(chan struct{}, maxMailing)}
	if _, err := m.client(mailTimeout); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	if err := gomail.NewMsg().From(o.From); err != nil {
		return nil, fmt.Errorf("mail: from: %w", err)
	}
	return m, nil
}

func (m *Mailer) client(timeout time.Duration) (*gomail.Client, error) {
	o := m.options
	opts := []gomail.Option{
		gomail.WithTimeout(timeout), gomail.WithPort(o.Port),
		gomail.WithTLSConfig(&tls.Config{ServerName: o.Host, RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}),
	}
	switch o.TLS {
	case "", TLSRequired:
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case TLSImplicit:
		opts = append(opts, gomail.WithSSL())
	case TLSNone:
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, fmt.Errorf("tls: %q is none of %s, %s and %s", o.TLS, TLSRequired, TLSImplicit, TLSNone)
	}
	if o.Username != "" {
		opts = append(opts, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(o.Username), gomail.WithPassword(o.Password))
	}
	return gomail.NewClient(o.Host, opts...)
}

// letter is a mail to be written from a template.
type letter struct {
	template string
	useful   bool // it has a code in it

	To       string
	Language string
	Code     string
	Link     string
	Server   string
	Until    string // of a renewal: the day on which the account ends
	Expired  bool   // and whether it has
}

func (letter) empty() letter { return letter{} }

// letterFor chooses the mail: an address that has an owner cannot register
// again, and one that has none has no password to forget.
func letterFor(purpose Purpose, owner matrix.UserID) letter {
	switch {
	case purpose == ForPassword && owner == "":
		return letter{template: "password-unknown"}
	case purpose != ForPassword && owner != "":
		return letter{template: "known"}
	}
	return letter{template: string(purpose), useful: true}
}

//go:embed mails/*.txt
var mailFiles embed.FS

var mailTemplates = template.Must(template.ParseFS(mailFiles, "mails/*.txt"))

var mailLanguages = []language.Tag{language.French, language.English}

// language returns the language of mails that fits an Accept-Language header.
func (s *Server) language(accept string) string {
	fallback := language.Make(s.Language)
	if len(accept) > 256 {
		accept = ""
	}
	wanted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		wanted = nil
	}
	_, i, _ := language.NewMatcher(mailLanguages).Match(append(wanted, fallback)...)
	base, _ := mailLanguages[i].Base()
	return base.String()
}

// send writes the letter and gives it to the mail server. A mail server that
// does not take it is 503.
func (m *Mailer) send(ctx context.Context, l letter) error {
	var text strings.Builder
	if err := mailTemplates.ExecuteTemplate(&text, l.template+"."+l.Language+".txt", l); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	subject, body, _ := strings.Cut(text.String(), "\n\n")
	msg := gomail.NewMsg()
	if err := msg.From(m.options.From); err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	if err := msg.To(l.To); err != nil {
		return matrix.InvalidParam("this is not an e-mail address")
	}
	msg.Subject(subject)
	msg.SetBodyString(gomail.TypeTextPlain, body)
	msg.SetGenHeader("Auto-Submitted", "auto-generated")

	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return matrix.Unavailable(time.Minute)
	}
	until, _ := ctx.Deadline() // the library looks at the context only while it connects
	client, err := m.client(max(time.Until(until), time.Millisecond))
	if err != nil {
		return fmt.Errorf("send mail: %w", err)
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		return fmt.Errorf("%w: send mail: %w", matrix.Unavailable(time.Minute), err)
	}
	return nil
}
