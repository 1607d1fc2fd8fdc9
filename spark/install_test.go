package spark

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

func TestJarLists(t *testing.T) {
	for version, n := range map[string]int{"4.0.1": 29, "4.3.0": 34} {
		jars := jarsOf(version)
		if len(jars) != n {
			t.Errorf("%d jars for Spark %s, want %d", len(jars), version, n)
		}
		for name, sum := range jars {
			if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(sum) || !strings.HasSuffix(name, ".jar") {
				t.Errorf("%s: %q", name, sum)
			}
		}
	}
	if len(Versions()) != 2 {
		t.Errorf("versions %v", Versions())
	}
}

func TestFindBeforeSetup(t *testing.T) {
	if _, err := Find(Options{CacheDir: t.TempDir()}); err != ErrNotSetUp {
		t.Errorf("find: %v", err)
	}
	if _, err := Find(Options{CacheDir: t.TempDir(), Version: "2.4.0"}); err == nil || err.Error() != "Mayfly does not know Spark 2.4.0; it runs 4.0.1 and 4.3.0" {
		t.Errorf("find: %v", err)
	}
	home := t.TempDir()
	if _, err := Find(Options{SparkHome: home}); err == nil || !strings.Contains(err.Error(), "holds no Spark") {
		t.Errorf("find: %v", err)
	}
	os.MkdirAll(filepath.Join(home, "jars"), 0o700)
	os.WriteFile(filepath.Join(home, "jars", "spark-core_2.12-3.5.1.jar"), nil, 0o600)
	if _, err := Find(Options{SparkHome: home}); err == nil || !strings.Contains(err.Error(), "is Spark 3.5.1 and Mayfly runs 4.0.1 and 4.3.0; unset it") {
		t.Errorf("find: %v", err)
	}
}

func TestFindJava(t *testing.T) {
	fake := func(text string, code string) string {
		home := t.TempDir()
		os.MkdirAll(filepath.Join(home, "bin"), 0o700)
		script := "#!/bin/sh\ncat >&2 <<'END'\n" + text + "\nEND\nexit " + code + "\n"
		if err := os.WriteFile(filepath.Join(home, "bin", "java"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		return home
	}
	properties := func(version string) string {
		return "    java.home = /opt/jdk\n    java.specification.version = " + version + "\n    java.vm.version = " + version + ".0.1+2\n"
	}
	for _, c := range []struct{ name, home, want string }{
		{"21", fake(properties("21"), "0"), ""},
		{"8", fake(properties("1.8"), "0"), "Spark needs Java 17 or 21 (HOME/bin/java is Java 1.8.0.1+2). Install it with `"},
		{"25", fake(properties("25"), "0"), "Spark needs Java 17 or 21 (HOME/bin/java is Java 25.0.1+2). Install it with `"},
		{"small", fake("java.lang.module.FindException: Module jdk.incubator.vector not found", "1"),
			"Spark needs Java 17 or 21 (HOME/bin/java cannot be used: its runtime lacks the module jdk.incubator.vector). Install it with `"},
		{"none", t.TempDir(), "Spark needs Java 17 or 21 (HOME/bin/java cannot be used: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("JAVA_HOME", c.home)
			t.Setenv("PATH", "/bin:/usr/sbin:"+filepath.Dir(c.home)) // no java of this machine's
			if _, err := os.Stat("/bin/java"); err == nil {
				t.Setenv("PATH", t.TempDir()+":"+linkTo(t, "sh", "cat"))
			}
			j, err := FindJava(t.Context())
			if c.want == "" {
				if err != nil || j.Major != 21 || j.Home != "/opt/jdk" {
					t.Errorf("%+v %v", j, err)
				}
				return
			}
			if want := strings.ReplaceAll(c.want, "HOME", c.home); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v\nwant %s", err, want)
			}
		})
	}
}

// linkTo is a folder with links to programs of this machine.
func linkTo(t *testing.T, names ...string) string {
	dir := t.TempDir()
	for _, n := range names {
		if err := os.Symlink("/bin/"+n, filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestInstallCommand names the command of the system that has the package manager.
func TestInstallCommand(t *testing.T) {
	for manager, want := range map[string]string{
		"apt-get": "sudo apt-get install -y openjdk-17-jre-headless", "dnf": "sudo dnf install -y java-21-openjdk-headless",
		"pacman": "sudo pacman -S --noconfirm jre21-openjdk-headless", "zypper": "sudo zypper install -y java-21-openjdk-headless",
		"apk": "sudo apk add openjdk21-jre-headless",
	} {
		if runtime.GOOS == "darwin" {
			want = "brew install openjdk@21"
		}
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, manager), []byte("#!/bin/sh\n"), 0o700)
		t.Setenv("PATH", dir)
		t.Setenv("JAVA_HOME", "")
		if _, err := FindJava(t.Context()); err == nil || err.Error() != "Spark needs Java 17 or 21 (none was found). Install it with `"+want+"`, or point JAVA_HOME at it" {
			t.Errorf("%s: %v", manager, err)
		}
	}
}

func TestFindPython(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"good", "echo 3.12", ""},
		{"old", "echo 3.9", "Mayfly needs Python 3.10 to 3.13 with venv (DIR/python3 is Python 3.9). Install it with `"},
		{"newer than pyspark", "echo 3.14", "Mayfly needs Python 3.10 to 3.13 with venv (DIR/python3 is Python 3.14). Install it with `"},
		{"without venv", "echo 3.11; exit 1", "Mayfly needs Python 3.10 to 3.13 with venv (DIR/python3 cannot make virtual environments: `"},
		{"broken", "exit 1", "Mayfly needs Python 3.10 to 3.13 with venv (DIR/python3 does not run). Install it with `"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			os.WriteFile(filepath.Join(dir, "python3"), []byte("#!/bin/sh\n"+c.script+"\n"), 0o700)
			t.Setenv("PATH", dir)
			p, err := FindPython(t.Context())
			if c.want == "" {
				if err != nil || p.Version != "3.12" {
					t.Errorf("%+v %v", p, err)
				}
				return
			}
			if want := strings.ReplaceAll(c.want, "DIR", dir); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v\nwant %s", err, want)
			}
		})
	}
}

func TestKeepJars(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "jars")
	sums := map[string]string{
		"a.jar": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", // of "abc"
		"b.jar": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	}
	for name, text := range map[string]string{"a.jar": "abc", "b.jar": "abd", "c.jar": "not listed"} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := keepJars(from, to, sums); err == nil || !strings.HasPrefix(err.Error(), "b.jar is not what it should be") {
		t.Errorf("a changed jar: %v", err)
	}
	if _, err := os.Stat(to); err == nil {
		t.Error("jars are kept although one was changed")
	}
	os.WriteFile(filepath.Join(from, "b.jar"), []byte("abc"), 0o600)
	if err := keepJars(from, to, sums); err != nil {
		t.Error(err)
	}
	if found, _ := filepath.Glob(filepath.Join(to, "*")); len(found) != 2 {
		t.Errorf("kept %v", found)
	}
	sums["d.jar"] = sums["a.jar"]
	if err := keepJars(from, to, sums); err == nil || !strings.HasPrefix(err.Error(), "Ivy brought no d.jar") {
		t.Errorf("a missing jar: %v", err)
	}
}
