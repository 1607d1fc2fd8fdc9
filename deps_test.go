package mayfly_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mayfly-run/mayfly/"

// arrows says what a package may import of ours. The longest entry that a package lies under counts; "x/..." stands for x
// and all below. What every package may import is in plumbing. See ARCHITECTURE.md; an arrow that is missing here is a
// question about the design first, and a line of this table second.
var arrows = map[string][]string{
	"asl":                          {"asl/...", "internal/jsonvalue"},
	"asl/jsonpath":                 {"internal/jsonvalue", "internal/regex"},
	"asl/jsonata":                  {"internal/jsonvalue", "internal/regex"},
	"asl/intrinsic":                {"asl/jsonpath", "internal/jsonvalue"},
	"history":                      {"internal/jsonvalue"},
	"execution":                    {"asl/...", "history", "internal/jsonvalue"},
	"store":                        {},
	"store/memory":                 {"store"},
	"store/sqlite":                 {"store"},
	"store/storetest":              {"store/..."},
	"durable":                      {"store"},
	"maprun":                       {"asl", "execution", "internal/jsonvalue"},
	"engine":                       {"asl/...", "execution", "history", "maprun", "integration", "integration/mapdata", "durable", "store", "internal/jsonvalue", "internal/wake", "internal/awsapi", "internal/awscall"},
	"integration":                  {"asl", "execution", "internal/jsonvalue"},
	"integration/awstask":          {"integration", "asl", "execution", "internal/jsonvalue", "internal/awscall", "internal/awsapi/..."},
	"integration/httptask":         {"integration", "asl", "internal/jsonvalue"},
	"integration/mocktask":         {"integration", "asl", "execution", "internal/jsonvalue"},
	"integration/mapdata":          {"asl/...", "internal/jsonvalue", "internal/awscall", "internal/awsapi/..."},
	"custody":                      {"durable", "store", "internal/awscall", "internal/awsapi/...", "internal/wake"},
	"services":                     {"durable", "store", "internal/awscall", "internal/awsapi/...", "internal/wake"},
	"services/states":              {"engine", "execution", "maprun", "history", "asl", "store", "internal/jsonvalue", "internal/awscall", "internal/awsapi/...", "internal/metrics"},
	"services/emr":                 {"spark", "internal/proc", "durable", "store", "internal/awscall", "internal/awsapi/...", "internal/wake"},
	"services/emr/cluster":         {"durable", "internal/awsapi/...", "services/emr/host"},
	"services/emr/host":            {},
	"services/cloudformation":      {"durable", "store", "internal/awscall", "internal/awsapi/...", "internal/wake"},
	"services/lambda/sandbox":      {},
	"spark":                        {"internal/proc"},
	"spark/sparktest":              {"spark"},
	"pipelines/emr":                {"pipelines/emr/..."},
	"pipelines/emr/functions":      {"internal/awscall", "internal/awsapi"}, // the functions are AWS clients, and nothing of Mayfly's
	"conformance":                  {"internal/jsonvalue"},
	"bench/jsonata":                {"asl/jsonata", "internal/jsonvalue"}, // a module of its own
	"internal/jsonvalue":           {},
	"internal/regex":               {},
	"internal/clock":               {},
	"internal/identity":            {},
	"internal/wake":                {},
	"internal/egress":              {},
	"internal/cputime":             {}, // of benchmarks
	"internal/metrics":             {},
	"internal/metrics/metricstest": {},
	"internal/proc":                {},
	"internal/scenario":            {"asl", "execution", "history", "internal/jsonvalue"},
	"internal/awsapi":              {},
	"internal/awsapi/gen":          {"internal/awsapi"},
	"internal/awsproto":            {"internal/awsapi"},
	"internal/sigv4":               {},
	"internal/awscall":             {"internal/awsapi", "internal/awsproto", "internal/sigv4", "store"},
	"internal/gateway":             {"internal/awsproto", "internal/sigv4", "internal/awscall", "internal/awsapi", "store"},
	"internal/launch":              {"internal/awscall", "internal/awsapi", "pipelines/emr/..."},
	"internal/daemon":              {"..."},
	"internal/cli":                 {"..."},
	"internal/acceptance":          {"..."},
	"cmd/mayfly":                   {"internal/cli"},
}

// plumbing may be imported by everyone but the pure packages.
var plumbing = []string{"internal/clock", "internal/identity"}

// pure packages have no I/O, no clock and no goroutine: their results depend on their arguments alone.
var pure = []string{"asl", "asl/jsonpath", "asl/jsonata", "asl/intrinsic", "history", "execution", "internal/jsonvalue", "internal/regex",
	"services/cloudformation/template", "services/cloudformation/stack"}

type source struct {
	pkg  string // folder below the root
	file string
	ast  *ast.File
	fset *token.FileSet
}

// sources parses every Go file that is not a test and not test data.
func sources(t *testing.T) (out []source) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			return err
		}
		out = append(out, source{filepath.ToSlash(filepath.Dir(name)), name, f, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d files found", len(out))
	}
	return out
}

func (s source) imports() (out []string) {
	for _, i := range s.ast.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		out = append(out, p)
	}
	return out
}

// covers reports whether the entry names the package.
func covers(entry, pkg string) bool {
	base, below := strings.CutSuffix(entry, "...")
	base = strings.TrimSuffix(base, "/")
	return entry == pkg || below && (base == "" || pkg == base || strings.HasPrefix(pkg, base+"/"))
}

func TestImportArrows(t *testing.T) {
	for _, s := range sources(t) {
		rule := s.pkg
		for rule != "." && arrows[rule] == nil {
			rule = path.Dir(rule)
		}
		allowed, ok := arrows[rule]
		if !ok {
			t.Errorf("%s: package %s has no line in arrows (deps_test.go)", s.file, s.pkg)
			continue
		}
		for _, imported := range s.imports() {
			to, ours := strings.CutPrefix(imported, module)
			switch {
			case !ours || to == s.pkg:
			case slices.Contains(plumbing, to) && !(to == "internal/clock" && slices.Contains(pure, s.pkg)):
			case service(to) != "" && service(to) == service(s.pkg): // a service's own folders
			case !slices.ContainsFunc(allowed, func(e string) bool { return covers(e, to) }):
				t.Errorf("%s: %s → %s is no arrow of the architecture", s.file, s.pkg, to)
			}
		}
	}
}

// service is the service that a package belongs to, or "".
func service(pkg string) string {
	parts := strings.Split(pkg, "/")
	if len(parts) < 2 || parts[0] != "services" {
		return ""
	}
	return parts[1]
}

// timeCalls are the functions of package time that read or wait for the machine's clock.
var timeCalls = []string{"Now", "Sleep", "AfterFunc", "After", "Tick", "NewTimer", "NewTicker", "Since", "Until"}

// TestTimeStandsInClock: everything but package clock takes a Clock, so that tests and the simulator bring their own.
func TestTimeStandsInClock(t *testing.T) {
	seen := false
	for _, s := range sources(t) {
		if !slices.Contains(s.imports(), "time") {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && x.Obj == nil && slices.Contains(timeCalls, sel.Sel.Name) {
				if s.pkg == "internal/clock" {
					seen = true
				} else {
					t.Errorf("%s: time.%s stands outside of internal/clock", s.fset.Position(sel.Pos()), sel.Sel.Name)
				}
			}
			return true
		})
	}
	if !seen {
		t.Error("not even internal/clock was found: the test looks at nothing")
	}
}

// TestPurePackages: no I/O, no goroutine, no randomness of their own.
func TestPurePackages(t *testing.T) {
	forbidden := []string{"os", "net", "net/http", "io/fs", "os/exec", "log", "log/slog", "context", "crypto/rand", "path/filepath"}
	found := map[string]bool{}
	for _, s := range sources(t) {
		if !slices.Contains(pure, s.pkg) {
			continue
		}
		found[s.pkg] = true
		for _, imported := range s.imports() {
			if slices.Contains(forbidden, imported) {
				t.Errorf("%s: the pure package %s imports %s", s.file, s.pkg, imported)
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: the pure package %s starts a goroutine", s.fset.Position(g.Pos()), s.pkg)
			}
			return true
		})
	}
	for _, p := range pure {
		if !found[p] {
			t.Errorf("package %s is not there", p)
		}
	}
}

// TestSQLStandsInStore: no SQL outside of store.
func TestSQLStandsInStore(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range s.imports() {
			if (imported == "database/sql" || strings.Contains(imported, "sqlite")) && !strings.HasPrefix(s.pkg, "store") && !strings.HasPrefix(imported, module) {
				t.Errorf("%s: %s imports %s", s.file, s.pkg, imported)
			}
		}
	}
}
