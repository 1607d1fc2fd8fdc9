package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/mayfly-run/mayfly/internal/daemon"
	"github.com/mayfly-run/mayfly/spark"
)

// finding is what the doctor says about one thing.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warn, fail
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do about it
}

const (
	good = "ok"
	warn = "warn"
	fail = "fail"
)

func (a *app) doctor() *cobra.Command {
	c := &cobra.Command{
		Use: "doctor", Short: "Look at the machine, Java, Python, Spark, the port and the AWS clients", Args: cobra.NoArgs,
		Long: "Doctor says what is missing and how to get it, and which of the clients on this machine have known traps with a local\n" +
			"endpoint. It changes nothing. The exit code is 1 when something is missing that mayfly run needs.",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, _, err := a.settings(c)
			if err != nil {
				return err
			}
			found := a.examine(c.Context(), settings)
			sick := false
			for _, f := range found {
				sick = sick || f.Status == fail
			}
			if a.output == "json" {
				err = a.json(found)
			} else {
				marks := map[string]string{good: "✓", warn: "!", fail: "✗"}
				for _, f := range found {
					fmt.Fprintf(a.out, "%s %-12s %s\n", marks[f.Status], f.Check, f.Text)
					if f.Advice != "" {
						fmt.Fprintf(a.out, "  %-12s → %s\n", "", f.Advice)
					}
				}
			}
			if err == nil && sick {
				return &exitError{code: 1}
			}
			return err
		},
	}
	settingFlags(c)
	return c
}

// examine looks at everything.
func (a *app) examine(ctx context.Context, s daemon.Settings) []finding {
	out := []finding{{"mayfly", good, Version() + ", " + runtime.Version(), ""}}
	out = append(out, machine(s)...)
	out = append(out, software(ctx, s)...)
	out = append(out, port(ctx, s))
	out = append(out, a.environment(s)...)
	return append(out, a.clients(ctx)...)
}

// machine looks at what a cluster needs: cores, memory, disk.
func machine(s daemon.Settings) []finding {
	f := finding{"machine", good, fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()), ""}
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		f.Status, f.Advice = fail, "Mayfly runs on Linux and macOS"
	}
	_, memory := spark.Machine()
	f.weigh(uint64(memory) << 20)
	if b, err := s.Budget(); err == nil { // else the settings were refused before
		f.Text += fmt.Sprintf("; clusters may have %v", b)
	}
	out := []finding{f}
	dir := s.DataDir
	for dir != "" && dir != "." && dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil {
		free := uint64(st.Bavail) * uint64(st.Bsize)
		d := finding{"disk", good, fmt.Sprintf("%.1f GiB free for %s", float64(free)/(1<<30), s.DataDir), ""}
		if free < 2<<30 {
			d.Status, d.Advice = warn, "Spark (1 GB) and its data want 2 GiB; choose another place with --data-dir and --cache"
		}
		out = append(out, d)
	}
	return out
}

// weigh judges the machine by its memory, in bytes.
func (f *finding) weigh(mem uint64) {
	f.Text += fmt.Sprintf(", %.1f GiB of memory", float64(mem)/(1<<30))
	switch {
	case mem < 7<<29:
		f.Status, f.Advice = fail, "a cluster of one worker and its driver need about 3.5 GiB; use a larger machine, or give this one more"
	case mem < 6<<30 && f.Status == good:
		f.Status, f.Advice = warn, "below 6 GiB only one small cluster fits at a time"
	}
}

// software looks for what Spark stands on, and for Spark.
func software(ctx context.Context, s daemon.Settings) (out []finding) {
	if j, err := spark.FindJava(ctx); err != nil {
		out = append(out, finding{"java", fail, "no Java that Spark can use", sentence(err)})
	} else {
		out = append(out, finding{"java", good, j.Version + " in " + j.Home, ""})
	}
	in, err := spark.Find(sparkOptions(s))
	switch {
	case err == nil:
		f := finding{"spark", good, in.Version + " in " + in.Dir, ""}
		if in.Home == os.Getenv("SPARK_HOME") {
			f.Text += ", with SPARK_HOME=" + in.Home
		}
		if missing := in.MissingArchives(); len(missing) > 0 {
			f.Status, f.Text = warn, f.Text+"; without class-data archives for "+strings.Join(missing, ", ")+": starts take longer"
			f.Advice = "remove " + in.Dir + " and run mayfly setup again"
		}
		out = append(out, finding{"python", good, in.Python, ""}, f)
	case errors.Is(err, spark.ErrNotSetUp):
		if p, err := spark.FindPython(ctx); err != nil {
			out = append(out, finding{"python", fail, "no Python that Spark can use", sentence(err)})
		} else {
			out = append(out, finding{"python", good, p.Version + " (" + p.Path + ")", ""})
		}
		out = append(out, finding{"spark", warn, "not set up yet", "mayfly setup (about two minutes, 1 GB); mayfly run does it by itself"})
	default:
		out = append(out, finding{"spark", fail, sentence(err), ""})
	}
	return out
}

func sentence(err error) string { return strings.TrimSpace(err.Error()) }

// port looks at who answers where we would listen.
func port(ctx context.Context, s daemon.Settings) finding {
	dir, _ := filepath.Abs(s.DataDir)
	h, err := daemon.Ask(ctx, s.Listen)
	var foreign *daemon.ErrForeign
	switch {
	case err == nil && h.DataDir == dir && h.Version == Version():
		return finding{"server", good, "running on " + s.Listen + fmt.Sprintf(" (process %d)", h.PID), ""}
	case err == nil:
		return finding{"server", warn, fmt.Sprintf("mayfly %s with the data in %s answers on %s", h.Version, h.DataDir, s.Listen),
			"mayfly stop --data-dir " + h.DataDir + ", or another --listen"}
	case errors.As(err, &foreign):
		return finding{"server", fail, s.Listen + " is taken by another program (it answered " + foreign.Answer + ")", "choose another address with --listen"}
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return finding{"server", fail, "cannot listen on " + s.Listen + ": " + sentence(err), "choose another address with --listen"}
	}
	l.Close()
	return finding{"server", good, "not running; " + s.Listen + " is free", ""}
}

// environment looks at the variables that clients read.
func (a *app) environment(s daemon.Settings) (out []finding) {
	endpoint := a.getenv("AWS_ENDPOINT_URL")
	switch u, err := url.Parse(endpoint); {
	case endpoint == "":
		out = append(out, finding{"endpoint", warn, "AWS_ENDPOINT_URL is not set: clients of this shell talk to AWS", "export AWS_ENDPOINT_URL=http://" + s.Listen})
	case err != nil || u.Hostname() == "":
		out = append(out, finding{"endpoint", fail, "AWS_ENDPOINT_URL is no URL: " + endpoint, "export AWS_ENDPOINT_URL=http://" + s.Listen})
	case u.Hostname() == "localhost":
		out = append(out, finding{"endpoint", warn, "AWS_ENDPOINT_URL names localhost: the Go SDK then asks S3 at BUCKET.localhost, which often does not resolve",
			"export AWS_ENDPOINT_URL=http://" + s.Listen})
	default:
		out = append(out, finding{"endpoint", good, endpoint, ""})
	}
	if a.getenv("AWS_DISABLE_HOST_PREFIX_INJECTION") == "" {
		out = append(out, finding{"sync- host", warn, "start-sync-execution and test-state go to the host sync-127.0.0.1, which does not resolve",
			"export AWS_DISABLE_HOST_PREFIX_INJECTION=true (recent botocore and CLI v1; in Python Config(inject_host_prefix=False))"})
	}
	home, _ := os.UserHomeDir()
	if _, err := os.Stat(filepath.Join(home, ".aws", "credentials")); err != nil && a.getenv("AWS_ACCESS_KEY_ID") == "" && a.getenv("AWS_PROFILE") == "" {
		out = append(out, finding{"credentials", warn, "no AWS credentials: clients refuse to sign, or look for an instance role for seconds",
			"export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true"})
	}
	for _, name := range []string{"http_proxy", "HTTP_PROXY"} {
		no := a.getenv("no_proxy") + "," + a.getenv("NO_PROXY")
		if a.getenv(name) != "" && !strings.Contains(no, "127.0.0.1") && !strings.Contains(no, "*") {
			out = append(out, finding{"proxy", warn, name + " is set: clients would send calls for 127.0.0.1 to the proxy", "export NO_PROXY=127.0.0.1,localhost"})
			break
		}
	}
	return out
}

// probeTimeout bounds how long a client may take to tell its version.
const probeTimeout = 20 * time.Second

var versions = struct{ cli, boto3, sam, cdk *regexp.Regexp }{
	regexp.MustCompile(`aws-cli/(\d+)\.(\d+)\.(\d+)`), regexp.MustCompile(`(\d+)\.(\d+)\.(\d+)`),
	regexp.MustCompile(`SAM CLI, version (\d+)\.(\d+)\.(\d+)`), regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)`),
}

// clients looks at the AWS clients on the PATH and names their traps.
func (a *app) clients(ctx context.Context) (out []finding) {
	if v, text := probe(ctx, versions.cli, "aws", "--version"); text != "" {
		f := finding{"aws cli", good, strings.TrimPrefix(text, "aws-cli/"), ""}
		switch {
		case v == nil:
			f.Status, f.Text = warn, "aws does not tell its version"
		case v[0] == 1 && (v[1] < 29):
			f.Status, f.Advice = warn, "AWS_ENDPOINT_URL is ignored before 1.29: use --endpoint-url with each call, or update it"
		case v[0] == 1:
			f.Status = warn
			f.Text += ": version 1 sends `aws sqs` to AWS itself in most regions, us-east-1 too, and `aws emr` outside us-east-1 and eu-central-1, whatever AWS_ENDPOINT_URL says"
			f.Advice = "use `aws --endpoint-url $AWS_ENDPOINT_URL sqs …`; such a call leaves the machine otherwise"
		case v[0] == 2 && v[1] < 13:
			f.Status, f.Advice = warn, "AWS_ENDPOINT_URL is ignored before 2.13: use --endpoint-url with each call, or update it"
		}
		out = append(out, f)
	} else {
		out = append(out, finding{"aws cli", warn, "not on the PATH", "mayfly setup brings one (mayfly setup -o json tells where); or pip install awscli"})
	}
	if v, text := probe(ctx, versions.boto3, "python3", "-c", "import boto3; print(boto3.__version__)"); v != nil {
		f := finding{"boto3", good, text, ""}
		if v[0] == 1 && v[1] < 28 {
			f.Status, f.Advice = warn, "AWS_ENDPOINT_URL is ignored before 1.28: pass endpoint_url to client(), or update it"
		}
		out = append(out, f)
	}
	if v, text := probe(ctx, versions.sam, "sam", "--version"); v != nil {
		out = append(out, finding{"sam", warn, text, "the SAM transform is not served yet: use aws cloudformation deploy with plain resources"})
	}
	if v, text := probe(ctx, versions.cdk, "cdk", "--version"); v != nil {
		out = append(out, finding{"cdk", good, text, "use plain cdk with AWS_ENDPOINT_URL; aws-cdk-local 3.0.4 does not start beside recent versions"})
	}
	return out
}

// probe runs a program and reads a version from what it says; text is "" when it cannot be run.
func probe(ctx context.Context, pattern *regexp.Regexp, name string, args ...string) (version []int, text string) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	b, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return nil, ""
	}
	text, _, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
	m := pattern.FindStringSubmatch(string(b))
	for i := 1; i < len(m); i++ {
		n, _ := strconv.Atoi(m[i])
		version = append(version, n)
	}
	return version, text
}
