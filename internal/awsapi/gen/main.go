// Command gen cuts Mayfly's API models out of the botocore package and writes the Go types of the operations that
// Mayfly serves. Without -data it asks python3 where botocore is, and it refuses a version other than config.json's.
package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

//go:embed config.json
var configText []byte

// own is the model of Mayfly's own operations, in botocore's form.
//
//go:embed mayfly.json
var own []byte

type config struct {
	Botocore string `json:"botocore"`
	Services []struct {
		Name, Dir, Package string          // without Dir: Mayfly's own
		Typed              []string        // operations that get Go types, as path.Match patterns
		Modelled           json.RawMessage // absent: all; "typed": those only; or a list of patterns
		Dropped            []string        // operations that the service no longer wants, and that share another's route
	} `json:"services"`
}

func main() {
	log.SetFlags(0)
	data := flag.String("data", "", "botocore's data folder")
	out := flag.String("out", ".", "folder of package awsapi")
	flag.Parse()
	if err := run(*data, *out); err != nil {
		log.Fatal("gen: ", err)
	}
}

func run(data, out string) error {
	var c config
	if err := json.Unmarshal(configText, &c); err != nil {
		return err
	}
	if data == "" {
		text, err := exec.Command("python3", "-c",
			"import botocore,os; print(botocore.__version__); print(os.path.join(os.path.dirname(botocore.__file__),'data'))").Output()
		if err != nil {
			return fmt.Errorf("find botocore (pip install botocore==%s): %w", c.Botocore, err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if lines[0] != c.Botocore {
			return fmt.Errorf("botocore is %s, config.json wants %s", lines[0], c.Botocore)
		}
		data = lines[1]
	}
	if err := os.MkdirAll(filepath.Join(out, "models"), 0o755); err != nil {
		return err
	}
	index := map[string]awsapi.Signs{}
	for _, s := range c.Services {
		text := own
		if s.Dir != "" {
			var err error
			if text, err = newest(filepath.Join(data, s.Dir)); err != nil {
				return err
			}
		}
		m, err := awsapi.ParseModel(s.Name, text)
		if err != nil {
			return err
		}
		keep := []string{"*"}
		if len(s.Modelled) > 0 && s.Modelled[0] == '"' {
			keep = s.Typed
		} else if len(s.Modelled) > 0 {
			if err := json.Unmarshal(s.Modelled, &keep); err != nil {
				return err
			}
		}
		for _, n := range s.Dropped {
			delete(m.Operations, n)
		}
		overlay(m)
		if err := cut(m, keep); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		index[s.Name] = awsapi.SignsOf(m)
		if err := writeModel(filepath.Join(out, "models", s.Name+".json.gz"), m); err != nil {
			return err
		}
		if s.Package == "" {
			continue
		}
		code, err := typed(m, s.Package, s.Typed)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		dir := filepath.Join(out, s.Package)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, s.Package+".go"), code, 0o644); err != nil {
			return err
		}
	}
	signs, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "index.json"), append(signs, '\n'), 0o644); err != nil {
		return err
	}
	notice := fmt.Sprintf(`The files in this folder, but for mayfly.json.gz, are cut from the data files of botocore %s (https://github.com/boto/botocore),
Copyright Amazon.com, Inc. or its affiliates, licensed under the Apache License, Version 2.0.
Changes: documentation, endpoint rules and unused operations and shapes are left out (internal/awsapi/gen).

botocore's NOTICE:
Botocore
Copyright 2012-2025 Amazon.com, Inc. or its affiliates. All Rights Reserved.
`, c.Botocore)
	return os.WriteFile(filepath.Join(out, "models", "NOTICE"), []byte(notice), 0o644)
}

// newest reads the service-2 file of the latest API version in dir.
func newest(dir string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "service-2.json*"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no model in %s (%v)", dir, err)
	}
	slices.Sort(files)
	f, err := os.Open(files[len(files)-1])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !strings.HasSuffix(f.Name(), ".gz") {
		return io.ReadAll(f)
	}
	zr, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(zr)
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, name); return ok })
}

// cut drops the operations that no pattern names, and every shape that the others do not reach.
func cut(m *awsapi.Model, keep []string) error {
	for _, p := range keep {
		if !strings.Contains(p, "*") && m.Operations[p] == nil {
			return fmt.Errorf("no operation %s", p)
		}
	}
	maps.DeleteFunc(m.Operations, func(n string, _ *awsapi.Operation) bool { return !matches(keep, n) })
	reached := map[string]bool{}
	for _, o := range m.Operations {
		for _, r := range append([]*awsapi.Ref{o.Input, o.Output}, o.Errors...) {
			reach(reached, r)
		}
	}
	maps.DeleteFunc(m.Shapes, func(n string, _ *awsapi.Shape) bool { return !reached[n] })
	return nil
}

func reach(seen map[string]bool, r *awsapi.Ref) {
	if r == nil || seen[r.Shape] {
		return
	}
	seen[r.Shape] = true
	for _, m := range r.To.Members {
		reach(seen, m)
	}
	reach(seen, r.To.Member)
	reach(seen, r.To.Key)
	reach(seen, r.To.Value)
}

func writeModel(file string, m *awsapi.Model) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if _, err := zw.Write(text); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// typed writes the structs of the operations and of all that they reach.
func typed(m *awsapi.Model, pkg string, ops []string) ([]byte, error) {
	for _, p := range ops {
		if p != "*" && m.Operations[p] == nil {
			return nil, fmt.Errorf("no operation %s", p)
		}
	}
	g := generator{model: m, names: map[string]string{}}
	// A shape that is only the input or output of one operation is named after it; one with other uses keeps its name and
	// the operation gets an alias.
	uses := map[string]int{}
	for _, s := range m.Shapes {
		for _, r := range append(slices.Clone(s.Members), s.Member, s.Key, s.Value) {
			if r != nil {
				uses[r.Shape] += 2
			}
		}
	}
	for _, o := range m.Operations {
		for _, r := range []*awsapi.Ref{o.Input, o.Output} {
			if r != nil {
				uses[r.Shape]++
			}
		}
	}
	reached := map[string]bool{}
	type alias struct{ name, of string }
	var aliases []alias
	names := slices.Sorted(maps.Keys(m.Operations))
	names = slices.DeleteFunc(names, func(n string) bool { return !matches(ops, n) })
	for _, n := range names {
		o := m.Operations[n]
		for _, io := range []struct {
			name string
			ref  *awsapi.Ref
		}{{n + "Input", o.Input}, {n + "Output", o.Output}} {
			switch {
			case io.ref == nil:
				aliases = append(aliases, alias{io.name, "struct{}"})
			case uses[io.ref.Shape] == 1:
				g.names[io.ref.Shape] = io.name
			default:
				aliases = append(aliases, alias{io.name, io.ref.Shape})
			}
			reach(reached, io.ref)
		}
	}
	taken := map[string]string{}
	for n := range reached {
		if m.Shapes[n].Type != "structure" {
			continue
		}
		if old, ok := taken[g.name(n)]; ok {
			return nil, fmt.Errorf("shapes %s and %s are both %s", old, n, g.name(n))
		}
		taken[g.name(n)] = n
	}
	for _, a := range aliases {
		if old, ok := taken[a.name]; ok {
			if old == a.of {
				continue
			}
			return nil, fmt.Errorf("shape %s and operation are both %s", old, a.name)
		}
		if a.of == "struct{}" {
			g.printf("// %s has no members.\ntype %s struct{}\n\n", a.name, a.name)
		} else {
			g.printf("// %s is a %s.\ntype %s = %s\n\n", a.name, g.name(a.of), a.name, g.name(a.of))
		}
	}
	shapes := slices.Collect(maps.Keys(reached))
	slices.SortFunc(shapes, func(a, b string) int { return cmp.Compare(g.name(a), g.name(b)) })
	for _, n := range shapes {
		if m.Shapes[n].Type == "structure" {
			g.structure(m.Shapes[n])
		}
	}
	var head bytes.Buffer
	whose := "botocore's"
	if m.Name() == "mayfly" {
		whose = "Mayfly's own"
	}
	fmt.Fprintf(&head, "// Code generated by internal/awsapi/gen from %s model of %s %s. DO NOT EDIT.\n\n", whose, m.Metadata.ServiceFullName, m.Metadata.APIVersion)
	fmt.Fprintf(&head, "// Package %s holds the types of the %s operations that Mayfly serves.\npackage %s\n\n", pkg, m.Metadata.ServiceFullName, pkg)
	var imports []string
	if g.io {
		imports = append(imports, `"io"`)
	}
	if g.time {
		imports = append(imports, `"time"`)
	}
	if imports != nil {
		fmt.Fprintf(&head, "import (\n%s\n)\n\n", strings.Join(imports, "\n"))
	}
	head.Write(g.out.Bytes())
	return format.Source(head.Bytes())
}

type generator struct {
	model    *awsapi.Model
	names    map[string]string // shape → Go type, where they differ
	out      bytes.Buffer
	io, time bool
}

func (g *generator) printf(f string, args ...any) { fmt.Fprintf(&g.out, f, args...) }

func (g *generator) name(shape string) string {
	if n, ok := g.names[shape]; ok {
		return n
	}
	return exported(shape)
}

func exported(s string) string {
	r := []rune(s)
	r[0] = unicode.ToUpper(r[0])
	return string(r)
}

func (g *generator) structure(s *awsapi.Shape) {
	name := g.name(s.Name)
	g.printf("// %s is the model's shape %s.\ntype %s struct {\n", name, s.Name, name)
	fields := map[string]string{}
	for _, m := range s.Members {
		field := exported(m.Name)
		if fields[field] != "" {
			field += "_"
		}
		fields[field] = m.Name
		required := s.Requires(m.Name)
		tag := m.Name
		if !required {
			tag += ",omitempty"
		}
		comment := ""
		if len(m.To.Enum) > 0 && len(m.To.Enum) <= 6 {
			comment = " // " + strings.Join(m.To.Enum, ", ")
		}
		g.printf("%s %s `json:\"%s\"`%s\n", field, g.member(s, m, required), tag, comment)
	}
	g.printf("}\n\n")
}

func (g *generator) member(in *awsapi.Shape, m *awsapi.Ref, required bool) string {
	if m.IsStream() {
		g.io = true
		if strings.HasSuffix(g.name(in.Name), "Output") {
			return "io.ReadCloser"
		}
		return "io.Reader"
	}
	t := g.goType(m.To)
	switch m.To.Type {
	case "list", "map", "blob":
		return t
	case "structure":
		return "*" + t
	}
	if required {
		return t
	}
	return "*" + t
}

func (g *generator) goType(s *awsapi.Shape) string {
	switch s.Type {
	case "structure":
		return g.name(s.Name)
	case "list":
		return "[]" + g.goType(s.Member.To)
	case "map":
		return "map[string]" + g.goType(s.Value.To)
	case "string", "character":
		return "string"
	case "integer", "long":
		return "int64"
	case "float", "double":
		return "float64"
	case "boolean":
		return "bool"
	case "blob":
		return "[]byte"
	case "timestamp":
		g.time = true
		return "time.Time"
	}
	panic("shape " + s.Name + " has type " + s.Type)
}
