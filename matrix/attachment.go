package matrix

// EncryptedFile is what an event says of an encrypted attachment. Its key is
// used and forgotten: it goes to no log, no table and no disk.
//
// https://spec.matrix.org/v1.19/client-server-api/#extensions-to-mroommessage-msgtypes
type EncryptedFile struct {
	URL     string            `json:"url"`
	Version string            `json:"v"`
	IV      string            `json:"iv"`
	Hashes  map[string]string `json:"hashes"`
	Key     EncryptionKey     `json:"key"`
}

// EncryptionKey is the key of an attachment, as a JSON Web Key.
//
// https://spec.matrix.org/v1.19/client-server-api/#extensions-to-mroommessage-msgtypes
type EncryptionKey struct {
	Type       string   `json:"kty"`
	Algorithm  string   `json:"alg"`
	Operations []string `json:"key_ops"`
	Ext        bool     `json:"ext"`
	Key        string   `json:"k"`
}

// MXC returns the file of an attachment, or M_BAD_JSON.
//
// https://spec.matrix.org/v1.19/client-server-api/#extensions-to-mroommessage-msgtypes
func (e *EncryptedFile) MXC() (MXC, error) {
	mxc, err := ParseMXC(e.URL)
	if err != nil {
		return mxc, BadJSON("file.url is no mxc:// URI")
	}
	return mxc, nil
}
