package lambda

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/lambdaapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// AWS: 50 MB for a zip in the request, 250 MB unpacked.
const (
	maxZip      = 50 << 20
	maxUnpacked = 250 << 20
	maxFiles    = 100_000
)

func (c code) base64() string {
	b, _ := hex.DecodeString(c.SHA256)
	return base64.StdEncoding.EncodeToString(b)
}

func (s *Service) zipFile(sha string) string { return s.dir("code", sha+".zip") }

// fetch gets a function's zip, checks and unpacks it, and keeps it durably.
func (s *Service) fetch(ctx context.Context, in *lambdaapi.FunctionCode) (code, error) {
	var b []byte
	switch {
	case in.SourceKMSKeyArn != nil:
		return code{}, lacking("KMS keys")
	case len(in.ZipFile) > 0 && in.S3Bucket != nil:
		return code{}, invalid("Please do not provide other FunctionCode parameters when providing a ZipFile.")
	case len(in.ZipFile) > maxZip:
		return code{}, awsapi.Errorf(413, "RequestEntityTooLargeException", "Request must be smaller than %d bytes for the CreateFunction operation", 70167211)
	case len(in.ZipFile) > 0:
		b = in.ZipFile
	case awsapi.Val(in.S3Bucket) == "" || awsapi.Val(in.S3Key) == "":
		return code{}, invalid("Please provide a source for function code.")
	default:
		var err error
		if b, err = s.download(ctx, in); err != nil {
			return code{}, err
		}
	}
	sum := sha256.Sum256(b)
	c := code{hex.EncodeToString(sum[:]), int64(len(b))}
	if err := s.unpack(c.SHA256, b); err != nil {
		return code{}, err
	}
	if err := durably(s.zipFile(c.SHA256), b); err != nil {
		return code{}, fmt.Errorf("keep the code: %w", err)
	}
	return c, nil
}

// download reads the zip from S3, as whoever makes the function.
func (s *Service) download(ctx context.Context, in *lambdaapi.FunctionCode) ([]byte, error) {
	out, err := awscall.Typed[s3api.GetObjectOutput](ctx, s.Calls, awscall.Call{
		Principal: identity.From(ctx), Service: "s3", Operation: "GetObject",
	}, &s3api.GetObjectInput{Bucket: *in.S3Bucket, Key: *in.S3Key, VersionId: in.S3ObjectVersion})
	var api *awsapi.Error
	if errors.As(err, &api) {
		return nil, invalid("Error occurred while GetObject. S3 Error Code: %s. S3 Error Message: %s", api.Code, api.Message)
	}
	if err != nil {
		return nil, fmt.Errorf("get s3://%s/%s: %w", *in.S3Bucket, *in.S3Key, err)
	}
	if out.Body == nil {
		return nil, unzippable()
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, maxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("get s3://%s/%s: %w", *in.S3Bucket, *in.S3Key, err)
	}
	if len(b) > maxUnpacked {
		return nil, tooLarge()
	}
	return b, nil
}

func unzippable() error {
	return invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
}

func tooLarge() error { return invalid("Unzipped size must be smaller than %d bytes", maxUnpacked) }

// durably writes an immutable file, unless it is there.
func durably(name string, b []byte) error {
	if info, err := os.Stat(name); err == nil && info.Size() == int64(len(b)) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// task is the folder with a function's unpacked code.
func (s *Service) task(f *function) (string, error) {
	dir := s.dir("task", f.Code.SHA256)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	b, err := os.ReadFile(s.zipFile(f.Code.SHA256))
	if err != nil {
		return "", fmt.Errorf("read the code of %s: %w", f.Name, err)
	}
	return dir, s.unpack(f.Code.SHA256, b)
}

// unpack makes the folder of a zip; it is renamed into place, so it is there whole or not at all.
func (s *Service) unpack(sha string, b []byte) error {
	s.unpacking.Lock()
	defer s.unpacking.Unlock()
	dir := s.dir("task", sha)
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	tmp, err := os.MkdirTemp(s.dir("task"), "new-*")
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := unzip(tmp, b, maxUnpacked); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return nil
}

// unzip writes the entries of a zip below dir and nowhere else: names and links that lead out of it are refused. The sizes
// that the zip claims are not believed.
func unzip(dir string, b []byte, limit int64) error {
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return unzippable()
	}
	if len(r.File) > maxFiles {
		return invalid("Mayfly unpacks at most %d files.", maxFiles)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer root.Close()
	for _, f := range r.File {
		name := strings.TrimSuffix(strings.ReplaceAll(f.Name, `\`, "/"), "/")
		name = path.Clean(strings.TrimPrefix(name, "./"))
		if name == "." {
			continue
		}
		if !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
			return invalid("The zip's entry %q leads out of the function's folder.", f.Name)
		}
		if limit, err = unzipFile(root, f, name, limit); err != nil {
			return err
		}
	}
	return nil
}

func unzipFile(root *os.Root, f *zip.File, name string, limit int64) (int64, error) {
	mode := f.Mode()
	if strings.HasSuffix(f.Name, "/") || mode.IsDir() {
		return limit, wrap(root.MkdirAll(name, 0o755))
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return 0, wrap(err)
	}
	in, err := f.Open()
	if err != nil {
		return 0, unzippable()
	}
	defer in.Close()
	if mode&fs.ModeSymlink != 0 {
		target, err := io.ReadAll(io.LimitReader(in, 4096))
		if err != nil {
			return 0, unzippable()
		}
		if path.IsAbs(string(target)) || !filepath.IsLocal(path.Join(path.Dir(name), string(target))) {
			return 0, invalid("The zip's link %q leads out of the function's folder.", f.Name)
		}
		return limit, wrap(root.Symlink(string(target), name))
	}
	if !mode.IsRegular() {
		return 0, invalid("The zip's entry %q is neither file nor folder nor link.", f.Name)
	}
	perm := mode.Perm()&0o111 | 0o644
	out, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, perm)
	if err != nil {
		return 0, wrap(err)
	}
	defer out.Close()
	n, err := io.Copy(out, io.LimitReader(in, limit+1))
	switch {
	case n > limit:
		return 0, tooLarge()
	case errors.Is(err, zip.ErrChecksum), errors.Is(err, zip.ErrFormat), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, zip.ErrAlgorithm):
		return 0, unzippable()
	case err != nil:
		return 0, wrap(err)
	}
	return limit - n, wrap(out.Close())
}

// wrap tells the disk's errors from those of a zip whose entries contradict each other.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	for _, disk := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, fs.ErrPermission} {
		if errors.Is(err, disk) {
			return fmt.Errorf("unpack: %w", err)
		}
	}
	return unzippable()
}

// collectCode removes code that no function has.
func (s *Service) collectCode(ctx context.Context) error {
	rows, err := s.Store.List(ctx, store.Query{Service: service, Kind: "function"})
	if err != nil {
		return fmt.Errorf("list functions: %w", err)
	}
	used := map[string]bool{}
	for _, row := range rows {
		var f function
		if err := json.Unmarshal(row.Value, &f); err != nil {
			return fmt.Errorf("read function %s: %w", row.Key.ID, err)
		}
		used[f.Code.SHA256] = true
	}
	for _, dir := range []string{"code", "task"} {
		entries, err := os.ReadDir(s.dir(dir))
		if err != nil {
			return fmt.Errorf("list code: %w", err)
		}
		for _, e := range entries {
			if !used[strings.TrimSuffix(e.Name(), ".zip")] {
				if err := os.RemoveAll(s.dir(dir, e.Name())); err != nil {
					return fmt.Errorf("remove code: %w", err)
				}
			}
		}
	}
	return nil
}
