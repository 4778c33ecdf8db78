// Package config is what an operator can set: the settings, where they are
// read from, and what is wrong with them.
package config

import (
	"net/netip"
	"time"

	"beffroi/matrix"
)

// Config is the whole configuration. The comment of a field is its
// documentation: docs/config.md and config/example.yaml are made from it.
//
// A setting has one name in three spellings: smtp.password_file in the file,
// BEFFROI_SMTP_PASSWORD_FILE in the environment, --smtp-password-file as a flag.
type Config struct {
	// The name after the colon in user IDs. Other servers find this one by it,
	// and it can never be changed.
	ServerName matrix.ServerName `yaml:"server_name"`

	// The folder for everything the server keeps: the SQLite database, the
	// signing key, media, a self-signed certificate. It is created when it is
	// missing.
	Data string `yaml:"data"`

	// Where rooms and accounts are kept: a postgres:// URL, or the path of an
	// SQLite file. Empty means beffroi.db in the data folder.
	Database string `yaml:"database"`

	// The file of the policy document. It is read again when it changes. Empty
	// means policy.yaml in the data folder, which is written at the first start
	// with this server as its only organisation.
	Policy string `yaml:"policy"`

	// Lets the author of a draft of a policy document put it in force without
	// the approval of another person.
	PolicyAlone bool `yaml:"policy_alone"`

	// The share of all memberships in rooms, in percent, that a change of the
	// policy may refuse on the word of one person: by the policy file, or where
	// policy_alone is set. Beyond it another person approves a draft first. 100
	// sets no bound. Members of this server's own organisation always count as
	// beyond it.
	PolicyImpact int `yaml:"policy_impact"`

	// The base URL that clients are sent to by .well-known/matrix/client. Empty
	// means https:// and the host of the server name.
	PublicURL string `yaml:"public_url"`

	// The host and port that .well-known/matrix/server tells other servers, such
	// as matrix.interieur.example:8448. The document is on the client listener,
	// whose proxy must serve it at https:// and the server name. Empty means that
	// there is none, and that others look for the server at its name.
	FederationAddress matrix.ServerName `yaml:"federation_address"`

	// A PEM file of certificate authorities that are trusted for federation
	// besides those of the system, for closed networks.
	TrustCA string `yaml:"trust_ca"`

	// The memory that caches may take: 0 is a quarter of what the process may, which is GOMEMLIMIT where
	// that is set, else the limit of its control group, else the machine. What is in use fills it; the whole
	// process takes up to twice as much and about 50 MB.
	Memory Size `yaml:"memory"`

	// The version of new rooms where neither their creator nor the policy
	// document names one. Empty means the one that the specification recommends.
	RoomVersion matrix.RoomVersion `yaml:"room_version"`

	// For tests and trials only. Every server is a partner and everybody may
	// register unless policy names a document, there are no rate limits,
	// passwords are hashed cheaply, and federation may use loopback addresses.
	// Refuses to listen on anything but loopback.
	Development bool `yaml:"development"`

	PolicyFeed   PolicyFeed   `yaml:"policy_feed"`
	Client       Client       `yaml:"client"`
	Federation   Federation   `yaml:"federation"`
	TLS          TLS          `yaml:"tls"`
	Metrics      Metrics      `yaml:"metrics"`
	Registration Registration `yaml:"registration"`

	UserDirectory UserDirectory `yaml:"user_directory"`
	Presence      Presence      `yaml:"presence"`
	Retention     Retention     `yaml:"retention"`
	Media         Media         `yaml:"media"`
	SMTP          SMTP          `yaml:"smtp"`
	Support       Support       `yaml:"support"`
	Sessions      Sessions      `yaml:"sessions"`
	Validity      Validity      `yaml:"validity"`
	Log           Log           `yaml:"log"`
}

// PolicyFeed is where the national policy document comes from.
type PolicyFeed struct {
	// The URL of the signed bundle, such as
	// https://dinum.example/_beffroi/policy/v1/bundle. Empty means no feed: a
	// bundle comes by beffroi policy import alone.
	URL string `yaml:"url"`

	// The issuer of the national document, as it stands in the document. Its
	// document becomes the floor, which the document of this server only
	// tightens. Empty means that no bundle is believed.
	Issuer string `yaml:"issuer"`

	// The keys of the issuer, of which one must have signed the bundle, as
	// beffroi policy export prints them: "ed25519:a1 BASE64". Two, while a key
	// is being replaced.
	Keys []string `yaml:"keys"`

	// How often the feed is looked at.
	Interval time.Duration `yaml:"interval"`

	// Gives the bundle in force to everybody who asks for it at
	// /_beffroi/policy/v1/bundle on the federation listener: the national one as
	// it came, or else the document of this server, signed with its own key.
	Publish bool `yaml:"publish"`
}

// Client is how clients reach the server.
type Client struct {
	// The address of the client API, in plain HTTP: a reverse proxy with a
	// public certificate belongs in front of it.
	Listen string `yaml:"listen"`

	// The address ranges of reverse proxies. Only their X-Forwarded-For is
	// believed, in rate limits and in the list of a user's devices.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
}

// Federation is how other servers and this one reach each other.
type Federation struct {
	// The address for other servers, in HTTPS with the certificate under tls.
	Listen string `yaml:"listen"`

	// Private and special address ranges that other servers may have. Without
	// it nothing is sent to an address that is not public.
	AllowRanges []netip.Prefix `yaml:"allow_ranges"`

	// A file that names the addresses of servers, for networks without DNS. A
	// line is a server name and an address with its port, separated by spaces:
	//
	//     sante.example 10.1.2.3:8448
	Resolver string `yaml:"resolver"`

	// The http:// or https:// URL of a proxy that all federation requests take.
	Proxy string `yaml:"proxy"`

	// How long one request to another server may take.
	Timeout time.Duration `yaml:"timeout"`

	// Shows the certificate under tls to other servers, and speaks only with
	// servers that show one of the authorities in trust_ca, which it needs.
	MutualTLS bool `yaml:"mutual_tls"`
}

// TLS is the certificate of the federation listener.
type TLS struct {
	// The PEM file of the certificate chain. It is read again when it changes.
	// Empty means a self-signed certificate in the data folder.
	Cert string `yaml:"cert"`

	// The PEM file of the certificate's private key.
	Key string `yaml:"key"`
}

// Metrics is the listener for Prometheus.
type Metrics struct {
	// The address of GET /metrics, in plain HTTP. It must not be public. Empty
	// means none.
	Listen string `yaml:"listen"`
}

// Registration is how accounts are made by programs.
type Registration struct {
	// The shared secret of POST /_synapse/admin/v1/register. Empty means that
	// there is no such call. Only allowed with development.
	Secret string `yaml:"secret"`
}

// UserDirectory is who is found by whom in the search for people.
type UserDirectory struct {
	// Every account of this server is found by all others. Else it is by those
	// who share a room with it, or where it is in a room that anybody may join or
	// read. Who set im.vector.hide_profile is found by nobody.
	Everybody bool `yaml:"everybody"`
}

// Presence is who is told that somebody is there.
type Presence struct {
	// Those who share a room are told who is online, on this server and on
	// others. It costs much for little: every change is a message to everybody.
	Enabled bool `yaml:"enabled"`
}

// Retention is how long messages are kept; state is kept as long as the room.
type Retention struct {
	// How long messages are kept in rooms that say nothing about it, such as
	// 8760h for a year. They are removed within the hour, on this server. 0 means
	// for ever.
	Default time.Duration `yaml:"default"`

	// The least that a room may ask for with m.room.retention. 0 means that it
	// may ask for any time.
	Min time.Duration `yaml:"min"`

	// The most that a message is kept, whatever a room asks for. 0 means no
	// bound.
	Max time.Duration `yaml:"max"`
}

// SMTP is how mail leaves the server.
type SMTP struct {
	// The mail server. Empty means that no mail is sent, and that nobody can
	// register by a verified address.
	Host string `yaml:"host"`

	// The port of the mail server.
	Port int `yaml:"port"`

	// The account on the mail server. Empty means that it asks for none.
	Username string `yaml:"username"`

	// The file that holds the password of the account, and nothing else.
	PasswordFile string `yaml:"password_file"`

	// The sender of all mails.
	From string `yaml:"from"`

	// How the connection is encrypted: starttls, implicit, or none. With none
	// no password is sent, unless the mail server is on this machine.
	TLS string `yaml:"tls"`
}

// The values of smtp.tls.
const (
	SMTPStartTLS = "starttls"
	SMTPImplicit = "implicit"
	SMTPPlain    = "none"
)

// Support is whom one turns to about the server, as .well-known/matrix/support
// says it.
type Support struct {
	// The page that helps people on this server.
	Page string `yaml:"page"`

	// The e-mail address of the administrators.
	AdminEmail string `yaml:"admin_email"`

	// The user ID of the administrators.
	AdminUser matrix.UserID `yaml:"admin_user"`

	// The e-mail address for reports of weaknesses.
	SecurityEmail string `yaml:"security_email"`

	// The user ID for reports of weaknesses.
	SecurityUser matrix.UserID `yaml:"security_user"`
}

// Sessions is how long clients stay logged in.
type Sessions struct {
	// How long an access token lives whose client can refresh it. Clients that
	// cannot have one that lives until they log out.
	TokenLifetime time.Duration `yaml:"token_lifetime"`
}

// Validity is how long accounts live.
type Validity struct {
	// How long an account with an e-mail address can be used until its owner
	// follows the link of a mail, which goes out 60, 30 and 15 days before. 0
	// means for ever, and so does a server that sends no mail.
	Period time.Duration `yaml:"period"`

	// How long after its end an account is deactivated for good. Until then its
	// owner can still renew it. 0 means never.
	DeactivateAfter time.Duration `yaml:"deactivate_after"`
}

// Log is what is written to the standard error stream.
type Log struct {
	// text for people, json for collectors.
	Format string `yaml:"format"`

	// The least level that is written: debug, info, warn or error.
	Level string `yaml:"level"`
}

// Default is what holds where nothing is set. It is ready to use: a server
// named localhost that keeps everything in ./data.
func Default() Config {
	return Config{
		ServerName:   "localhost",
		Data:         "data",
		PolicyImpact: 10,
		PolicyFeed:   PolicyFeed{Interval: 5 * time.Minute},
		Client:       Client{Listen: "127.0.0.1:8008"},
		Federation:   Federation{Listen: ":8448", Timeout: 30 * time.Second},
		Metrics:      Metrics{Listen: "127.0.0.1:8009"},
		Media:        defaultMedia(),
		SMTP:         SMTP{Port: 587, TLS: SMTPStartTLS},
		Sessions:     Sessions{TokenLifetime: time.Hour},
		Validity:     Validity{Period: 395 * 24 * time.Hour, DeactivateAfter: 120 * 24 * time.Hour},
		Log:          Log{Format: "text", Level: "info"},
	}
}
