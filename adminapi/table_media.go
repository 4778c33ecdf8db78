package adminapi

// mediaTable is what operators do with files.
func (s *Server) mediaTable() []route {
	who := roles{operator}
	return []route{
		{"GET", "/media", who, "Files in the order of their names, and what the scanner found", mediaQuery, "", "MediaFiles", do(s.listMedia)},
		{"GET", "/media/usage", who, "What files take, and the accounts with the most", limitQuery, "", "MediaUsage", do(s.mediaUsage)},
		{"POST", "/media/quarantine", who, "Hide files, and all with the same bytes", nil, "MediaSelection", "Changed", do(s.quarantineMedia)},
		{"POST", "/media/release", who, "Show files again", nil, "MediaSelection", "Changed", do(s.releaseMedia)},
		{"POST", "/media/protect", who, "Keep files whatever happens to others", nil, "MediaSelection", "Changed", do(s.protectMedia)},
		{"POST", "/media/unprotect", who, "End the protection of files", nil, "MediaSelection", "Changed", do(s.unprotectMedia)},
		{"POST", "/media/purge", who, "Remove files for ever, but not protected ones", nil, "MediaSelection", "Changed", do(s.purgeMedia)},
		{"POST", "/media/rescan", who, "Have files scanned again before they are served", nil, "MediaSelection", "Changed", do(s.rescanMedia)},
	}
}

var mediaQuery = []parameter{
	{"uri", "string", "the mxc:// URI of one file"}, {"user_id", "string", "the account that uploaded it"},
	{"room_id", "string", "the room of the file"}, {"server", "string", "the server of the file"},
	{"from", "string", "the next_batch of the page before"}, limitQuery[0],
}
