package obs

import (
	"runtime"
	"runtime/debug"
)

// Build says which build of the server runs.
type Build struct {
	Version  string // of the module, or "dev" for a build from a working tree
	Revision string // of the source, "+changes" appended where it was modified; "" where unknown
	Go       string // the version of Go
}

// ReadBuild reads what the Go command wrote into the binary.
func ReadBuild() Build {
	build := Build{Version: "dev", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build
	}
	return fill(build, info)
}

func fill(build Build, info *debug.BuildInfo) Build {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		build.Version = v
	}
	modified := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			build.Revision = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if modified && build.Revision != "" {
		build.Revision += "+changes"
	}
	return build
}
