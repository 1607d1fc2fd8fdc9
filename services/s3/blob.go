package s3

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// inlineLimit is the size up to which bytes are kept in a row beside the index row: no file, no fsync of its own.
const inlineLimit = 16 << 10

// blob names immutable bytes.
type blob struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	// Row says that the bytes are a row of kind "bytes" and not a file.
	Row bool `json:"row,omitempty"`
}

// disk keeps blobs as files: root/ab/ab3f…, written as root/tmp/ab3f… first.
type disk struct {
	root  string
	fatal func(error) // an fsync failed

	// A reader pins what it reads. reading is held while a row is read and its blobs are pinned; drop takes it
	// for writing, so a blob that a row still named when it was read is pinned before anyone can remove it.
	reading sync.RWMutex
	mu      sync.Mutex
	pins    map[string]int
	doomed  map[string]bool // dropped while pinned
}

func openDisk(root string, fatal func(error)) (*disk, error) {
	d := &disk{root: root, fatal: fatal, pins: map[string]int{}, doomed: map[string]bool{}}
	if err := os.RemoveAll(filepath.Join(root, "tmp")); err != nil {
		return nil, fmt.Errorf("clear half-written objects: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(root, "tmp"), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of objects: %w", err)
	}
	for i := range 256 {
		if err := os.MkdirAll(filepath.Join(root, fmt.Sprintf("%02x", i)), 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of objects: %w", err)
		}
	}
	return d, d.syncDir(root)
}

func newBlobName() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x", b[:])
}

func (d *disk) path(name string) string { return filepath.Join(d.root, name[:2], name) }

// sync makes f's bytes durable. Its error is fatal: the kernel may have dropped what it could not write.
func (d *disk) sync(f *os.File) error {
	if err := f.Sync(); err != nil {
		err = fmt.Errorf("sync %s: %w", f.Name(), err)
		d.fatal(err)
		return err
	}
	return nil
}

func (d *disk) syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.sync(f)
}

// writer is a blob in the making: bytes up to inlineLimit stay in memory, more go to a file.
type writer struct {
	disk *disk
	name string
	size int64
	buf  []byte
	file *os.File
}

func (d *disk) create() *writer { return &writer{disk: d, name: newBlobName()} }

func (w *writer) Write(p []byte) (int, error) {
	if w.file == nil && len(w.buf)+len(p) <= inlineLimit {
		w.buf = append(w.buf, p...)
		w.size += int64(len(p))
		return len(p), nil
	}
	if w.file == nil {
		f, err := os.OpenFile(filepath.Join(w.disk.root, "tmp", w.name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return 0, err
		}
		w.file = f
		if _, err := f.Write(w.buf); err != nil {
			return 0, err
		}
		w.buf = nil
	}
	n, err := w.file.Write(p)
	w.size += int64(n)
	return n, err
}

// finish makes the blob durable. For a small one there is nothing to do: its bytes are committed with the index row.
func (w *writer) finish() (blob, error) {
	b := blob{Name: w.name, Size: w.size, Row: w.file == nil}
	if b.Row {
		return b, nil
	}
	f := w.file
	err := w.disk.sync(f)
	if e := f.Close(); err == nil {
		err = e
	}
	to := w.disk.path(w.name)
	if err == nil {
		err = os.Rename(f.Name(), to)
	}
	if err == nil {
		err = w.disk.syncDir(filepath.Dir(to))
	}
	if err != nil {
		os.Remove(f.Name())
		return blob{}, err
	}
	w.file = nil
	return b, nil
}

// abandon removes what was written; after finish it does nothing.
func (w *writer) abandon() {
	if w.file != nil {
		w.file.Close()
		os.Remove(w.file.Name())
		w.file = nil
	}
}

// link gives the bytes of a file another name, without copying them where the file system can.
func (d *disk) link(b blob) (blob, error) {
	to := newBlobName()
	if err := os.Link(d.path(b.Name), d.path(to)); err == nil {
		return blob{Name: to, Size: b.Size}, d.syncDir(filepath.Dir(d.path(to)))
	}
	from, err := os.Open(d.path(b.Name))
	if err != nil {
		return blob{}, err
	}
	defer from.Close()
	tmp := filepath.Join(d.root, "tmp", to)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return blob{}, err
	}
	w := &writer{disk: d, name: to, file: f}
	defer w.abandon()
	n, err := io.Copy(f, from)
	if err != nil {
		return blob{}, err
	}
	w.size = n
	return w.finish()
}

// pin keeps files from being removed until unpin.
func (d *disk) pin(blobs []blob) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range blobs {
		d.pins[b.Name]++
	}
}

func (d *disk) unpin(blobs []blob) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range blobs {
		if d.pins[b.Name]--; d.pins[b.Name] > 0 {
			continue
		}
		delete(d.pins, b.Name)
		if d.doomed[b.Name] {
			delete(d.doomed, b.Name)
			os.Remove(d.path(b.Name))
		}
	}
}

// drop removes files that no committed row names any more. A file that cannot be removed is found again at the next start.
func (d *disk) drop(blobs ...blob) {
	d.reading.Lock() // waits for those who have read a row and not yet pinned its blobs
	d.reading.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range blobs {
		switch {
		case b.Row || b.Name == "":
		case d.pins[b.Name] > 0:
			d.doomed[b.Name] = true
		default:
			os.Remove(d.path(b.Name))
		}
	}
}

// sweep removes every file that is not named. It runs before anything is served.
func (d *disk) sweep(named map[string]bool) (removed int, err error) {
	for i := range 256 {
		dir := filepath.Join(d.root, fmt.Sprintf("%02x", i))
		entries, err := os.ReadDir(dir)
		if err != nil {
			return removed, err
		}
		for _, e := range entries {
			if named[e.Name()] {
				continue
			}
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}
