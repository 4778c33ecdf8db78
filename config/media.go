package config

import (
	"net"
	"strings"
	"time"
)

// Media is how files are kept: what people send, and copies of what they fetch
// from other servers.
type Media struct {
	// The longest file that can be uploaded.
	MaxUpload Size `yaml:"max_upload"`

	// The longest file that is fetched from another server.
	MaxRemote Size `yaml:"max_remote"`

	// What all files that one account has uploaded may take. 0 means no bound.
	UserQuota Size `yaml:"user_quota"`

	// How long a file of this server is kept that nobody looks at, such as
	// 8760h for a year. 0 means for ever.
	LocalRetention time.Duration `yaml:"local_retention"`

	// How long a copy of a file of another server is kept that nobody looks at.
	// It is fetched again when somebody does. 0 means for ever.
	RemoteRetention time.Duration `yaml:"remote_retention"`

	// Where files are kept: empty means a folder below data, and a URL such as
	// https://s3.example/bucket/prefix an object store that speaks the protocol
	// of S3. Several nodes need one.
	Store string `yaml:"store"`

	// The region of the object store. Empty means that it has none.
	S3Region string `yaml:"s3_region"`

	// The file that holds the access key of the object store and, in a second
	// line, its secret key.
	S3KeyFile string `yaml:"s3_key_file"`

	// The ClamAV daemon that looks at every file: host:port, or the path of its
	// socket. Files with malware are not taken, and not served. Empty means that
	// nothing is scanned.
	Scanner string `yaml:"scanner"`

	// How long the scanner may take for one file.
	ScannerTimeout time.Duration `yaml:"scanner_timeout"`

	// Serves a file that the scanner could not look at, because it is down, too
	// slow, or the file is too long for it. Otherwise such files wait.
	ScannerFailOpen bool `yaml:"scanner_fail_open"`

	// Lets the server look at the pages behind links and tell clients their
	// titles and pictures. It asks public addresses only, but whoever runs such a
	// page learns that somebody here has its link.
	URLPreviews bool `yaml:"url_previews"`

	// Which files are served to whoever knows their name, by the endpoints from
	// before clients had to log in for it: never, always, or those that came
	// before a day such as 2026-01-31.
	Public string `yaml:"public"`
}

// The words of media.public that are no day.
const (
	MediaPublicNever  = "never"
	MediaPublicAlways = "always"
)

// PublicBefore returns the day before which files are public, and whether all
// of them are.
func (m *Media) PublicBefore() (day time.Time, all bool) {
	if m.Public == MediaPublicAlways {
		return time.Time{}, true
	}
	day, _ = time.ParseInLocation(time.DateOnly, m.Public, time.UTC) // never is no day, and nothing came before it
	return day, false
}

// maxMediaFile bounds the bounds: a file goes through memory and the disk of
// this machine in pieces, and no client sends a longer one.
const maxMediaFile Size = 16 << 30

func (c *Config) checkMedia(k *checker) {
	m := &c.Media
	for key, size := range map[string]Size{"media.max_upload": m.MaxUpload, "media.max_remote": m.MaxRemote} {
		if size < 1 || size > maxMediaFile {
			k.bad(key, "must be between 1B and %s", maxMediaFile)
		}
	}
	for key, kept := range map[string]time.Duration{"media.local_retention": m.LocalRetention, "media.remote_retention": m.RemoteRetention} {
		if kept != 0 && kept < 24*time.Hour {
			k.bad(key, "must be 0 or at least 24h: it is noted to the hour when a file was looked at")
		}
	}
	if m.Store != "" {
		k.url("media.store", m.Store)
	}
	if (m.Store == "") != (m.S3KeyFile == "") {
		k.bad("media.s3_key_file", "media.store and media.s3_key_file belong together")
	}
	if m.ScannerTimeout < minTimeout || m.ScannerTimeout > maxTimeout {
		k.bad("media.scanner_timeout", "must be between %s and %s", minTimeout, maxTimeout)
	}
	if _, _, err := net.SplitHostPort(m.Scanner); m.Scanner != "" && !strings.HasPrefix(m.Scanner, "/") && err != nil {
		k.bad("media.scanner", "%q is neither host:port nor the path of a socket", m.Scanner)
	}
	if m.Public != MediaPublicNever && m.Public != MediaPublicAlways {
		if _, err := time.Parse(time.DateOnly, m.Public); err != nil {
			k.bad("media.public", "%q is neither never, always, nor a day such as 2026-01-31", m.Public)
		}
	}
}

func defaultMedia() Media {
	return Media{MaxUpload: 100 << 20, MaxRemote: 100 << 20, RemoteRetention: 90 * 24 * time.Hour, ScannerTimeout: time.Minute,
		Public: MediaPublicNever}
}
