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
	_, rest, ok := strings.Cut(string(text), "<!-- walkthrough -->\n```sh\n")
	script, _, closed := strings.Cut(rest, "```\n")
	if !ok || !closed {
		t.Fatal("README.md has no walk-through: <!-- walkthrough --> and a block of sh")
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
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "0" {
		t.Errorf("%s clusters are left", last)
	}
	for _, part := range []string{"SUCCEEDED", "output/", "/model/manifest.json", "200 " + s.endpoint()} {
		if !strings.Contains(string(out), part) {
			t.Errorf("the walk-through does not print %q", part)
		}
	}
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
