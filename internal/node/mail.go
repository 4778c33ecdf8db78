package node

import (
	"fmt"
	"os"
	"strings"

	"beffroi/account"
	"beffroi/config"
)

// newMailer returns who sends mail, nil where no mail server is configured.
func newMailer(c config.SMTP) (*account.Mailer, error) {
	if c.Host == "" {
		return nil, nil
	}
	password := ""
	if c.PasswordFile != "" {
		raw, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("smtp.password_file: %w", err)
		}
		password = strings.TrimRight(string(raw), "\r\n")
	}
	security := map[string]string{
		config.SMTPStartTLS: account.TLSRequired, config.SMTPImplicit: account.TLSImplicit, config.SMTPPlain: account.TLSNone,
	}[c.TLS]
	return account.NewMailer(account.MailOptions{Host: c.Host, Port: c.Port, Username: c.Username, Password: password,
		From: c.From, TLS: security})
}
