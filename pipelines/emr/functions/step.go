package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
)

type startRequest struct {
	Token, Execution, ClusterId string
	Step                        Step
}

// startStep starts the inner machine with the token in its input, and nothing more than it needs.
func (a *app) startStep(ctx context.Context, in startRequest) (any, error) {
	body, err := json.Marshal(map[string]any{"Token": in.Token, "ClusterId": in.ClusterId, "Name": in.Step.Name, "Args": in.Step.Args})
	if err != nil {
		return nil, err
	}
	_, err = a.call(ctx, "states", "StartExecution", map[string]any{
		"stateMachineArn": a.innerMachine, "input": string(body),
		"name": clean(in.Step.Name, 60) + "-" + shortHash(in.Token), // an attempt has one token, so it has one name
	})
	return nil, err
}

type failureRequest struct {
	Token, ClusterId, Name string
	Failure                struct{ Error, Cause string }
}

// errorAndCause is how a failure is told to Step Functions.
type errorAndCause struct{ Error, Cause string }

// stepFailure is what the outer machine, the manifest and the mail hear of a failed step.
type stepFailure struct {
	Step      string `json:",omitempty"` // its name
	ClusterId string `json:",omitempty"`
	StepId    string `json:",omitempty"`
	State     string `json:",omitempty"`
	Reason    string `json:",omitempty"`
	Message   string // the exception line
	LogFile   string `json:",omitempty"`
}

// reportFailure finds out why the step failed and answers the outer machine's task with it.
func (a *app) reportFailure(ctx context.Context, in failureRequest) (*errorAndCause, error) {
	f := stepFailure{Step: in.Name, ClusterId: in.ClusterId, Message: in.Failure.Cause}
	name := in.Failure.Error
	var cause struct {
		Step              *stepDescription
		Status            *stepStatus
		Id                string
		State             string
		StateChangeReason struct{ Code, Message string }
	}
	readable := json.Unmarshal([]byte(in.Failure.Cause), &cause) == nil
	switch {
	case name == "EMR.ClusterTerminated" && readable:
		f.State, f.Reason = cause.State, cause.StateChangeReason.Code
		f.Message = fmt.Sprintf("The cluster is %s. %s", cause.State, cause.StateChangeReason.Message)
	case readable && (cause.Step != nil || cause.Status != nil):
		step := stepDescription{Id: cause.Id}
		if cause.Step != nil {
			step = *cause.Step
		} else {
			step.Status = *cause.Status
		}
		f.StepId, f.State = step.Id, step.Status.State
		name = map[string]string{"CANCELLED": "EMR.StepCancelled", "INTERRUPTED": "EMR.StepInterrupted"}[f.State]
		if name == "" {
			name = "EMR.StepFailed"
		}
		d := step.Status.FailureDetails
		f.Reason, f.LogFile, f.Message = d.Reason, d.LogFile, d.Message
		if !exceptionLine.MatchString(f.Message) {
			if line, log := a.exceptionFromLog(ctx, in.ClusterId, step.Id, f.LogFile); line != "" {
				f.Message, f.LogFile = line, log
			}
		}
		if f.Message == "" {
			f.Message = "The step is " + f.State + "."
		}
	case name == "States.Timeout" || name == "States.HeartbeatTimeout":
		name, f.Message = "EMR.StepTimedOut", "The step did not end in time and was cancelled."
	case strings.HasPrefix(name, "States.") || name == "":
		name = "EMR.StepNotRun"
	}
	f.Message = cut(f.Message, 4000)
	body, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	_, err = a.call(ctx, "states", "SendTaskFailure", map[string]any{"taskToken": in.Token, "error": name, "cause": string(body)})
	if err != nil && !answered(err) {
		return nil, err
	}
	return &errorAndCause{name, string(body)}, nil
}

type stepDescription struct {
	Id, Name string
	Status   stepStatus
}

type stepStatus struct {
	State          string
	FailureDetails struct{ Reason, Message, LogFile string }
}

var exceptionLine = regexp.MustCompile(`^(Caused by: )?[A-Za-z_][\w.$]*(Error|Exception|Exit|Interrupt|Warning|Failure)\b`)

// exceptionFromLog reads the driver's logs for the line that names the exception. spark-submit sends what a Python driver
// writes to stderr to its stdout, so both are read, that one first.
func (a *app) exceptionFromLog(ctx context.Context, cluster, step, logFile string) (line, place string) {
	folder := strings.TrimSuffix(logFile, path.Base(logFile))
	if logFile == "" {
		out, err := a.call(ctx, "elasticmapreduce", "DescribeCluster", map[string]any{"ClusterId": cluster})
		root := text(out, "Cluster", "LogUri")
		if err != nil || root == "" || step == "" {
			return "", ""
		}
		folder = strings.TrimSuffix(root, "/") + "/" + cluster + "/steps/" + step + "/"
	}
	for _, name := range []string{"stdout.gz", "stderr.gz"} {
		if line := exceptionIn(a.log(ctx, folder+name), name == "stdout.gz"); line != "" {
			return line, folder + name
		}
	}
	return "", ""
}

const maxLog = 16 << 20

// log is the text of a log file, or nothing: on AWS logs come minutes later.
func (a *app) log(ctx context.Context, file string) string {
	at, err := parseLocation(file)
	if err != nil {
		return ""
	}
	body, err := a.read(ctx, at, maxLog)
	if err != nil {
		return ""
	}
	if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return ""
		}
		if body, err = io.ReadAll(io.LimitReader(z, maxLog)); err != nil {
			return ""
		}
	}
	return string(body)
}

// exceptionIn finds the line that names the exception: the last "Caused by", else the end of the last Python traceback, else
// the last line that begins like an exception. What a program prints by itself only counts after a traceback.
func exceptionIn(log string, printed bool) string {
	caused, last := "", ""
	traceback := false
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "Traceback (most recent call last)"):
			traceback = true
		case strings.HasPrefix(line, "Caused by: "):
			caused = strings.TrimPrefix(line, "Caused by: ")
		case traceback && line != "" && line[0] != ' ':
			last, traceback = line, false
		case exceptionLine.MatchString(line) && (!printed || strings.HasPrefix(line, "SyntaxError") || strings.HasPrefix(line, "IndentationError")):
			last = line
		}
	}
	if caused != "" && (last == "" || strings.HasPrefix(last, "py4j.")) {
		return caused
	}
	return last
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}
