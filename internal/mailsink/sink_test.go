package mailsink_test

import (
	"net/smtp"
	"strings"
	"testing"

	"beffroi/internal/mailsink"
)

func TestAMailIsDelivered(t *testing.T) {
	t.Parallel()
	sink, err := mailsink.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := "Subject: code\r\n\r\n.a line that begins with a dot\r\n123456\r\n"
	if err := smtp.SendMail(sink.Addr().String(), nil, "from@x.example", []string{"To@y.example"}, []byte(body)); err != nil {
		t.Fatal(err)
	}
	mail, err := sink.Wait(t.Context(), "to@Y.example", 0)
	if err != nil || !strings.Contains(mail, "123456") || !strings.Contains(mail, "\n.a line") {
		t.Errorf("%q, %v", mail, err)
	}
	if sink.Count("nobody@y.example") != 0 {
		t.Error("mail for somebody else")
	}
}
