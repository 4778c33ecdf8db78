package node

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"beffroi/config"
	"beffroi/federation/client"
	"beffroi/media"
	"beffroi/media/blobs"
	"beffroi/media/clamd"
	"beffroi/media/preview"
)

func (n *Node) openMedia(ctx context.Context) error {
	c := &n.config.Media
	store, err := mediaStore(ctx, &n.config)
	if err != nil {
		return err
	}
	before, all := c.PublicBefore()
	o := media.Options{DB: n.DB, ServerName: n.config.ServerName, Store: store, Remote: n.remote,
		Folder: filepath.Join(n.config.MediaDir(), "incoming"), MaxUpload: int64(c.MaxUpload), MaxRemote: int64(c.MaxRemote),
		UserQuota: int64(c.UserQuota), LocalRetention: c.LocalRetention, RemoteRetention: c.RemoteRetention,
		FailOpen: c.ScannerFailOpen, Public: media.Public{All: all, Before: before}, Log: n.log, Metrics: n.registry}
	if c.Scanner != "" {
		o.Scanner = clamd.New(c.Scanner, c.ScannerTimeout)
	}
	// All nodes have the signing key, and so the key by which clients seal.
	secret, err := hkdf.Key(sha256.New, n.Key.Private.Seed(), nil, "beffroi media_proxy", len(o.Secret))
	if err != nil {
		return err
	}
	copy(o.Secret[:], secret)
	if n.Media, err = media.New(o); err != nil || !c.URLPreviews {
		return err
	}
	guard := new(client.Guard) // federation.allow_ranges is for partners' servers, not for pages of the intranet
	n.previews = preview.New(preview.Options{Dial: guard.DialContext, Pictures: n.Media})
	return nil
}

// mediaStore returns where a configuration keeps the bytes of files.
func mediaStore(ctx context.Context, c *config.Config) (media.Store, error) {
	if c.Media.Store == "" {
		return blobs.NewDir(filepath.Join(c.MediaDir(), "files"))
	}
	u, err := url.Parse(c.Media.Store)
	if err != nil {
		return nil, fmt.Errorf("media.store: %w", err)
	}
	raw, err := os.ReadFile(c.Media.S3KeyFile)
	if err != nil {
		return nil, fmt.Errorf("media.s3_key_file: %w", err)
	}
	keys := strings.Fields(string(raw))
	if len(keys) != 2 {
		return nil, errors.New("media.s3_key_file: it must have two lines, the access key and the secret key")
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if prefix != "" {
		prefix += "/"
	}
	return blobs.NewS3(ctx, blobs.S3Options{Endpoint: u.Scheme + "://" + u.Host, Region: c.Media.S3Region,
		Bucket: bucket, Prefix: prefix, AccessKey: keys[0], SecretKey: keys[1]})
}
