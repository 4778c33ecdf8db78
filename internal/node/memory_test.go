package node

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestCachesTakeAQuarterOfWhatTheProcessMay(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })

	if got := cacheMemory(100 << 20); got != 100<<20 {
		t.Errorf("set to 100 MB, takes %d", got)
	}
	if machine := machineMemory(); machine > 0 && cacheMemory(0) > machine/4 {
		t.Errorf("takes %d of a machine of %d", cacheMemory(0), machine)
	}
	debug.SetMemoryLimit(200 << 20)
	if got := cacheMemory(0); got != 50<<20 {
		t.Errorf("a limit of 200 MB, takes %d", got)
	}
}
