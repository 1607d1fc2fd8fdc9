package spark

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hostMemoryMB is the machine's memory, or the limit of the control group that this process was put in.
func hostMemoryMB() int {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 4096
	}
	memory := uint64(info.Totalram) * uint64(info.Unit)
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil { // else "max"
			memory = min(memory, limit)
		}
	}
	return int(memory >> 20)
}
