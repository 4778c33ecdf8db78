package bench

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// floorTime is how long each thing is done that the machine is measured by.
	floorTime = 2 * time.Second
	// A batch of so many rows of this size is one synced write: about what a
	// server writes that commits many messages at once.
	batchRows, rowBytes = 64, 900
)

// Floor is what the machine does without a homeserver.
type Floor struct {
	Signatures float64            // Ed25519 signatures of a core in a second
	Batches    float64            // synced writes of batchRows rows in a second
	Rows       map[string]float64 // rows that an engine commits in a second, by its name
}

// Measure measures signatures and synced writes into a file in the folder of
// temporary files.
func (f *Floor) Measure() error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	message := make([]byte, rowBytes)
	if f.Signatures, err = often(func() error { ed25519.Sign(key, message); return nil }); err != nil {
		return err
	}
	file, err := os.CreateTemp("", "matrixload-floor-")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(file.Close(), os.Remove(file.Name())) }() // it held nothing
	batch := make([]byte, batchRows*rowBytes)
	f.Batches, err = often(func() error {
		if _, err := file.Write(batch); err != nil {
			return err
		}
		return file.Sync()
	})
	return err
}

// often returns how many times a second do can be done.
func often(do func() error) (float64, error) {
	begun, n := time.Now(), 0
	for ; time.Since(begun) < floorTime; n++ {
		if err := do(); err != nil {
			return 0, fmt.Errorf("measure the machine: %w", err)
		}
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}

// ReadBenchmarks reads the output of go test -bench. A benchmark
// BenchmarkX/sqlite/floor that reports rows/s is the floor of sqlite. Where
// there are several runs the best one counts.
func (f *Floor) ReadBenchmarks(r io.Reader) error {
	if f.Rows == nil {
		f.Rows = make(map[string]float64)
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		parts := strings.Split(fields[0], "/")
		last, _, _ := strings.Cut(parts[len(parts)-1], "-") // the number of cores
		if len(parts) < 3 || last != "floor" {
			continue
		}
		for i := 1; i < len(fields); i++ {
			if v, err := strconv.ParseFloat(fields[i-1], 64); err == nil && fields[i] == "rows/s" {
				name := parts[len(parts)-2]
				f.Rows[name] = max(f.Rows[name], v)
			}
		}
	}
	return lines.Err()
}
