package emr

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/emr/cluster"
)

// controller adds a line to the narrative of a step or bootstrap action.
func (s *Service) controller(dir, format string, args ...any) {
	appendLine(filepath.Join(dir, "controller"), s.Clock.Now().UTC().Format("2006-01-02T15:04:05.000Z")+" INFO "+fmt.Sprintf(format, args...))
}

// appendLine is for people who read logs: what cannot be written is not worth ending a step for.
func appendLine(path, line string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

const (
	maxScript     = 64 << 20
	maxLog        = 64 << 20 // of one log file that is copied to S3: the end of it
	uploadTimeout = 30 * time.Second
)

// download copies an object into a file that can be executed.
func (s *Service) download(ctx context.Context, p identity.Principal, uri, path string) error {
	bucket, key, err := splitS3(uri)
	if err != nil {
		return err
	}
	out, err := awscall.Typed[s3api.GetObjectOutput](ctx, s.Calls, awscall.Call{Principal: p, Service: "s3", Operation: "GetObject"},
		&s3api.GetObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, maxScript+1))
	if err != nil {
		return err
	}
	if len(b) > maxScript {
		return errors.New("it is larger than 64 MiB")
	}
	return writeFile(path, b, 0o700)
}

// upload copies the log files of dir to <LogUri>/<cluster>/<place>, compressed. A cluster without LogUri keeps them here.
// What cannot be copied is said in the log, and fails no step.
func (s *Service) upload(ctx context.Context, spec *cluster.Spec, dir, place string) {
	uri := awsapi.Val(spec.Request.LogUri)
	if uri == "" {
		return
	}
	bucket, prefix, err := splitS3(uri)
	if err != nil {
		return
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	var wait sync.WaitGroup
	var once sync.Once
	for _, name := range []string{"controller", "stdout", "stderr"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			continue
		}
		wait.Go(func() { // side by side: the next step waits for this
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			io.WriteString(z, tail(filepath.Join(dir, name), maxLog))
			z.Close() // a bytes.Buffer does not fail
			_, err := awscall.Typed[s3api.PutObjectOutput](ctx, s.Calls, awscall.Call{Principal: principal(spec), Service: "s3", Operation: "PutObject"},
				&s3api.PutObjectInput{Bucket: bucket, Key: fmt.Sprintf("%s%s/%s/%s.gz", prefix, spec.ID, place, name), Body: bytes.NewReader(b.Bytes()), ContentType: awsapi.Ptr("application/x-gzip")})
			if err != nil {
				once.Do(func() {
					s.controller(dir, "the logs could not be copied to %s: %v", uri, err)
					s.Log.WarnContext(ctx, "logs not copied", "cluster", spec.ID, "to", uri, "err", err)
				})
			}
		})
	}
	wait.Wait()
}

// Prefix is where Handler wants to be served.
const Prefix = "/_mayfly/emr/"

var logPath = regexp.MustCompile(`^/_mayfly/emr/(j-[A-Z0-9]+)/steps/(s-[A-Z0-9]+)/(controller|stdout|stderr)$`)

// Handler lets log files be followed while they grow: GET /_mayfly/emr/<cluster>/steps/<step>/<file>?offset=N answers what
// stands behind the offset, at most 1 MiB, and in the header Mayfly-Next the offset to go on with. A negative offset counts
// from the end.
func (s *Service) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := logPath.FindStringSubmatch(r.URL.Path)
		if m == nil || r.Method != http.MethodGet {
			http.NotFound(w, r)
			return
		}
		offset := int64(0)
		if q := r.URL.Query().Get("offset"); q != "" {
			n, err := strconv.ParseInt(q, 10, 64)
			if err != nil {
				http.Error(w, "offset must be a number", http.StatusBadRequest)
				return
			}
			offset = n
		}
		f, err := os.Open(s.dir(m[1], "steps", m[2], m[3]))
		if _, known := os.Stat(s.dir(m[1])); errors.Is(err, os.ErrNotExist) && known == nil {
			w.Header().Set("Mayfly-Next", "0") // nothing has been written yet
			return
		}
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer f.Close()
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if offset < 0 {
			offset = max(0, size+offset)
		}
		offset = min(offset, size)
		n := min(size-offset, 1<<20)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Mayfly-Next", strconv.FormatInt(offset+n, 10))
		io.Copy(w, io.NewSectionReader(f, offset, n))
	})
}
