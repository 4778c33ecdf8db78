package node

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// fallbackMemory is what the caches may take where the system does not tell how
// much memory there is.
const fallbackMemory = 64 << 20

// cacheMemory returns what the caches may take, in bytes: what is set, else a
// quarter of what the process may take.
func cacheMemory(set int64) int64 {
	if set > 0 {
		return set
	}
	may := debug.SetMemoryLimit(-1) // only tells; GOMEMLIMIT sets it
	for _, limit := range []int64{number("/sys/fs/cgroup/memory.max"), machineMemory()} {
		if limit > 0 {
			may = min(may, limit)
		}
	}
	if may == math.MaxInt64 {
		return fallbackMemory
	}
	return max(may/4, fallbackMemory/8)
}

// number reads a file of one number. It returns 0 where there is none: a
// control group without a limit says max.
func number(file string) int64 {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(raw)), 10, 64)
	return n
}

// machineMemory returns the memory of the machine in bytes, or 0 where Linux
// does not tell.
func machineMemory() int64 {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }() // it was only read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if size, is := strings.CutPrefix(lines.Text(), "MemTotal:"); is {
			kB, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(size, "kB")), 10, 64)
			return kB << 10
		}
	}
	return 0
}
