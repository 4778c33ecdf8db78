package blobs

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Options say where an object store is.
type S3Options struct {
	// Endpoint is its URL; with http:// what is kept goes there in the clear.
	Endpoint  string
	Region    string
	Bucket    string
	Prefix    string // before all names, such as "media/"
	AccessKey string
	SecretKey string
	// Transport carries the requests; nil is the one of the client.
	Transport http.RoundTripper
}

// S3 is a bucket of an object store that speaks the protocol of Amazon's. Its
// bucket may have other objects beside the prefix.
type S3 struct {
	client *minio.Client
	bucket string
	prefix string
}

// partSize is how much of a long file is sent at a time, and so how much of it
// is in memory.
const partSize = 8 << 20

// NewS3 returns a bucket, which has to be there.
func NewS3(ctx context.Context, o S3Options) (*S3, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no URL of an object store", o.Endpoint)
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(o.AccessKey, o.SecretKey, ""), Secure: u.Scheme == "https", Region: o.Region,
		Transport: o.Transport, BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	there, err := client.BucketExists(ctx, o.Bucket)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	if !there {
		return nil, fmt.Errorf("the object store has no bucket %q: make it", o.Bucket)
	}
	return &S3{client, o.Bucket, o.Prefix}, nil
}

// Put keeps a file. The store has all of it, or none.
func (s *S3) Put(ctx context.Context, name string, file *os.File, size int64) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := s.client.PutObject(ctx, s.bucket, s.prefix+name, file, size, minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: partSize, NumThreads: 1,
		DisableContentSha256: true, // TLS proves what comes; without it, some stores keep the framing of the signature
	})
	return err
}

// Open opens a file. One that is not there is fs.ErrNotExist.
func (s *S3) Open(ctx context.Context, name string) (io.ReadSeekCloser, error) {
	// What is read later belongs to the answer and not to the call that opened it.
	object, err := s.client.GetObject(context.WithoutCancel(ctx), s.bucket, s.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	if _, err := object.Stat(); err != nil {
		_ = object.Close()
		if minio.ToErrorResponse(err).Code == "NoSuchKey" {
			return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
		return nil, err
	}
	return object, nil
}

// Delete removes a file. One that is not there is no error.
func (s *S3) Delete(ctx context.Context, name string) error {
	return s.client.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{})
}

// Each calls fn for every file and when it was written.
func (s *S3) Each(ctx context.Context, fn func(name string, written time.Time) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the listing when fn fails
	defer cancel()
	for object := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix, Recursive: true}) {
		if object.Err != nil {
			return object.Err
		}
		name := strings.TrimPrefix(object.Key, s.prefix)
		if len(name) < minName || strings.ContainsRune(name, '/') {
			continue // somebody else's
		}
		if err := fn(name, object.LastModified); err != nil {
			return err
		}
	}
	return ctx.Err()
}
