package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/integration/awstask"
	"github.com/mayfly-run/mayfly/services/cloudformation/template"
)

// problem is one thing wrong with a file.
type problem struct {
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Severity string `json:"severity"` // ERROR or WARNING
	Code     string `json:"code,omitempty"`
	Location string `json:"location,omitempty"`
	Message  string `json:"message"`
}

func (a *app) validate() *cobra.Command {
	var kind string
	c := &cobra.Command{
		Use: "validate FILE...", Short: "Check state machine definitions and CloudFormation templates", Args: cobra.MinimumNArgs(1),
		Long: "Validate needs no server. It tells by its content whether a file is a definition in the Amazon States Language (JSON)\n" +
			"or a CloudFormation template (YAML or JSON); - is the standard input. A Resource that CloudFormation fills in, \"${Name}\",\n" +
			"is not looked at. The exit code is 1 when there are errors.",
		RunE: func(_ *cobra.Command, files []string) error {
			if kind != "STANDARD" && kind != "EXPRESS" {
				return fmt.Errorf("--type is STANDARD or EXPRESS, not %q", kind)
			}
			var all []problem
			for _, name := range files {
				text, err := readInput(name)
				if err != nil { // the others are looked at all the same
					all = append(all, problem{File: name, Severity: "ERROR", Message: err.Error()})
					continue
				}
				all = append(all, check(name, text, kind == "EXPRESS")...)
			}
			wrong := false
			for _, p := range all {
				wrong = wrong || p.Severity == "ERROR"
			}
			if a.output == "json" {
				if all == nil {
					all = []problem{}
				}
				if err := a.json(all); err != nil {
					return err
				}
			} else {
				for _, p := range all {
					where := p.File
					if p.Line > 0 {
						where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
					}
					fmt.Fprintf(a.out, "%s: %s: %s\n", where, strings.ToLower(p.Severity), strings.TrimSpace(p.Message+" "+p.Location))
				}
				if !wrong {
					fmt.Fprintf(a.err, "%d files, no errors\n", len(files))
				}
			}
			if wrong {
				return &exitError{code: 1}
			}
			return nil
		},
	}
	c.Flags().StringVar(&kind, "type", "STANDARD", "of the state machines: STANDARD or EXPRESS")
	return c
}

// maxInput bounds what is read from a file.
const maxInput = 16 << 20

func readInput(name string) ([]byte, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	b, err := io.ReadAll(io.LimitReader(f, maxInput+1))
	if err == nil && len(b) > maxInput {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxInput)
	}
	return b, err
}

// check finds out what a file is and what is wrong with it.
func check(name string, text []byte, express bool) (out []problem) {
	if !isTemplate(text) {
		_, found := asl.Parse(text, asl.ParseOptions{Express: express, Resource: awstask.Judge, Substitutions: true})
		for _, d := range found {
			out = append(out, problem{File: name, Line: d.Pos.Line, Column: d.Pos.Column, Severity: string(d.Severity), Code: d.Code, Location: d.Pointer, Message: d.Message})
		}
		return out
	}
	if _, err := template.Parse(text); err != nil {
		out = append(out, problem{File: name, Severity: "ERROR", Message: err.Error()})
	}
	return out
}

// isTemplate tells a template from a state machine: it has resources, or is YAML.
func isTemplate(text []byte) bool {
	var doc map[string]json.RawMessage
	if json.Unmarshal(text, &doc) == nil {
		return doc["Resources"] != nil || doc["AWSTemplateFormatVersion"] != nil
	}
	var node yaml.Node
	return !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) && yaml.Unmarshal(text, &node) == nil
}
