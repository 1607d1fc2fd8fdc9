// Package sparktest makes an installation whose Java is a shell script: its daemons say what Spark's say, do nothing, and
// start in milliseconds. For tests of what is around Spark; Spark itself is tested with the real one.
package sparktest

import (
	_ "embed"
	"os"
	"path/filepath"
	"testing"

	"github.com/mayfly-run/mayfly/spark"
)

//go:embed java.sh
var java string

//go:embed python.sh
var python string

//go:embed spark-submit.sh
var submit string

// Programs puts a Python and a Java on the PATH that let spark.Setup do its work without the network. Ivy brings one jar,
// a.jar, which holds "abc". It returns a file that has a line for each call: venv, pip, ivy. A file of that name with
// ".broken" makes pip fail.
func Programs(t testing.TB) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	write(t, calls, "", 0o600)
	write(t, filepath.Join(dir, "bin", "python3"), python, 0o700)
	write(t, filepath.Join(dir, "spark-submit"), submit, 0o700)
	for name, value := range map[string]string{"PATH": filepath.Join(dir, "bin") + ":/usr/bin:/bin", "JAVA_HOME": Java(t), "CALLS": calls,
		"SPARK_SUBMIT": filepath.Join(dir, "spark-submit")} {
		t.Setenv(name, value)
	}
	return calls
}

// Home makes a SPARK_HOME of the default version. Programs comes first.
func Home(t testing.TB) string {
	t.Helper()
	home := t.TempDir()
	write(t, filepath.Join(home, "jars", "spark-core_2.13-"+spark.DefaultVersion+".jar"), "core", 0o600)
	write(t, filepath.Join(home, "bin", "spark-submit"), submit, 0o700)
	return home
}

// Java makes a folder that is a JAVA_HOME, and returns it.
func Java(t testing.TB) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "java")
	write(t, filepath.Join(home, "bin", "java"), java, 0o700)
	write(t, filepath.Join(home, "release"), "IMPLEMENTOR=sparktest\n", 0o600)
	return home
}

// Installation is a Spark that does nothing.
func Installation(t testing.TB) *spark.Installation {
	t.Helper()
	dir := t.TempDir()
	python := filepath.Join(dir, "python", "bin", "python3")
	write(t, python, "#!/bin/sh\nexec python3 \"$@\"\n", 0o700)
	write(t, filepath.Join(dir, "python", "pyvenv.cfg"), "home = /usr/bin\n", 0o600)
	write(t, filepath.Join(dir, "python", "lib", "python3.11", "site-packages", "none.txt"), "", 0o600)
	write(t, filepath.Join(dir, "jars", "none.jar"), "", 0o600)
	return &spark.Installation{
		Version: spark.DefaultVersion, Dir: dir, Home: dir, Python: python, Java: spark.Java{Home: Java(t), Version: "17.0.1+1", Major: 17},
		Scala: "2.13", ClassPath: []string{filepath.Join(dir, "jars", "none.jar")}, Jars: filepath.Join(dir, "jars"), Empty: dir,
		Archives: filepath.Join(dir, "archives"),
	}
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
