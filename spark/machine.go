package spark

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Java is a Java runtime that Spark can use.
type Java struct {
	Home    string // JAVA_HOME: bin/java is below
	Version string // "17.0.15+6-Debian-1deb12u1"
	Major   int
}

// Bin is the path of the java program.
func (j Java) Bin() string { return filepath.Join(j.Home, "bin", "java") }

// Python is a Python interpreter that the private environment can be made from.
type Python struct {
	Path    string
	Version string // "3.11"
}

// vectorModule is what Spark's launcher adds to Java's modules; a runtime without it cannot start Spark.
const vectorModule = "jdk.incubator.vector"

// FindJava looks for Java 17 or 21: JAVA_HOME, then java on the PATH. The error is a sentence for the user.
func FindJava(ctx context.Context) (Java, error) {
	var found []string
	var candidates []string
	if home := os.Getenv("JAVA_HOME"); home != "" {
		candidates = append(candidates, filepath.Join(home, "bin", "java"))
	}
	if path, err := exec.LookPath("java"); err == nil {
		candidates = append(candidates, path)
	}
	for _, path := range candidates {
		j, err := inspectJava(ctx, path)
		if ctx.Err() != nil {
			return Java{}, context.Cause(ctx)
		}
		if err != nil {
			found = append(found, fmt.Sprintf("%s cannot be used: %v", path, err))
			continue
		}
		if j.Major == 17 || j.Major == 21 {
			return j, nil
		}
		found = append(found, fmt.Sprintf("%s is Java %s", path, j.Version))
	}
	what := "none was found"
	if len(found) > 0 {
		what = strings.Join(found, "; ")
	}
	return Java{}, fmt.Errorf("Spark needs Java 17 or 21 (%s). Install it with `%s`, or point JAVA_HOME at it", what, installCommand("java"))
}

var javaProperty = regexp.MustCompile(`(?m)^\s*(java\.home|java\.vm\.version|java\.specification\.version) = (.*?)\s*$`)

func inspectJava(ctx context.Context, path string) (Java, error) {
	out, err := exec.CommandContext(ctx, path, "-XshowSettings:properties", "--add-modules="+vectorModule, "-version").CombinedOutput()
	if err != nil {
		if bytes.Contains(out, []byte(vectorModule)) {
			return Java{}, fmt.Errorf("its runtime lacks the module %s", vectorModule)
		}
		return Java{}, fmt.Errorf("%w: %s", err, firstLine(out))
	}
	var j Java
	for _, m := range javaProperty.FindAllStringSubmatch(string(out), -1) {
		switch m[1] {
		case "java.home":
			j.Home = m[2]
		case "java.vm.version":
			j.Version = m[2]
		case "java.specification.version":
			j.Major, _ = strconv.Atoi(strings.TrimPrefix(m[2], "1."))
		}
	}
	if j.Home == "" {
		return Java{}, errors.New("it does not tell its home")
	}
	return j, nil
}

// key names one build of Java by the file that is the build, without starting it.
func (j Java) key() (string, error) {
	h := sha256.New()
	for _, name := range []string{"lib/server/libjvm.so", "lib/server/libjvm.dylib", "lib/modules"} {
		st, err := os.Stat(filepath.Join(j.Home, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, name, st.Size(), st.ModTime().UnixNano())
	}
	release, _ := os.ReadFile(filepath.Join(j.Home, "release"))
	h.Write(release)
	fmt.Fprintln(h, j.Home)
	return hex.EncodeToString(h.Sum(nil))[:8], nil
}

// FindPython looks for a Python of 3.10 to 3.13 that can make virtual environments.
func FindPython(ctx context.Context) (Python, error) { return findPython(ctx, 13) }

// findPython looks for a Python of 3.10 to 3.newest.
func findPython(ctx context.Context, newest int) (Python, error) {
	var found []string
	for _, name := range []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, "-c", `import sys; print("%d.%d" % sys.version_info[:2]); import venv, ensurepip`).CombinedOutput()
		if ctx.Err() != nil {
			return Python{}, context.Cause(ctx)
		}
		version := firstLine(out)
		major, minor, ok := strings.Cut(version, ".")
		n, nerr := strconv.Atoi(minor)
		switch {
		case !ok || nerr != nil:
			found = append(found, path+" does not run")
		case major != "3" || n < 10 || n > newest:
			found = append(found, path+" is Python "+version)
		case err != nil:
			found = append(found, path+" cannot make virtual environments: `"+installCommand("venv")+"`")
		default:
			return Python{Path: path, Version: version}, nil
		}
	}
	what := "none was found"
	if len(found) > 0 {
		what = strings.Join(slices.Compact(found), "; ")
	}
	return Python{}, fmt.Errorf("Mayfly needs Python 3.10 to 3.%d with venv (%s). Install it with `%s`", newest, what, installCommand("python"))
}

// installCommand is what brings Java, Python or Python's venv on this system.
func installCommand(what string) string {
	table := map[string]map[string]string{
		"apt":    {"java": "sudo apt-get install -y openjdk-17-jre-headless", "python": "sudo apt-get install -y python3 python3-venv", "venv": "sudo apt-get install -y python3-venv"},
		"dnf":    {"java": "sudo dnf install -y java-21-openjdk-headless", "python": "sudo dnf install -y python3.12", "venv": "sudo dnf install -y python3-pip"},
		"pacman": {"java": "sudo pacman -S --noconfirm jre21-openjdk-headless", "python": "sudo pacman -S --noconfirm python", "venv": "sudo pacman -S --noconfirm python-pip"},
		"zypper": {"java": "sudo zypper install -y java-21-openjdk-headless", "python": "sudo zypper install -y python312", "venv": "sudo zypper install -y python312-pip"},
		"apk":    {"java": "sudo apk add openjdk21-jre-headless", "python": "sudo apk add python3", "venv": "sudo apk add py3-pip"},
		"brew":   {"java": "brew install openjdk@21", "python": "brew install python@3.13", "venv": "brew install python@3.13"},
	}
	if runtime.GOOS == "darwin" {
		return table["brew"][what]
	}
	for _, manager := range []string{"apt-get", "dnf", "pacman", "zypper", "apk"} {
		if _, err := exec.LookPath(manager); err == nil {
			return table[strings.TrimSuffix(manager, "-get")][what]
		}
	}
	return table["apt"][what]
}

// Machine is how many cores this process may use, and how much memory in MiB.
func Machine() (cores, memoryMB int) { return runtime.NumCPU(), hostMemoryMB() }

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return strings.TrimSpace(line)
}
