package spark

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mayfly-run/mayfly/internal/clock"
)

// Progress tells how far Setup is.
type Progress struct {
	Fraction float64 // of the whole, 0 to 1
	Text     string  // what is being done: "downloading pyspark-4.0.1.tar.gz (434.2 MB)"
}

// Setup brings the installation that Find finds, and returns it. It does only what is not done yet; a second process
// waits for the first. Errors are sentences for the user.
func Setup(ctx context.Context, o Options, progress func(Progress)) (*Installation, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	o, err := o.normal()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.CacheDir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, filepath.Join(o.CacheDir, "setup.lock"), func() {
		progress(Progress{0, "waiting for another mayfly setup"})
	})
	if err != nil {
		return nil, err
	}
	defer unlock()
	if in, err := Find(o); err == nil {
		progress(Progress{1, "Spark " + in.Version + " is ready"})
		return in, nil
	}
	java, err := FindJava(ctx)
	if err != nil {
		return nil, err
	}
	javaKey, err := java.key()
	if err != nil {
		return nil, err
	}
	dir := o.folder()
	in := &Installation{
		Version: o.Version, Dir: dir, Home: o.SparkHome, Java: java, Scala: versions[o.Version].scala,
		Python: filepath.Join(dir, "python", "bin", "python3"), Jars: filepath.Join(dir, "jars"),
		Empty: filepath.Join(dir, "empty"), Archives: filepath.Join(dir, "archives-"+javaKey),
	}
	if err := os.MkdirAll(in.Empty, 0o755); err != nil {
		return nil, err
	}
	for _, stage := range []struct {
		name string
		to   float64
		run  func(context.Context, *Installation, Options, func(float64, string)) error
	}{
		{"python", 0.5, setupPython},
		{"jars", 0.65, setupJars},
		{"archives-" + javaKey, 1, setupArchives},
	} {
		from := map[string]float64{"python": 0, "jars": 0.5}[stage.name]
		if strings.HasPrefix(stage.name, "archives") {
			from = 0.65
			// What only Spark itself can tell, once it is there.
			if err := in.complete(ctx); err != nil {
				return nil, err
			}
		}
		stamp := filepath.Join(dir, stage.name+".done")
		if _, err := os.Stat(stamp); err == nil {
			if stage.name == "python" {
				if err := in.findHome(ctx); err == nil {
					continue
				}
			} else if _, err := os.Stat(filepath.Join(dir, stage.name)); err == nil {
				continue
			}
		}
		err := stage.run(ctx, in, o, func(f float64, text string) {
			progress(Progress{from + f*(stage.to-from), text})
		})
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(stamp, nil, 0o644); err != nil {
			return nil, err
		}
	}
	b, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return nil, err
	}
	tmp := filepath.Join(dir, installFile+".new")
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return nil, err
	}
	if err := os.Rename(tmp, filepath.Join(dir, installFile)); err != nil {
		return nil, err
	}
	progress(Progress{1, "Spark " + in.Version + " is ready"})
	return in, nil
}

// lock holds a file for this process; waiting is called when somebody else has it.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !told {
			waiting()
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-after(pollInterval):
		}
	}
}

// setupPython makes the private environment and fills it with what is pinned.
func setupPython(ctx context.Context, in *Installation, o Options, progress func(float64, string)) error {
	python, err := findPython(ctx, versions[o.Version].newestPython)
	if err != nil {
		return err
	}
	env := filepath.Join(in.Dir, "python")
	if out, err := exec.CommandContext(ctx, in.Python, "-c", "pass").CombinedOutput(); err != nil {
		progress(0, "making a Python environment with "+python.Path)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := os.RemoveAll(env); err != nil {
			return err
		}
		if out, err = exec.CommandContext(ctx, python.Path, "-m", "venv", env).CombinedOutput(); err != nil {
			return fmt.Errorf("%s -m venv %s failed: %s", python.Path, env, lastLine(out))
		}
	}
	list := filepath.Join(in.Dir, "requirements.txt")
	text := requirements
	if o.SparkHome == "" {
		text += "pyspark==" + o.Version + "\n"
	}
	if err := os.WriteFile(list, []byte(text), 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, in.Python, "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check",
		"--no-input", "--progress-bar", "off", "-r", list)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var said, complained bytes.Buffer
	cmd.Stderr = &complained
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	at := 0.02
	lines := bufio.NewScanner(io.TeeReader(out, &said))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(line, "Downloading"):
			at = min(at+0.01, 0.55)
			progress(at, strings.ToLower(line[:1])+line[1:])
			if strings.Contains(line, "pyspark") {
				at = max(at, 0.35)
			}
		case strings.HasPrefix(line, "Building wheel"):
			at = max(at, 0.6)
			progress(at, "unpacking pyspark")
		case strings.HasPrefix(line, "Installing collected"):
			at = max(at, 0.8)
			progress(at, "installing the Python packages")
		}
	}
	_, _ = io.Copy(&said, out) // behind a line that was too long: pip must not wait for us
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		why := lastLine(complained.Bytes())
		if why == "" {
			why = lastLine(said.Bytes())
		}
		return fmt.Errorf("pip could not install the Python packages (%w): %s", err, why)
	}
	return in.findHome(ctx)
}

// findHome asks the environment where its pyspark lies.
func (i *Installation) findHome(ctx context.Context) error {
	if i.Home != "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, i.Python, "-c", "import pyspark, os; print(os.path.dirname(pyspark.__file__))").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pyspark cannot be imported: %s", lastLine(out))
	}
	i.Home = firstLine(out)
	return nil
}

// setupJars has Spark's own Ivy fetch the S3A jars, and keeps those of the list, each checked.
func setupJars(ctx context.Context, in *Installation, o Options, progress func(float64, string)) error {
	progress(0, "fetching the jars of the s3:// file system")
	scratch := filepath.Join(in.Dir, "scratch")
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	program := filepath.Join(scratch, "nothing.py")
	if err := os.WriteFile(program, nil, 0o644); err != nil {
		return err
	}
	ivy := filepath.Join(in.Dir, "ivy")
	cmd := exec.CommandContext(ctx, filepath.Join(in.Home, "bin", "spark-submit"), "--master", "local[1]",
		"--conf", "spark.jars.ivy="+ivy, "--conf", "spark.ui.enabled=false",
		"--packages", strings.Join(versions[in.Version].packages, ","),
		"--exclude-packages", "software.amazon.awssdk:bundle,software.amazon.awssdk:netty-nio-client,org.wildfly.openssl:wildfly-openssl",
		program)
	cmd.Env = append(os.Environ(), in.env()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &all, &all
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("Spark's Ivy could not fetch the S3A jars (%w): %s", err, ivyError(all.Bytes()))
	}
	progress(0.8, "checking the jars")
	if err := keepJars(filepath.Join(ivy, "jars"), in.Jars, jarsOf(in.Version)); err != nil {
		return err
	}
	return os.RemoveAll(ivy)
}

// keepJars makes the folder to of the listed jars, if each is in the folder from and is what the list says.
func keepJars(from, to string, jars map[string]string) error {
	if len(jars) == 0 {
		return errors.New("jars.sha256 lists no jars for this Spark")
	}
	fresh := to + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(jars)) {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return fmt.Errorf("Ivy brought no %s: %w", name, err)
		}
		sum := sha256.Sum256(b)
		if got := hex.EncodeToString(sum[:]); got != jars[name] {
			return fmt.Errorf("%s is not what it should be: its SHA-256 is %s, and jars.sha256 says %s; nothing of it is used", name, got, jars[name])
		}
		if err := os.WriteFile(filepath.Join(fresh, name), b, 0o644); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.Rename(fresh, to)
}

// complete fills in the class path and the options that Spark's own launcher gives to Java.
func (i *Installation) complete(ctx context.Context) error {
	i.ClassPath = nil
	for _, dir := range []string{filepath.Join(i.Home, "jars"), i.Jars} {
		found, err := filepath.Glob(filepath.Join(dir, "*.jar"))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("no jars in %s", dir)
		}
		slices.Sort(found)
		i.ClassPath = append(i.ClassPath, found...)
	}
	cmd := exec.CommandContext(ctx, i.Java.Bin(), "-cp", filepath.Join(i.Home, "jars", "*"), "-Xmx128m",
		"org.apache.spark.launcher.Main", "org.apache.spark.deploy.SparkSubmit", "--version")
	cmd.Env = append(os.Environ(), i.env()...)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("Spark's launcher failed: %w", err)
	}
	i.JavaOptions = nil
	for _, arg := range strings.Split(string(out), "\x00") {
		arg = strings.TrimSpace(arg)
		if strings.HasPrefix(arg, "--add-") || strings.HasPrefix(arg, "--enable-") || strings.HasPrefix(arg, "-D") ||
			arg == "-XX:+IgnoreUnrecognizedVMOptions" {
			i.JavaOptions = append(i.JavaOptions, arg)
		}
	}
	if len(i.JavaOptions) < 10 {
		return fmt.Errorf("Spark's launcher answered %q", out)
	}
	return nil
}

// ivyError is the line of Ivy's report that says what is wrong.
func ivyError(out []byte) string {
	for line := range strings.Lines(string(out)) {
		for _, sign := range []string{"unresolved dependency", "download failed", "UNRESOLVED", "Host repo1", "java.lang.RuntimeException"} {
			if strings.Contains(line, sign) {
				return strings.TrimSpace(line)
			}
		}
	}
	return lastLine(out)
}

func lastLine(b []byte) string {
	s := strings.TrimSpace(string(b))
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

// Size is how many bytes the installation takes on disk.
func (i *Installation) Size() (n int64, err error) {
	err = filepath.WalkDir(i.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// pollInterval is how often Setup and Cluster look at what cannot tell them.
const pollInterval = 20 * time.Millisecond

func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	clock.System{}.AfterFunc(d, func() { close(c) })
	return c
}
