package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

type manifestRequest struct {
	Plan    Plan
	Cluster struct{ StackId, ClusterId string }
	Modes   []modeResult
}

// modeResult is what an iteration of the Map ends with.
type modeResult struct {
	Mode, Status         string
	Preprocessing, Model json.RawMessage
	Failure              *errorAndCause
}

// Published is the answer, and what manifest.json holds.
type Published struct {
	Manifest string
	Modes    []PublishedMode
	Failure  *errorAndCause `json:",omitempty"`
}

// PublishedMode is one mode's result.
type PublishedMode struct {
	Mode, Status  string
	Preprocessing string         `json:",omitempty"` // where its output lies
	Model         string         `json:",omitempty"`
	Figures       map[string]any `json:",omitempty"`
	Error         string         `json:",omitempty"`
	Failure       *stepFailure   `json:",omitempty"`
}

// manifest writes what the execution has made. A step that ended well and left nothing is a failure too.
func (a *app) manifest(ctx context.Context, in manifestRequest) (*Published, error) {
	out := &Published{Manifest: in.Plan.Output + "/manifest.json", Modes: []PublishedMode{}}
	var told []string
	for i, r := range in.Modes {
		if i >= len(in.Plan.Modes) {
			return nil, failf("Pipeline.Inconsistent", "%d modes ran, %d were planned", len(in.Modes), len(in.Plan.Modes))
		}
		planned := in.Plan.Modes[i]
		m := PublishedMode{Mode: r.Mode, Status: r.Status}
		if r.Status == "SUCCEEDED" {
			m.Preprocessing, m.Model = planned.Preprocessing.Output, planned.Model.Output
			figures, err := a.figures(ctx, m.Model)
			if err != nil {
				if !errors.Is(err, errMissing) {
					return nil, err
				}
				m.Status, m.Error = "FAILED", "Output.Missing"
				m.Failure = &stepFailure{Step: planned.Model.Name, ClusterId: in.Cluster.ClusterId, Message: "The step ended well, yet " + err.Error() + "."}
			}
			m.Figures = figures
		} else if r.Failure != nil {
			m.Error = r.Failure.Error
			m.Failure = readFailure(*r.Failure)
		}
		if m.Failure != nil {
			told = append(told, m.Mode+": "+sentence(m.Failure))
			if out.Failure == nil {
				out.Failure = &errorAndCause{Error: m.Error}
			}
		}
		out.Modes = append(out.Modes, m)
	}
	if out.Failure != nil {
		out.Failure.Cause = strings.Join(told, "\n")
	}
	body, err := json.MarshalIndent(map[string]any{
		"execution": in.Plan.ExecutionArn, "model": in.Plan.ModelName, "stack": in.Cluster.StackId, "cluster": in.Cluster.ClusterId,
		"modes": out.Modes, "failure": out.Failure,
	}, "", " ")
	if err != nil {
		return nil, err
	}
	at, err := parseLocation(out.Manifest)
	if err != nil {
		return nil, err
	}
	if err := a.put(ctx, at, "application/json", body); err != nil {
		return nil, err
	}
	if out.Failure == nil {
		latest, _ := json.Marshal(map[string]string{"execution": in.Plan.Execution, "manifest": out.Manifest})
		if err := a.put(ctx, location{at.Bucket, path.Join(path.Dir(path.Dir(at.Key)), "latest.json")}, "application/json", latest); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// figures are the numbers of the model program's own manifest, without its long lists. A user's program need not write one;
// then it must at least have left something.
func (a *app) figures(ctx context.Context, output string) (map[string]any, error) {
	at, err := parseLocation(output + "/manifest.json")
	if err != nil {
		return nil, err
	}
	body, err := a.get(ctx, at)
	if errors.Is(err, errMissing) {
		at, _ := parseLocation(output + "/")
		found, err := a.call(ctx, "s3", "ListObjectsV2", map[string]any{"Bucket": at.Bucket, "Prefix": at.Key, "MaxKeys": int64(1)})
		if err != nil {
			return nil, err
		}
		if len(list(found, "Contents")) == 0 {
			return nil, fmt.Errorf("its output %s %w", output, errMissing)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, nil // somebody else's manifest
	}
	out := map[string]any{}
	for _, name := range []string{"rows", "k", "anomalies", "kinds", "farRows", "zeroRows", "refusedLines"} {
		if v, ok := all[name]; ok {
			out[name] = v
		}
	}
	return out, nil
}

// readFailure reads a cause: a step's, a Lambda function's, or plain words.
func readFailure(e errorAndCause) *stepFailure {
	var f stepFailure
	if json.Unmarshal([]byte(e.Cause), &f) == nil && f.Message != "" {
		return &f
	}
	var l struct{ ErrorMessage string }
	if json.Unmarshal([]byte(e.Cause), &l) == nil && l.ErrorMessage != "" {
		return &stepFailure{Message: l.ErrorMessage}
	}
	if e.Cause == "" {
		return &stepFailure{Message: e.Error}
	}
	return &stepFailure{Message: e.Cause}
}

func sentence(f *stepFailure) string {
	s := f.Message
	if f.Step != "" {
		s = f.Step + ": " + s
	}
	var where []string
	if f.StepId != "" {
		where = append(where, "step "+f.StepId)
	}
	if f.ClusterId != "" {
		where = append(where, "cluster "+f.ClusterId)
	}
	if f.LogFile != "" {
		where = append(where, "log "+f.LogFile)
	}
	if len(where) > 0 {
		s += " (" + strings.Join(where, ", ") + ")"
	}
	return s
}

type cardRequest struct {
	Execution string
	Started   string
	Now       string
	State     struct {
		Plan    *Plan
		Stack   *launchAnswer
		Cluster *struct{ StackId, ClusterId string }
		Results *struct{ Published Published }
		Failure *errorAndCause
		// How the deletion went: Deletion and Forced are there when it had to be tried again.
		Deletion, Forced *errorAndCause
		Deleted          json.RawMessage
	}
}

// Card is the mail.
type Card struct{ Subject, Message string }

// card writes what people want to know first.
func (a *app) card(_ context.Context, in cardRequest) (*Card, error) {
	s := in.State
	name := in.Execution[strings.LastIndex(in.Execution, ":")+1:]
	model := name
	if s.Plan != nil {
		model = s.Plan.ModelName
	}
	var b strings.Builder
	row := func(label, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", label, value)
		}
	}
	verdict := "succeeded"
	if s.Failure != nil {
		verdict = "failed"
	}
	fmt.Fprintf(&b, "The EMR pipeline has %s.\n\n", verdict)
	row("Execution", in.Execution)
	row("Started", in.Started)
	began, err1 := time.Parse(time.RFC3339, in.Started)
	ended, err2 := time.Parse(time.RFC3339, in.Now)
	if err1 == nil && err2 == nil {
		row("Duration", ended.Sub(began).Round(time.Second).String())
	}
	if s.Stack != nil {
		row("Stack", s.Stack.StackId)
	}
	if s.Cluster != nil {
		row("Cluster", s.Cluster.ClusterId)
	}
	if s.Failure != nil {
		f := readFailure(*s.Failure)
		b.WriteString("\n")
		row("Error", s.Failure.Error)
		if s.Results == nil || s.Results.Published.Failure == nil {
			row("Reason", f.Message)
			row("Step", strings.TrimSpace(f.Step+" "+f.StepId))
			row("Log", f.LogFile)
		}
	}
	if s.Results != nil {
		for _, m := range s.Results.Published.Modes {
			fmt.Fprintf(&b, "\n%s: %s\n", m.Mode, m.Status)
			if m.Failure != nil {
				row("Error", m.Error)
				row("Reason", m.Failure.Message)
				row("Step", strings.TrimSpace(m.Failure.Step+" "+m.Failure.StepId+" "+m.Failure.State))
				if m.Failure.Reason != "Unknown Error." {
					row("Class", m.Failure.Reason)
				}
				row("Log", m.Failure.LogFile)
			} else {
				row("Output", m.Model)
				if v, ok := m.Figures["anomalies"]; ok {
					row("Anomalies", fmt.Sprintf("%v of %v readings", v, m.Figures["rows"]))
				}
			}
		}
		b.WriteString("\n")
		row("Manifest", s.Results.Published.Manifest)
	}
	b.WriteString("\n")
	switch {
	case s.Deleted != nil && s.Deletion != nil:
		row("Clean-up", "the stack is gone, and so is the cluster; they had to be forced")
	case s.Deleted != nil:
		row("Clean-up", "the stack is gone, and so is the cluster")
	case s.Plan != nil:
		row("Clean-up", "THE STACK "+s.Plan.StackName+" COULD NOT BE DELETED. Look after it: it may cost money.")
	default:
		row("Clean-up", "nothing had been made")
	}
	return &Card{Subject: subject(fmt.Sprintf("EMR pipeline %s: %s", verdict, model)), Message: b.String()}, nil
}

// subject is what SNS takes: printable ASCII, fewer than 100 characters.
func subject(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 99)]
}
