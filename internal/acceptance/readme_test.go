package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme runs the walk-through from README's own text, so that it cannot rot.
func TestReadme(t *testing.T) {
	in := needed(t)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	script := ""
	for _, mark := range []string{"<!-- walkthrough -->", "<!-- own program -->"} {
		_, rest, ok := strings.Cut(string(text), mark+"\n```sh\n")
		block, _, closed := strings.Cut(rest, "```\n")
		if !ok || !closed {
			t.Fatalf("README.md has no %s and a block of sh", mark)
		}
		script += block + "echo end of " + mark[5:len(mark)-4] + "\n"
	}
	// The commands write files into the folder in which they run, so they run in one of their own.
	dir := t.TempDir()
	for _, name := range []string{"pipelines", "internal", "durable", "store"} { // what the commands build from
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "bin"} {
		if err := os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	job := "from pyspark.sql import SparkSession\nprint('rows', SparkSession.builder.getOrCreate().range(1000).count())\n"
	if err := os.WriteFile(filepath.Join(dir, "my_job.py"), []byte(job), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, port(t))
	if err := os.Symlink(s.dir, filepath.Join(dir, ".mayfly")); err != nil {
		t.Fatal(err)
	}
	script = strings.ReplaceAll(script, "http://127.0.0.1:4566", s.endpoint())
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(in.AWS())+":"+os.Getenv("PATH"), "AWS_PAGER=", "HOME="+dir, "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "GOFLAGS="+goEnv(t, "GOFLAGS"))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"\n0\nend of walkthrough", "rows 1000", "SUCCEEDED", "output/", "/model/manifest.json", "200 " + s.endpoint()} {
		if !strings.Contains(string(out), part) {
			t.Errorf("the walk-through does not print %q", part)
		}
	}
	until(t, "the end of one's own cluster", func() bool { return len(s.clusters()) == 0 })
	left(t, s.endpoint())
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
