package proc

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Best effort: macOS has no subreaper and no death signal, so a program that leaves both its parent's tree and its
// process group gets away.
func adoptOrphans() error { return nil }

func programAttr() *syscall.SysProcAttr { return nil }

func bootID() string {
	tv, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return fmt.Sprint(tv.Sec)
}

func startTime(pid int) (string, bool) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return "", false
	}
	return fmt.Sprintf("%d.%06d", k.Proc.P_starttime.Sec, k.Proc.P_starttime.Usec), true
}

func processes() []process {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	var out []process
	for _, k := range all {
		const zombie = 5 // SZOMB
		out = append(out, process{pid: int(k.Proc.P_pid), parent: int(k.Eproc.Ppid), group: int(k.Eproc.Pgid),
			zombie: k.Proc.P_stat == zombie})
	}
	return out
}
