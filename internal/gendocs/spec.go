package main

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var specLink = regexp.MustCompile(`https://spec\.matrix\.org/v1\.19/([a-z0-9/-]*)(#[A-Za-z0-9_.-]*[A-Za-z0-9_])?`)

// coverage lists which calls of the specification are served and tested, and
// which code names which section.
func coverage(src *source) ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "<!-- %s -->\n\n# Coverage of the specification\n", generated)
	if err := endpointTable(src, &out); err != nil {
		return nil, err
	}
	sections(src, &out)
	return out.Bytes(), nil
}

// sections writes which code names which section of the specification.
func sections(src *source, out *bytes.Buffer) {
	where := make(map[string]map[string]bool) // link: declarations
	for _, f := range src.files {
		for _, group := range f.tree.Comments {
			for _, link := range specLink.FindAllString(group.Text(), -1) {
				if where[link] == nil {
					where[link] = make(map[string]bool)
				}
				where[link][f.owner(group.Pos())] = true
			}
		}
	}
	fmt.Fprintf(out, "\n# Sections\n\nThe %d sections of the Matrix specification v1.19 that the code names, and where.\n", len(where))
	last := ""
	for _, link := range slices.Sorted(maps.Keys(where)) {
		parts := specLink.FindStringSubmatch(link)
		chapter, anchor := strings.Trim(parts[1], "/"), strings.TrimPrefix(parts[2], "#")
		if chapter != last {
			last = chapter
			fmt.Fprintf(out, "\n## %s\n\n| section | code |\n|---|---|\n", chapter)
		}
		if anchor == "" {
			anchor = "the whole"
		}
		names := slices.Sorted(maps.Keys(where[link]))
		fmt.Fprintf(out, "| [%s](%s) | `%s` |\n", anchor, link, strings.Join(names, "`, `"))
	}
}

const divergence = "Divergence: "

// divergences lists where the code differs from the specification on purpose.
func divergences(src *source) ([]byte, error) {
	var lines []string
	for _, f := range src.files {
		for _, group := range f.tree.Comments {
			for paragraph := range strings.SplitSeq(group.Text(), "\n\n") {
				_, reason, found := strings.Cut(paragraph, divergence)
				if !found || f.pkg == "internal/gendocs" {
					continue
				}
				reason = strings.Join(strings.Fields(reason), " ")
				lines = append(lines, fmt.Sprintf("- `%s`: %s\n", f.owner(group.Pos()), reason))
			}
		}
	}
	slices.Sort(lines)
	var out bytes.Buffer
	fmt.Fprintf(&out, "<!-- %s -->\n\n# Divergences\n\n", generated)
	fmt.Fprintf(&out, "Where this server differs from the Matrix specification v1.19 on purpose: %d places.\n\n", len(lines))
	for _, line := range lines {
		out.WriteString(line)
	}
	out.WriteString("\n## Calls that are not served\n\n")
	reasons := unserved()
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(&out, "- `%s`: %s\n", name, reasons[name])
	}
	return append(bytes.TrimRight(out.Bytes(), "\n"), '\n'), nil
}
