package node

import (
	"context"
	"path/filepath"

	"beffroi/config"
	"beffroi/media"
	"beffroi/media/blobs"
)

func (n *Node) openMedia(context.Context) error {
	c := &n.config.Media
	store, err := MediaStore(&n.config)
	if err != nil {
		return err
	}
	before, all := c.PublicBefore()
	n.Media, err = media.New(media.Options{DB: n.DB, ServerName: n.config.ServerName, Store: store, Remote: n.remote,
		Folder: filepath.Join(n.config.MediaDir(), "incoming"), MaxUpload: int64(c.MaxUpload), MaxRemote: int64(c.MaxRemote),
		UserQuota: int64(c.UserQuota), LocalRetention: c.LocalRetention, RemoteRetention: c.RemoteRetention,
		Public: media.Public{All: all, Before: before}, Log: n.log, Metrics: n.registry})
	return err
}

// MediaStore returns where a configuration keeps the bytes of files.
func MediaStore(c *config.Config) (media.Store, error) {
	return blobs.NewDir(filepath.Join(c.MediaDir(), "files"))
}
