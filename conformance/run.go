package conformance

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly/internal/clock"
)

// Outcome is how one case went.
type Outcome struct {
	Area, Name, Kind string
	Skipped          string // why the case was not run
	Err              string // what went wrong before there was anything to compare
	Result           bool
	HasHistory       bool // the recording has a history, or a whole answer
	History          bool
	Diff             []string
}

// Runner runs cases against an endpoint.
type Runner struct {
	Endpoint *Endpoint
	Services map[string]bool // what the endpoint offers besides Step Functions
	RunID    string          // makes names unique
	Jobs     int
	Clock    clock.Clock
	Mocked   bool    // it has loaded MockConfig: cases that need more than it offers run with the recorded results
	Timeout  float64 // seconds for one execution, besides the waits that its definition asks for
}

// Run runs the cases and returns their outcomes in the same order.
func (r *Runner) Run(cases []Case) []Outcome {
	out := make([]Outcome, len(cases))
	work := make(chan int)
	var wg sync.WaitGroup
	for range max(r.Jobs, 1) {
		wg.Go(func() {
			for i := range work {
				out[i] = r.one(&cases[i])
			}
		})
	}
	for i := range cases {
		work <- i
	}
	close(work)
	wg.Wait()
	return out
}

type skip string

func (s skip) Error() string { return string(s) }

func (r *Runner) one(c *Case) Outcome {
	o, err := r.attempt(c)
	var why skip
	switch {
	case errors.As(err, &why):
		o = Outcome{Skipped: string(why)}
	case err != nil:
		o = Outcome{Err: err.Error(), HasHistory: c.Expect["events"] != nil || c.Expect["response"] != nil || len(c.Steps) > 0}
	}
	o.Area, o.Name, o.Kind = c.Area, c.Name, c.Kind
	return o
}

func (r *Runner) attempt(c *Case) (Outcome, error) {
	need := map[string]bool{}
	for _, n := range c.Needs {
		need[n] = true
	}
	if len(c.Lambdas) > 0 {
		need["lambda"] = true
	}
	for _, s := range append(append([]Step{}, c.Setup...), c.Steps...) {
		need[s.Service] = true
	}
	if c.Kind == "test_state" && len(c.Needs) == 0 {
		need = map[string]bool{}
	}
	var missing []string
	for n := range need {
		if n != "cross-account" && n != "states" && n != "activity" && n != "stepfunctions" && !r.Services[n] {
			missing = append(missing, n)
		}
	}
	mocked := len(missing) > 0 && r.Mocked && c.mockable()
	if len(missing) > 0 && !mocked {
		sort.Strings(missing)
		return Outcome{}, skip("needs " + strings.Join(missing, ","))
	}
	mine, err := r.personal(c)
	if err != nil {
		return Outcome{}, err
	}
	if need["cross-account"] {
		if err := r.oneAccount(mine); err != nil {
			return Outcome{}, err
		}
	}
	if c.Kind == "execution" || c.Kind == "sync_execution" {
		return r.execution(mine, mocked)
	}
	return r.steps(mine)
}

// oneAccount lets a case play in the endpoint's only account that was recorded between two: the role of the second one is
// made here, and its number is no other.
func (r *Runner) oneAccount(c *Case) error {
	if c.Input != nil {
		var in map[string]any
		if err := decode([]byte(*c.Input), &in); err != nil {
			return fmt.Errorf("read the input: %w", err)
		}
		r.makeRole(plainText(in["CredentialsRoleArn"]))
	}
	expect, err := replaced(c.Expect, map[string]string{"<secondary_test_aws_account_id>": "<test_aws_account_id>"})
	c.Expect = expect
	return err
}

func digest(s string) string {
	h := sha1.Sum([]byte(s))
	return hex.EncodeToString(h[:])
}

// personal is a copy of the case with names of its own.
func (r *Runner) personal(c *Case) (*Case, error) {
	table := map[string]string{}
	for _, u := range c.UIDs {
		h := digest(r.RunID + "/" + c.Name + "/" + u)
		if table[u] = h[:8]; len(u) != 8 {
			table[u] = fmt.Sprintf("%s-%s-4%s-8%s-%s", h[:8], h[8:12], h[12:15], h[15:18], h[18:30])
		}
	}
	out := *c
	out.Expect, out.Mocks = nil, nil
	steps := make([]Step, len(c.Steps))
	for i, s := range c.Steps {
		s.Expect, s.ExpectError = nil, nil
		steps[i] = s
	}
	out.Steps = steps
	out, err := replaced(out, table)
	if err != nil {
		return nil, err
	}
	out.Expect, out.Mocks, out.Name, out.Area = c.Expect, c.Mocks, c.Name, c.Area
	for i := range out.Steps {
		out.Steps[i].Expect, out.Steps[i].ExpectError = c.Steps[i].Expect, c.Steps[i].ExpectError
	}
	return &out, nil
}

// replaced is v with texts replaced wherever they stand, also in JSON texts inside.
func replaced[T any](v T, table map[string]string) (T, error) {
	if len(table) == 0 {
		return v, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return v, err
	}
	var doc any
	if err := decode(b, &doc); err != nil {
		return v, err
	}
	text := dump(doc)
	olds := make([]string, 0, len(table))
	for old := range table {
		olds = append(olds, old)
	}
	sort.Slice(olds, func(i, j int) bool {
		return len(olds[i]) > len(olds[j]) || len(olds[i]) == len(olds[j]) && olds[i] < olds[j]
	})
	for _, old := range olds {
		a, b := inner(old), inner(table[old])
		text = strings.ReplaceAll(text, a, b)
		if aa := inner(a); aa != a {
			text = strings.ReplaceAll(text, aa, inner(b))
		}
	}
	var out T
	err = decode([]byte(text), &out)
	return out, err
}

func inner(s string) string { q := dump(s); return q[1 : len(q)-1] }

func (r *Runner) makeRole(arn string) {
	if !r.Services["iam"] || !strings.Contains(arn, ":role/") {
		return
	}
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["states.amazonaws.com","lambda.amazonaws.com"]},"Action":"sts:AssumeRole"},` +
		`{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`
	_, _ = r.Endpoint.call("iam", "CreateRole", map[string]any{"RoleName": arn[strings.LastIndexByte(arn, '/')+1:], "AssumeRolePolicyDocument": trust}) // there already: fine
}

func (r *Runner) lambdas(c *Case) error {
	role := "arn:aws:iam::" + r.Endpoint.Account + ":role/lambda"
	if len(c.Lambdas) > 0 {
		r.makeRole(role)
	}
	for _, fn := range c.Lambdas {
		code, ok := functionZip(fn.Behaviour)
		if !ok {
			return skip("lambda behaviour not described")
		}
		_, err := r.Endpoint.call("lambda", "CreateFunction", map[string]any{"FunctionName": fn.Name, "Runtime": "python3.12",
			"Handler": "handler.handler", "Role": role, "Timeout": 70, "Code": map[string]any{"ZipFile": code}})
		if err != nil && !strings.Contains(err.Error(), "exist") {
			return err
		}
		for range 200 {
			f, err := r.Endpoint.call("lambda", "GetFunction", map[string]any{"FunctionName": fn.Name})
			if err != nil {
				return err
			}
			if asObject(f["Configuration"])["State"] != "Pending" {
				break
			}
			r.pause(0.1)
		}
	}
	return nil
}

// functionZip is a deployment package whose handler.py does what a case says of its function.
func functionZip(behaviour string) (string, bool) {
	kind, arg, _ := strings.Cut(behaviour, ":")
	var src string
	switch kind {
	case "identity":
		src = "def handler(event, context):\n    return event\n"
	case "raise":
		typ, msg, _ := strings.Cut(arg, ":")
		if typ == "Exception" {
			src = "def handler(event, context):\n    raise Exception(" + dump(msg) + ")\n"
		} else { // the raising line is the ninth, which the recorded stack traces show
			src = "class " + typ + "(Exception):\n    def __init__(self):\n        super().__init__()\n        self.message = " + dump(msg) +
				"\n\n\n\ndef handler(event, context):\n    raise " + typ + "()\n"
		}
	case "return":
		src = "import json\n\n\ndef handler(event, context):\n    return json.loads(" + dump(arg) + ")\n"
	case "decorate":
		src = "def handler(event, context):\n    return f\"input-event-{event}\"\n"
	case "large_output":
		src = "def handler(event, context):\n    return \"a\" * (257 * 1024)\n"
	case "sleep":
		src = "import time\n\n\ndef handler(event, context):\n    time.sleep(" + arg + ")\n"
	default:
		return "", false
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("handler.py")
	if err == nil {
		_, err = f.Write([]byte(src))
	}
	if err == nil {
		err = z.Close()
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), err == nil
}

func (r *Runner) setup(c *Case, table map[string]string) error {
	for _, s := range c.Setup {
		p, err := replaced(s.Params, table)
		if err != nil {
			return err
		}
		if p["Body"] == lostBytes && strings.Contains(dump(c.Expect), `"ContentLength": 0,`) {
			p["Body"] = "" // there were none to lose
		}
		if role, ok := p["roleArn"].(string); ok && s.Service == "stepfunctions" {
			r.makeRole(role)
		}
		answer, err := r.Endpoint.call(s.Service, s.Operation, p)
		var refused *callError
		if errors.As(err, &refused) && refused.Code == unsupported {
			return skip(fmt.Sprintf("setup %s.%s: %v", s.Service, s.Operation, err))
		}
		if err != nil {
			return fmt.Errorf("setup %s.%s: %w", s.Service, s.Operation, err)
		}
		learn(s, answer, table)
	}
	return nil
}

var returnPath = regexp.MustCompile(`([^.\[\]]+)|\[(\d+)\]`)

// learn notes what the endpoint returned in place of the values that later text refers to.
func learn(s Step, answer map[string]any, table map[string]string) {
	for path, fake := range s.Returns {
		var real any = answer
		for _, m := range returnPath.FindAllStringSubmatch(path, -1) {
			if m[1] != "" {
				real = asObject(real)[m[1]]
				continue
			}
			l, i := asList(real), 0
			_, _ = fmt.Sscan(m[2], &i)
			if real = nil; i < len(l) {
				real = l[i]
			}
		}
		if text, ok := real.(string); ok && text != "" && !strings.HasSuffix(strings.ToLower(path), "status") && table[fake] == "" {
			table[fake] = text
		}
	}
}

func (r *Runner) pause(seconds float64) {
	done := make(chan struct{})
	r.Clock.AfterFunc(clock.Seconds(seconds), func() { close(done) })
	<-done
}

func (r *Runner) execution(c *Case, mocked bool) (Outcome, error) {
	table := map[string]string{}
	r.makeRole(c.RoleARN)
	if !mocked {
		if err := r.lambdas(c); err != nil {
			return Outcome{}, err
		}
		if err := r.setup(c, table); err != nil {
			return Outcome{}, err
		}
	}
	var err error
	if c.Definition, err = replaced(c.Definition, table); err != nil {
		return Outcome{}, err
	}
	if c.Input, err = replaced(c.Input, table); err != nil {
		return Outcome{}, err
	}
	if c.Transformers, err = replaced(c.Transformers, table); err != nil {
		return Outcome{}, err
	}
	params := map[string]any{"name": "case_" + digest(r.RunID + c.Name)[:16], "definition": string(c.Definition), "roleArn": c.RoleARN}
	if mocked {
		params["name"] = c.mockName()
	}
	if c.Type != "" {
		params["type"] = c.Type
	}
	if c.Kind == "sync_execution" {
		params["type"] = "EXPRESS"
	}
	made, err := r.Endpoint.call("stepfunctions", "CreateStateMachine", params)
	if err != nil {
		return Outcome{}, fmt.Errorf("CreateStateMachine: %w", err)
	}
	machine := plainText(made["stateMachineArn"])
	defer func() {
		_, _ = r.Endpoint.call("stepfunctions", "DeleteStateMachine", map[string]any{"stateMachineArn": machine})
	}()
	start := map[string]any{"stateMachineArn": machine}
	if mocked {
		start["stateMachineArn"] = machine + "#" + testCase
	}
	if c.Input != nil {
		start["input"] = *c.Input
	}
	if c.Kind == "sync_execution" {
		answer, err := r.Endpoint.call("stepfunctions", "StartSyncExecution", start)
		if err != nil {
			return Outcome{}, fmt.Errorf("StartSyncExecution: %w", err)
		}
		doc := map[string]any{"response": answer, "result": pick(answer)}
		return c.judge(r.normalise(c, doc, machine, plainText(answer["executionArn"]), table)), nil
	}
	started, err := r.Endpoint.call("stepfunctions", "StartExecution", start)
	if err != nil {
		return Outcome{}, fmt.Errorf("StartExecution: %w", err)
	}
	arn := plainText(started["executionArn"])
	if c.ExternalWorker == true {
		if err := r.work(c, arn); err != nil {
			return Outcome{}, err
		}
	}
	if c.Expect["status"] == "ABORTED" || c.Stop != nil {
		r.pause(1)
		stop := map[string]any{"executionArn": arn}
		for k, v := range c.Stop {
			stop[k] = v
		}
		if _, err := r.Endpoint.call("stepfunctions", "StopExecution", stop); err != nil {
			return Outcome{}, fmt.Errorf("StopExecution: %w", err)
		}
	}
	limit := r.Clock.Now().Add(clock.Seconds(c.EstSeconds + r.Timeout))
	var d map[string]any
	for pause := 0.01; ; pause = min(pause*1.5, 0.5) {
		if d, err = r.Endpoint.call("stepfunctions", "DescribeExecution", map[string]any{"executionArn": arn}); err != nil {
			return Outcome{}, fmt.Errorf("DescribeExecution: %w", err)
		}
		if d["status"] != "RUNNING" && d["status"] != "PENDING_REDRIVE" {
			break
		}
		if r.Clock.Now().After(limit) {
			_, _ = r.Endpoint.call("stepfunctions", "StopExecution", map[string]any{"executionArn": arn})
			return Outcome{}, errors.New("still running")
		}
		r.pause(pause)
	}
	events := []any{}
	q := map[string]any{"executionArn": arn, "maxResults": 100}
	for k, v := range c.HistoryParams {
		q[k] = v
	}
	for {
		page, err := r.Endpoint.call("stepfunctions", "GetExecutionHistory", q)
		if err != nil {
			return Outcome{}, fmt.Errorf("GetExecutionHistory: %w", err)
		}
		events = append(events, asList(page["events"])...)
		if page["nextToken"] == nil {
			break
		}
		q["nextToken"] = page["nextToken"]
	}
	doc := map[string]any{"history": map[string]any{"events": events}, "result": pick(d)}
	return c.judge(r.normalise(c, doc, machine, arn, table)), nil
}

func pick(d map[string]any) map[string]any {
	out := map[string]any{}
	for _, k := range []string{"status", "output", "error", "cause"} {
		if d[k] != nil {
			out[k] = d[k]
		}
	}
	return out
}

func (r *Runner) normalise(c *Case, doc map[string]any, machine, execution string, table map[string]string) map[string]any {
	n := normaliser{transformers: c.bind(machine, execution, table), account: r.Endpoint.Account, region: r.Endpoint.Region}
	return n.run(doc)
}

// bind is the case's transformers with the ARNs that are known only now.
func (c *Case) bind(machine, execution string, table map[string]string) []Transformer {
	var out []Transformer
	last := func(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }
	for _, t := range c.Transformers {
		arn := t.Arn
		if real, ok := table[arn]; ok {
			arn = real
		}
		switch t.Kind {
		case "sm_create_arn":
			if arn == "" {
				arn = machine
			}
			out = append(out, Transformer{Kind: "text", Text: last(arn), Replacement: fmt.Sprintf("<ArnPart_%didx>", t.Index)})
		case "exec_arn":
			if arn == "" {
				arn = execution
			}
			out = append(out, Transformer{Kind: "text", Text: last(arn), Replacement: fmt.Sprintf("<ExecArnPart_%didx>", t.Index)})
		case "sync_exec_arn", "express_exec_arn":
			if arn == "" {
				arn = execution
			}
			label := "SyncExecArn"
			if t.Kind == "express_exec_arn" {
				label = "ExpressExecArn"
			}
			if p := strings.Split(arn, ":"); len(p) > 1 {
				out = append(out, Transformer{Kind: "text", Text: p[len(p)-2], Replacement: fmt.Sprintf("<%s_Part1_%didx>", label, t.Index)},
					Transformer{Kind: "text", Text: p[len(p)-1], Replacement: fmt.Sprintf("<%s_Part2_%didx>", label, t.Index)})
			}
		default:
			out = append(out, t)
		}
	}
	if c.recorded() < "2025-11-06" { // AWS added the count of attempts then
		out = append(out, Transformer{Kind: "regex", Pattern: ` \(SDK Attempt Count: \d+\)`})
	}
	return out
}

// steps runs the calls of a case in order and compares each recorded answer.
func (r *Runner) steps(c *Case) (Outcome, error) {
	if err := r.lambdas(c); err != nil {
		return Outcome{}, err
	}
	table, docs := map[string]string{}, map[string]any{}
	for _, s := range c.Steps {
		p, err := replaced(s.Params, table)
		if err != nil {
			return Outcome{}, err
		}
		if role, ok := p["roleArn"].(string); ok {
			r.makeRole(role)
		}
		if s.Wait != "" {
			r.await(s, p)
			continue
		}
		answer, err := r.Endpoint.call(s.Service, s.Operation, p)
		var refused *callError
		switch {
		case errors.As(err, &refused) && refused.Code == unsupported:
			return Outcome{}, skip(err.Error())
		case errors.As(err, &refused) && s.Key != "":
			docs[s.Key] = map[string]any{"error": map[string]any{"code": refused.Code, "message": refused.Message}}
		case err != nil:
			return Outcome{}, fmt.Errorf("%s.%s: %w", s.Service, s.Operation, err)
		case s.Key != "":
			docs[s.Key] = map[string]any{"ok": answer}
		}
		learn(s, answer, table)
	}
	var err error
	if c.Transformers, err = replaced(c.Transformers, table); err != nil {
		return Outcome{}, err
	}
	got := r.normalise(c, docs, "", "", table)
	paths := c.skips()
	o := Outcome{Result: true, HasHistory: true, History: true}
	for _, s := range c.Steps {
		if s.Key == "" {
			continue
		}
		var want, coarseWant, coarseGot any
		g := asObject(got[s.Key])
		if s.ExpectError != nil {
			w := map[string]any{"message": s.ExpectError["message"]}
			if s.ExpectError["code"] != nil {
				w["code"] = s.ExpectError["code"]
			} else if e, ok := g["error"].(map[string]any); ok {
				delete(e, "code")
			}
			if strings.HasPrefix(plainText(w["message"]), "Error=") { // not AWS spoke here: only the code counts
				delete(w, "message")
				if e, ok := g["error"].(map[string]any); ok {
					delete(e, "message")
				}
			}
			want, coarseWant = map[string]any{"error": w}, w["code"]
			if coarseWant == nil {
				coarseWant = "error"
			}
			if e, ok := g["error"].(map[string]any); ok {
				if coarseGot = e["code"]; coarseGot == nil {
					coarseGot = "error"
				}
			}
		} else {
			w := drop(map[string]any{"ok": standard(s.Expect)}, paths).(map[string]any)
			g = asObject(drop(g, paths))
			want, coarseWant = w, coarse(s.Operation, w["ok"])
			if g["ok"] != nil {
				coarseGot = coarse(s.Operation, g["ok"])
			}
		}
		a, b := drop(renumber(want), paths), drop(renumber(g), paths)
		if !equal(renumber(coarseWant), renumber(coarseGot)) {
			o.Result = false
			o.Diff = append(o.Diff, fmt.Sprintf("%s: expected %s got %s", s.Key, brief(coarseWant), brief(g)))
		}
		if !equal(a, b) {
			o.History = false
			o.Diff = append(o.Diff, difference(s.Key, a, b)...)
		}
	}
	return o, nil
}

func coarse(operation string, answer any) any {
	a := asObject(answer)
	switch operation {
	case "TestState":
		out := map[string]any{}
		for _, k := range []string{"status", "output", "error", "nextState"} {
			if v, ok := a[k]; ok {
				out[k] = deepJSON(clone(v))
			}
		}
		return out
	case "ValidateStateMachineDefinition":
		codes := []any{}
		for _, d := range asList(a["diagnostics"]) {
			codes = append(codes, []any{asObject(d)["severity"], asObject(d)["code"]})
		}
		byText(codes)
		return map[string]any{"result": a["result"], "codes": codes}
	}
	return "accepted"
}

// await repeats a call until what its name says is true.
func (r *Runner) await(s Step, p map[string]any) {
	limit := r.Clock.Now().Add(clock.Seconds(r.Timeout))
	for r.Clock.Now().Before(limit) {
		answer, _ := r.Endpoint.call(s.Service, s.Operation, p) // refused: not true yet
		events := asList(answer["events"])
		switch {
		case answer["events"] != nil && s.Wait == "await_execution_started":
			if len(events) > 0 {
				return
			}
		case answer["events"] != nil:
			if n := len(events); n > 0 {
				switch asObject(events[n-1])["type"] {
				case "ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut":
					return
				}
			}
		case s.Wait == "await_execution_lists_terminated" || s.Wait == "await_list_execution_status" || s.Wait == "await_execution_aborted":
			running := answer["status"] == "RUNNING"
			for _, e := range asList(answer["executions"]) {
				running = running || asObject(e)["status"] == "RUNNING"
			}
			if !running {
				return
			}
		default:
			return
		}
		r.pause(0.1)
	}
}
