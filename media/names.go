package media

import (
	"mime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// anyType is the type of what has no better one.
	anyType = "application/octet-stream"
	// maxType and maxName bound what is kept of the words of an uploader.
	maxType = 255
	maxName = 255
)

// cleanType returns a content type as it was given, or that of plain bytes
// where it is none.
func cleanType(given string) string {
	given = strings.TrimSpace(given)
	kind, _, err := mime.ParseMediaType(given)
	if err != nil || len(given) > maxType || !strings.Contains(kind, "/") {
		return anyType
	}
	for i := range len(given) {
		if given[i] < ' ' || given[i] > '~' {
			return anyType
		}
	}
	return given
}

// cleanName returns the name of a file as people may see it and as a program
// may save it: without folders, control characters, and marks that turn the
// direction of text, by which photo_gpj.exe looks like photo_exe.jpg.
func cleanName(given string) string {
	given = strings.ToValidUTF8(given, "")
	if at := strings.LastIndexAny(given, `/\`); at >= 0 {
		given = given[at+1:]
	}
	name := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, given))
	for len(name) > maxName {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	if name == "." || name == ".." {
		return ""
	}
	return name
}

// inlineTypes are the types that a browser may show by itself.
//
// https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content
var inlineTypes = []string{
	"text/css", "text/plain", "text/csv", "application/json", "application/ld+json",
	"image/jpeg", "image/gif", "image/png", "image/apng", "image/webp", "image/avif",
	"video/mp4", "video/webm", "video/ogg", "video/quicktime",
	"audio/mp4", "audio/webm", "audio/aac", "audio/mpeg", "audio/ogg", "audio/wave", "audio/wav", "audio/x-wav",
	"audio/x-pn-wav", "audio/flac", "audio/x-flac",
}

// Disposition returns the Content-Disposition of a file: a browser shows only
// types that cannot hold a script. name may be "".
//
// https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content
func Disposition(contentType, name string) string {
	how := "attachment"
	if kind, _, err := mime.ParseMediaType(contentType); err == nil && slices.Contains(inlineTypes, kind) {
		how = "inline"
	}
	if name = cleanName(name); name == "" {
		return how
	}
	if out := mime.FormatMediaType(how, map[string]string{"filename": name}); out != "" {
		return out
	}
	return how
}

// nameIn returns the name of a file that a Content-Disposition has.
func nameIn(disposition string) string {
	_, params, err := mime.ParseMediaType(disposition)
	if err != nil {
		return ""
	}
	return cleanName(params["filename"])
}
