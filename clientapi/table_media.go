package clientapi

import (
	"strings"

	"beffroi/policy"
)

const (
	v1Media  = v1 + "/media"
	oldMedia = "/_matrix/media/v3"
)

func (s *Server) aboutMedia() []route {
	return []route{
		{get, v1Media + "/config", session, freePublic, do(s.mediaConfig)},
		{get, v1Media + "/download/{serverName}/{mediaID}", session, asks(policy.ActionReadMedia), do(s.downloadMedia)},
		{get, v1Media + "/download/{serverName}/{mediaID}/{fileName}", session, asks(policy.ActionReadMedia), do(s.downloadMedia)},
		{get, v1Media + "/thumbnail/{serverName}/{mediaID}", session, asks(policy.ActionReadMedia), do(s.thumbnailMedia)},

		{get, v1Media + "/preview_url", session, asks(policy.ActionReadMedia), do(s.previewURL)},

		{post, oldMedia + "/upload", session, asks(policy.ActionUploadMedia), do(s.uploadMedia)},
		{put, oldMedia + "/upload/{serverName}/{mediaID}", session, asks(policy.ActionUploadMedia), do(s.fillMedia)},
		{post, "/_matrix/media/v1/create", session, asks(policy.ActionUploadMedia), do(s.createMedia)},
		{get, oldMedia + "/config", session, freePublic, do(s.mediaConfig)},
		{get, oldMedia + "/preview_url", session, asks(policy.ActionReadMedia), do(s.previewURL)},
		{get, oldMedia + "/download/{serverName}/{mediaID}", anyone, freeOldMedia, do(s.downloadMedia)},
		{get, oldMedia + "/download/{serverName}/{mediaID}/{fileName}", anyone, freeOldMedia, do(s.downloadMedia)},
		{get, oldMedia + "/thumbnail/{serverName}/{mediaID}", anyone, freeOldMedia, do(s.thumbnailMedia)},

		{get, scanner + "/public_key", anyone, freePublic, doScan(s.scanKey)},
		{get, scanner + "/scan/{serverName}/{mediaID}", session, asks(policy.ActionReadMedia), doScan(s.scanMedia)},
		{get, scanner + "/download/{serverName}/{mediaID}", session, asks(policy.ActionReadMedia), doScan(s.scannedDownload)},
		{get, scanner + "/thumbnail/{serverName}/{mediaID}", session, asks(policy.ActionReadMedia), doScan(s.scannedThumbnail)},
		{post, scanner + "/scan_encrypted", session, asks(policy.ActionReadMedia), doScan(s.scanEncrypted)},
		{post, scanner + "/download_encrypted", session, asks(policy.ActionReadMedia), doScan(s.downloadEncrypted)},
	}
}

// freeOldMedia is why the old endpoints are no action: nobody is known there.
var freeOldMedia = free("only files that the operator has left public are served to strangers, and none is fetched")

// oldMediaNames returns the names of a media route of before version 1.1.
func oldMediaNames(path string) []string {
	rest, ok := strings.CutPrefix(path, oldMedia+"/")
	if !ok {
		return nil
	}
	return []string{"/_matrix/media/r0/" + rest, "/_matrix/media/v1/" + rest}
}
