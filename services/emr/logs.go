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
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return
	}
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

// clusterLog is a log on this machine with its place below <LogUri>/<cluster>/, without ".gz".
type clusterLog struct{ path, place string }

// logFiles lists the logs of a cluster whose place begins with under. AWS: the layout below LogUri. The daemons are Spark's
// own, since there is no YARN; executors stand where YARN's containers do.
func (s *Service) logFiles(spec *cluster.Spec, under string) (out []clusterLog) {
	find := func(place func(words []string) string, pattern ...string) {
		found, _ := filepath.Glob(s.dir(spec.ID, pattern...)) // the patterns are well-formed
		for _, path := range found {
			relative := strings.TrimPrefix(path, s.dir(spec.ID)+string(filepath.Separator))
			if p := place(strings.Split(filepath.ToSlash(relative), "/")); p != "" && strings.HasPrefix(p, under) {
				out = append(out, clusterLog{path, p})
			}
		}
	}
	same := func(words []string) string { return strings.Join(words, "/") }
	node := func(words []string) string { return "node/" + strings.Join(words[1:], "/") }
	step, one := strings.CutPrefix(strings.TrimSuffix(under, "/"), "steps/")
	if !one {
		step = "*"
	}
	for _, name := range []string{"controller", "stdout", "stderr"} {
		find(same, "steps", step, name)
	}
	if one {
		return out // the next step waits for this one's
	}
	for _, name := range []string{"controller", "stdout", "stderr"} {
		find(node, "nodes", "*", "bootstrap-actions", "*", name)
	}
	find(node, "nodes", "*", "provision-node", "controller")
	find(func([]string) string { return "node/" + spec.Master().EC2ID + "/applications/spark/spark-master.out" }, "spark", "master", "stderr")
	workers, _ := filepath.Glob(s.dir(spec.ID, "nodes", "*", workerFile))
	for _, file := range workers {
		name, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		id := filepath.Base(filepath.Dir(file))
		find(func([]string) string { return "node/" + id + "/applications/spark/spark-worker.out" }, "spark", string(name), "stderr")
	}
	for _, name := range []string{"stdout", "stderr"} {
		find(container, "spark", "worker-*", "work", "application_*", "*", name)
	}
	return out
}

// container is the place of an executor's log: spark/worker-0/work/application_20260101000000_0001/0/stdout. AWS: the first
// container of an application is its master's.
func container(words []string) string {
	app, executor, name := words[3], words[4], words[5]
	n, err := strconv.Atoi(executor)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("containers/%s/container_%s_01_%06d/%s", app, strings.TrimPrefix(app, "application_"), n+2, name)
}

// logCopies remembers what of a cluster's logs lies in S3.
type logCopies struct {
	mu      sync.Mutex
	copies  map[string]*logCopy // by path
	refused string              // the last error that was told
}

// logCopy is held while its file is copied, so that an older copy never follows a newer one.
type logCopy struct {
	mu   sync.Mutex
	size int64 // of what was copied
}

func (l *logCopies) of(path string) *logCopy {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.copies == nil {
		l.copies = map[string]*logCopy{}
	}
	if l.copies[path] == nil {
		l.copies[path] = &logCopy{size: -1}
	}
	return l.copies[path]
}

// told says whether this error was told before, and remembers it.
func (l *logCopies) told(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.refused
	l.refused = err.Error()
	return before == l.refused
}

// keepCopying copies what has grown, at intervals. AWS: every five minutes.
func (s *Service) keepCopying(ctx context.Context, l *live, spec *cluster.Spec) {
	for ctx.Err() == nil {
		tick := make(chan struct{})
		timer := s.Clock.AfterFunc(s.LogInterval, func() { close(tick) })
		select {
		case <-tick:
			s.copyLogs(ctx, l, spec, "", false)
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// copyLogs copies the logs whose place begins with under, compressed, to <LogUri>/<cluster>/<place>.gz, as far as they
// have changed. last says that they grow no more; before, a long one is copied when it has grown by a tenth. A cluster
// without LogUri keeps its logs here. What cannot be copied is said in the server's log and, at last, in the step's, and
// fails nothing.
func (s *Service) copyLogs(ctx context.Context, l *live, spec *cluster.Spec, under string, last bool) {
	bucket, prefix, err := splitS3(awsapi.Val(spec.Request.LogUri))
	if err != nil {
		return // there is none
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	var wait sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, f := range s.logFiles(spec, under) {
		slots <- struct{}{}
		wait.Go(func() { // side by side: the next step waits for this
			defer func() { <-slots }()
			err := s.copyLog(ctx, l, spec, f, bucket, prefix+spec.ID+"/"+f.place+".gz", last)
			if err == nil || ctx.Err() != nil && !last || l.logs.told(err) {
				return
			}
			s.Log.WarnContext(ctx, "logs not copied", "cluster", spec.ID, "to", awsapi.Val(spec.Request.LogUri), "err", err)
			if last && strings.HasPrefix(f.place, "steps/") {
				s.controller(filepath.Dir(f.path), "the logs could not be copied to %s: %v", awsapi.Val(spec.Request.LogUri), err)
			}
		})
	}
	wait.Wait()
}

// longLog is the size from which a log that still grows is not copied for every line.
const longLog = 1 << 20

func (s *Service) copyLog(ctx context.Context, l *live, spec *cluster.Spec, f clusterLog, bucket, key string, last bool) error {
	c := l.logs.of(f.path)
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return nil // it has gone
	}
	size := info.Size()
	if size == c.size || !last && size > longLog && size < c.size+c.size/10 {
		return nil
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, tail(f.path, maxLog))
	z.Close() // a bytes.Buffer does not fail
	if _, err := awscall.Typed[s3api.PutObjectOutput](ctx, s.Calls, awscall.Call{Principal: principal(spec), Service: "s3", Operation: "PutObject"},
		&s3api.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(b.Bytes()), ContentType: awsapi.Ptr("application/x-gzip")}); err != nil {
		return err
	}
	c.size = size
	return nil
}

// Prefix is where Handler wants to be served.
const Prefix = "/_mayfly/emr/"

var logPath = regexp.MustCompile(`^/_mayfly/emr/(j-[A-Z0-9]+)/steps/(s-[A-Z0-9]+)/(controller|stdout|stderr)$`)

// Handler shows what AWS's operations have no place for. GET /_mayfly/emr/ tells who holds what of this machine, and who
// waits; GET /_mayfly/emr/<cluster> how the nodes of a cluster relate to worker processes; both as JSON. And log files
// can be followed while they grow: GET /_mayfly/emr/<cluster>/steps/<step>/<file>?offset=N answers what
// stands behind the offset, at most 1 MiB, and in the header Mayfly-Next the offset to go on with. A negative offset counts
// from the end.
func (s *Service) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			http.NotFound(w, r)
			return
		}
		id := strings.TrimPrefix(r.URL.Path, Prefix)
		m := logPath.FindStringSubmatch(r.URL.Path)
		switch {
		case m != nil:
			s.follow(w, r, m[1], s.dir(m[1], "steps", m[2], m[3]))
		case id == "":
			s.showHost(w)
		case clusterForm.MatchString(id):
			s.showCluster(w, r, id)
		default:
			http.NotFound(w, r)
		}
	})
}

// follow answers what stands in a log behind an offset.
func (s *Service) follow(w http.ResponseWriter, r *http.Request, clusterID, path string) {
	offset := int64(0)
	if q := r.URL.Query().Get("offset"); q != "" {
		n, err := strconv.ParseInt(q, 10, 64)
		if err != nil {
			http.Error(w, "offset must be a number", http.StatusBadRequest)
			return
		}
		offset = n
	}
	f, err := os.Open(path)
	if _, known := os.Stat(s.dir(clusterID)); errors.Is(err, os.ErrNotExist) && known == nil {
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
}
