package template

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the expected results")

// A case is a file of testdata: "template", optionally "parameters" (JSON, name to text), and "want": the evaluated
// resources and outputs, or the error.
func TestTemplates(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("cases: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := func(name string) []byte {
				for _, f := range ar.Files {
					if f.Name == name {
						return f.Data
					}
				}
				return nil
			}
			params := map[string]string{}
			if b := part("parameters"); b != nil {
				if err := json.Unmarshal(b, &params); err != nil {
					t.Fatal(err)
				}
			}
			got := []byte(story(part("template"), params))
			if *update {
				files := ar.Files[:0:0]
				for _, f := range ar.Files {
					if f.Name != "want" {
						files = append(files, f)
					}
				}
				ar.Files = append(files, txtar.File{Name: "want", Data: got})
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := part("want"); len(want) == 0 || !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// story tells what becomes of a template.
func story(body []byte, params map[string]string) string {
	t, err := Parse(body)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var b strings.Builder
	for _, w := range t.Warnings {
		fmt.Fprintf(&b, "warning: line %d: %s\n", w.Line, w.Message)
	}
	fail := func(err error) string { return b.String() + "error: " + err.Error() + "\n" }
	values, err := t.Bind(params, func(typ, v string) (bool, error) { return v != "missing", nil })
	if err != nil {
		return fail(err)
	}
	c := &Context{Values: values, Account: "000000000000", Region: "us-east-1", StackName: "s", StackID: "arn:s",
		Ref:    func(r string) (any, error) { return "ref-" + r, nil },
		GetAtt: func(r, a string) (any, error) { return r + "/" + a, nil },
		Import: func(name string) (string, bool) { return "imported-" + name, name == "known" },
	}
	if c.Conditions, err = t.EvaluateConditions(c); err != nil {
		return fail(err)
	}
	imports, err := t.Imports(c)
	if err != nil {
		return fail(err)
	}
	for _, name := range imports {
		fmt.Fprintf(&b, "imports %s\n", name)
	}
	active, err := t.Active(c)
	if err != nil {
		return fail(err)
	}
	for _, r := range active {
		props, err := t.Resolve(r.Properties, c)
		if err != nil {
			return fail(err)
		}
		js, err := json.MarshalIndent(props, "", "  ")
		if err != nil {
			return fail(err)
		}
		fmt.Fprintf(&b, "%s %s needs %v\n%s\n", r.Name, r.Type, r.Needs, js)
	}
	outs, err := t.ResolveOutputs(c)
	if err != nil {
		return fail(err)
	}
	for _, o := range outs {
		fmt.Fprintf(&b, "output %s = %q export %q\n", o.Name, o.Value, o.Export)
	}
	return b.String()
}

// Errors are checked from one file: a template of one line of JSON or of several lines of YAML, then the text.
func TestRefused(t *testing.T) {
	raw, err := os.ReadFile("testdata/refused.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split(strings.TrimSpace(string(raw)), "\n----\n")
	if len(cases) < 20 {
		t.Fatalf("only %d cases", len(cases))
	}
	for i, c := range cases {
		body, want, ok := strings.Cut(c, "\n=> ")
		if !ok {
			t.Fatalf("case %d has no =>: %s", i, c)
		}
		got := story([]byte(body), nil)
		if i := strings.Index(got, "error: "); i >= 0 {
			got = strings.TrimSpace(got[i+len("error: "):])
		}
		if *update {
			cases[i] = body + "\n=> " + got
		} else if got != strings.TrimSpace(want) {
			t.Errorf("case %d\n%s\ngot  %s\nwant %s", i, body, got, want)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/refused.txt", []byte(strings.Join(cases, "\n----\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < MaxBody {
			story(body, map[string]string{})
		}
	})
}
