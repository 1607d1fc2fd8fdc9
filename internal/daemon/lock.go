package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Owner is who holds a data directory, as its lock file tells.
type Owner struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Listen  string `json:"listen"`
}

// Lock is a held data directory.
type Lock struct{ file *os.File }

// LockedError says that another process holds the data directory.
type LockedError struct {
	Dir string
	Owner
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("the data directory %s is in use by mayfly %s on %s (process %d); end it with: mayfly stop --data-dir %s",
		e.Dir, e.Version, e.Listen, e.PID, e.Dir)
}

func lockPath(dir string) string { return filepath.Join(dir, "lock") }

// Acquire makes the data directory where there is none and locks it for this process, until Release or the process's end.
func Acquire(dir string, owner Owner) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	f, err := os.OpenFile(lockPath(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{dir, readOwner(f)}
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	l := &Lock{f}
	if err := l.Name(owner); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// Name writes who holds the lock.
func (l *Lock) Name(owner Owner) error {
	b, err := json.Marshal(owner)
	if err == nil {
		err = l.file.Truncate(0)
	}
	if err == nil {
		_, err = l.file.WriteAt(append(b, '\n'), 0)
	}
	if err != nil {
		return fmt.Errorf("name the holder of %s: %w", l.file.Name(), err)
	}
	return nil
}

// Release lets the data directory go. The file stays: removing it would race with who locks it next.
func (l *Lock) Release() error {
	err := l.file.Truncate(0)
	return errors.Join(err, l.file.Close())
}

func readOwner(f *os.File) (o Owner) {
	if b, err := io.ReadAll(io.NewSectionReader(f, 0, 4096)); err == nil {
		_ = json.Unmarshal(b, &o) // a lock that is just being taken names nobody yet
	}
	return o
}

// Holder tells who holds the data directory; held is false when nobody does.
func Holder(dir string) (o Owner, held bool, err error) {
	f, err := os.Open(lockPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return o, false, nil
	}
	if err != nil {
		return o, false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return readOwner(f), true, nil
	}
	return o, false, err
}
