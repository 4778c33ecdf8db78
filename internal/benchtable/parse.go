package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const module = "beffroi/"

// processors is what go test puts behind a name when there are several.
var processors = regexp.MustCompile(`-\d+$`)

// parse adds the figures that go test printed to a round. Other lines mean
// nothing; a line of a benchmark that cannot be read is an error.
func parse(text []byte, into round) error {
	pkg := ""
	for line := range strings.Lines(string(text)) {
		if name, found := strings.CutPrefix(line, "pkg: "); found {
			pkg = strings.TrimPrefix(strings.TrimSpace(name), module)
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		if _, err := strconv.Atoi(fields[1]); err != nil {
			continue // something that the benchmark printed
		}
		name := pkg + "." + processors.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
		figures := make(map[string]float64)
		if len(fields)%2 != 0 {
			return fmt.Errorf("cannot read %q", strings.TrimSpace(line))
		}
		for i := 2; i < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return fmt.Errorf("cannot read %q: %w", strings.TrimSpace(line), err)
			}
			figures[fields[i+1]] = value
		}
		into[name] = figures
	}
	return nil
}
