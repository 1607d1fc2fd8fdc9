package spark

import "golang.org/x/sys/unix"

func hostMemoryMB() int {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 4096
	}
	return int(n >> 20)
}
