package media_test

import (
	"testing"

	"beffroi/media"
)

// TestUnsealsWhatLibolmSealed reads what PkEncryption of libolm 3.2.13 made for
// the key of the bytes 1 to 32.
func TestUnsealsWhatLibolmSealed(t *testing.T) {
	t.Parallel()
	o := media.Options{Folder: t.TempDir()}
	for i := range o.Secret {
		o.Secret[i] = byte(i + 1)
	}
	s, err := media.New(o)
	must(t, err)
	if got := s.PublicKey(); got != "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw" {
		t.Errorf("public key %s", got)
	}
	got, err := s.Unseal(media.SealedBody{Ciphertext: "4RHCRLzO8TpBUO5To+c+yaPtm1/cpqTvuzcHKhu5T+/iEK3D4ZEbhGAJAPGcG3UF",
		MAC: "FyX0MmU9uQg", Ephemeral: "cTeS2F38dVoURHEiv30a3LSXK/7XtnzWpOvRkjm+bXM"})
	if err != nil || string(got) != `{"file":{"url":"mxc://here.example/abc"}}` {
		t.Errorf("%s %v", got, err)
	}
}
