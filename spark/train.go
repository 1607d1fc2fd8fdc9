package spark

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/proc"
)

//go:embed train.py
var trainProgram string

// setupArchives makes the class-data archives. A machine under heavy load may end a process before it has written its
// own; so what is missing is tried once more. Spark runs without archives, only slower to start.
func setupArchives(ctx context.Context, in *Installation, _ Options, progress func(float64, string)) error {
	missing, err := train(ctx, in, progress)
	if err == nil && len(missing) > 0 {
		progress(0, "training once more: Java wrote no archive for "+strings.Join(missing, ", "))
		missing, err = train(ctx, in, progress)
	}
	if err == nil && len(missing) > 0 {
		progress(1, "no archive for "+strings.Join(missing, ", ")+": Java wrote none in two tries; starts take longer")
	}
	return err
}

// train runs a small cluster and a program on it once, each Java process writing down at its end which classes it had
// loaded. Later processes of the same role map them instead of reading, checking and linking them again. It returns the
// roles that have written nothing.
func train(ctx context.Context, in *Installation, progress func(float64, string)) (missing []string, err error) {
	dir := filepath.Join(in.Dir, "scratch")
	if err := endTraining(context.WithoutCancel(ctx), dir); err != nil { // of a setup that was killed
		return nil, err
	}
	if err := os.RemoveAll(in.Archives); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(in.Archives, 0o755); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "train.py")
	if err := os.WriteFile(program, []byte(trainProgram), 0o600); err != nil {
		return nil, err
	}
	endpoint, stop, err := nothingThere()
	if err != nil {
		return nil, err
	}
	defer stop()

	trainee := *in
	trainee.training = true
	progress(0, "training: starting a cluster")
	cfg := Config{Dir: filepath.Join(dir, "cluster"), Workers: 1, Cores: 1, MemoryMB: 1024,
		Storage: &Storage{Endpoint: endpoint, Region: "us-east-1", AccessKeyID: "training", SecretAccessKey: "training"}}
	defer endTraining(context.WithoutCancel(ctx), dir)
	c, err := Launch(ctx, &trainee, cfg)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	progress(0.2, "training: running a program")
	cmd, err := c.Driver([]string{program, filepath.Join(dir, "data")})
	if err != nil {
		return nil, err
	}
	p, err := proc.Start(proc.Spec{Dir: filepath.Join(dir, "driver"), Args: cmd.Args,
		Env: append(cmd.Env, "PATH=/usr/local/bin:/usr/bin:/bin", "HOME="+dir)})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	status, err := p.Wait(ctx)
	if err != nil {
		return nil, err
	}
	if status.Code != 0 {
		log, _ := os.ReadFile(filepath.Join(dir, "driver", "stderr"))
		return nil, fmt.Errorf("the training program failed (%v): %s", status, lastLine(log))
	}
	progress(0.7, "training: writing the archives")
	// The executor writes its archive while it ends; its worker must not end before.
	awaitFile(ctx, filepath.Join(in.Archives, "executor.jsa"))
	if err := Stop(ctx, cfg.Dir, 3*time.Minute); err != nil {
		return nil, err
	}
	return in.MissingArchives(), nil
}

// endTraining ends what a training run has left: its cluster and its driver.
func endTraining(ctx context.Context, dir string) error {
	p, err := proc.Open(filepath.Join(dir, "driver"))
	if err == nil {
		_, err = p.Stop(ctx, 0)
		p.Close()
	} else if errors.Is(err, proc.ErrNotStarted) {
		err = nil
	}
	return errors.Join(err, Stop(ctx, filepath.Join(dir, "cluster"), 0))
}

// archiveWait is how long an executor may take, in tenths of a second, until it has begun to write its archive.
var archiveWait = 600

// awaitFile waits until a file stands and has stopped growing.
func awaitFile(ctx context.Context, path string) {
	var last int64
	same := 0
	for range archiveWait {
		if st, err := os.Stat(path); err == nil && st.Size() > 0 {
			if st.Size() == last {
				same++
			} else {
				last, same = st.Size(), 0
			}
			if same > 10 {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-after(100 * time.Millisecond):
		}
	}
}

// nothingThere serves an S3 endpoint without a single object, at which programs may write: enough for the file system's
// classes to be loaded.
func nothingThere() (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for b := make([]byte, 4096); ; {
			if _, err := r.Body.Read(b); err != nil {
				break
			}
		}
		switch {
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodGet:
			w.Header().Set("Content-Type", "application/xml")
			fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`+
				`<Name>training</Name><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>`)
		case r.Method == http.MethodPut:
			w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})}
	go s.Serve(l)
	return "http://" + l.Addr().String(), func() { s.Close() }, nil
}
