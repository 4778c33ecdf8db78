package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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
	Batches float64            // synced writes of batchRows rows in a second
	Rows    map[string]float64 // rows that an engine commits in a second, by its name
	Others  map[string]float64 // what else was measured, how often in a second, by name
}

// Measure measures synced writes into a file in the folder of temporary files.
func (f *Floor) Measure() error {
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
// BenchmarkX/sqlite/floor that reports rows/s is the floor of sqlite, and one
// called BenchmarkFloorX is told as X. Where there are several runs the best
// one counts.
func (f *Floor) ReadBenchmarks(r io.Reader) error {
	if f.Rows == nil {
		f.Rows, f.Others = make(map[string]float64), make(map[string]float64)
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		name, _, _ := strings.Cut(fields[0], "-") // the number of cores
		parts := strings.Split(name, "/")
		if other, found := strings.CutPrefix(name, "BenchmarkFloor"); found {
			if ns := figure(fields, "ns/op"); ns > 0 {
				f.Others[other] = max(f.Others[other], float64(time.Second)/ns)
			}
		} else if n := len(parts); n >= 3 && parts[n-1] == "floor" {
			if rows := figure(fields, "rows/s"); rows > 0 {
				f.Rows[parts[n-2]] = max(f.Rows[parts[n-2]], rows)
			}
		}
	}
	return lines.Err()
}

// figure returns the number before a unit, 0 if there is none.
func figure(fields []string, unit string) float64 {
	if at := slices.Index(fields, unit); at > 0 {
		if v, err := strconv.ParseFloat(fields[at-1], 64); err == nil {
			return v
		}
	}
	return 0
}
