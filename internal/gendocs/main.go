// Command gendocs writes the documents that are made from the code: the
// settings from the comments of package config, the metrics from where they are
// registered, the coverage of the specification and the divergences from it
// from the comments of the code.
//
// It runs at the root of the module. With -check it writes nothing and fails
// when a document differs.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// document is one generated file.
type document struct {
	path string
	make func(*source) ([]byte, error)
}

var documents = []document{
	{"docs/config.md", configManual},
	{"config/example.yaml", configExample},
	{"policy/schema.json", schema},
	{"docs/metrics.md", metrics},
	{"docs/spec-coverage.md", coverage},
	{"docs/divergences.md", divergences},
}

func main() {
	check := flag.Bool("check", false, "write nothing, fail when a document differs")
	flag.Parse()
	if err := run(".", *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	src, err := load(root)
	if err != nil {
		return err
	}
	for _, doc := range documents {
		want, err := doc.make(src)
		if err != nil {
			return fmt.Errorf("make %s: %w", doc.path, err)
		}
		path := filepath.Join(root, filepath.FromSlash(doc.path))
		have, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("read document: %w", err)
		}
		if bytes.Equal(have, want) {
			continue
		}
		if check {
			return fmt.Errorf("%s differs from the code: run make generate", doc.path)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			return fmt.Errorf("write document: %w", err)
		}
	}
	return nil
}
