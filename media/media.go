// Package media owns files: what people upload, and copies of what they fetch
// from other servers. It is the only writer of their tables and of the store.
//
// Nothing is served that is quarantined, and with a scanner nothing that it has
// not found clean. Whoever asks for a file was asked for a session and by the
// policy before; a verdict or a copy that is there already gives nobody a right.
package media

import (
	"context"
	"crypto/ecdh"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"beffroi/matrix"
	"beffroi/storage"
)

// Store keeps bytes under names of letters and digits. [blobs.Dir] and
// [blobs.S3] are stores.
type Store interface {
	// Put keeps a file of a size. It outlasts a crash once Put returns.
	Put(ctx context.Context, name string, file *os.File, size int64) error
	// Open opens what Put kept; fs.ErrNotExist says that it is not there.
	Open(ctx context.Context, name string) (io.ReadSeekCloser, error)
	// Delete removes what Put kept. What is not there is no error.
	Delete(ctx context.Context, name string) error
	// Each calls fn for everything that is kept.
	Each(ctx context.Context, fn func(name string, written time.Time) error) error
}

// Remote fetches files of other servers. federation/client has it.
type Remote interface {
	// Media fetches a file and gives it to save, once. It waits for a file that
	// is not uploaded yet as long as wait. An error of save comes back as it is.
	Media(ctx context.Context, file matrix.MXC, wait time.Duration, maxBytes int64,
		save func(contentType, disposition string, body io.Reader) error) error
}

// Scanner looks for malware.
type Scanner interface {
	// Scan reads a file and returns what the malware in it is called, "" where
	// there is none. An error says that nothing is known.
	Scan(ctx context.Context, file io.Reader) (threat string, err error)
}

// Options is what a [Server] is made of.
type Options struct {
	DB         *storage.DB
	ServerName matrix.ServerName
	Store      Store
	Remote     Remote  // nil: there are no other servers
	Scanner    Scanner // nil: nothing is scanned
	// Folder is for files under way.
	Folder string
	// MaxUpload and MaxRemote bound one file of this server and of another one,
	// and UserQuota all that an account has uploaded; 0 is no quota.
	MaxUpload, MaxRemote, UserQuota int64
	// Secret is what the key is made of by which clients seal their questions
	// about encrypted files. It is the same on all nodes.
	Secret [32]byte
	// FailOpen serves what the scanner could not look at.
	FailOpen bool
	// LocalRetention and RemoteRetention are how long a file is kept that nobody
	// looks at; 0 is for ever.
	LocalRetention, RemoteRetention time.Duration
	// Public says which files are served to whoever knows their name.
	Public Public

	Log     *slog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
	Now     func() time.Time      // nil: time.Now
}

// Public says for which files the old endpoints, which ask for no session, are
// still answered: none, all, or those that came before a day.
type Public struct {
	All    bool
	Before time.Time
}

// Server owns files. Its mutex is held over no other.
type Server struct {
	Options
	log     *slog.Logger
	metrics *metrics
	workers chan struct{} // one for each thumbnail under way
	fetches chan struct{} // one for each file that is fetched
	flight  singleflight.Group
	absent  *absences
	clean   *cleans
	seal    *ecdh.PrivateKey

	mu     sync.Mutex
	filled chan struct{}        // guarded by mu; closed when a reserved file came
	seen   map[matrix.MXC]int64 // guarded by mu; when files were served
	orphan chan struct{}        // capacity 1: says only that bytes may belong to nobody
}

// New returns the owner of files. [Server.Run] does what is to do beside the
// requests.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		return nil, err
	}
	seal, err := ecdh.X25519().NewPrivateKey(o.Secret[:])
	if err != nil {
		return nil, err
	}
	return &Server{
		clean: newCleans(), seal: seal, Options: o, log: o.Log, metrics: newMetrics(o.Metrics), workers: make(chan struct{}, thumbnailWorkers),
		fetches: make(chan struct{}, maxFetches), absent: newAbsences(o.Now), filled: make(chan struct{}),
		seen: make(map[matrix.MXC]int64), orphan: make(chan struct{}, 1),
	}, nil
}

// MaxUploadBytes is the longest file that can be uploaded.
func (s *Server) MaxUploadBytes() int64 { return s.MaxUpload }

func (s *Server) nowMS() int64 { return s.Now().UnixMilli() }

// own reports whether a file is of this server.
func (s *Server) own(mxc matrix.MXC) bool { return mxc.Server.Normalise() == s.ServerName.Normalise() }
