package awstask

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// Config is what the integrations need.
type Config struct {
	Calls awscall.Caller
	Clock clock.Clock
	// Remote says whether a service, by its signing name, is AWS's own, which keeps no receipts of request keys. nil: none.
	Remote func(service string) bool
	// Implemented says whether calls of an operation are answered, by signing name and model name; nil: all are. A task that
	// needs another one fails at once, and says so.
	Implemented func(service, operation string) bool
}

// Tasks is integration.Integration for everything that is an AWS API.
type Tasks struct {
	cfg     Config
	glances glances
}

// New makes the integrations.
func New(cfg Config) *Tasks {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Remote == nil {
		cfg.Remote = func(string) bool { return false }
	}
	return &Tasks{cfg: cfg}
}

var _ integration.Integration = (*Tasks)(nil)

// action is an optimized integration that Mayfly can do.
type action struct {
	service string   // signing name
	calls   []string // the operations that it needs
	start   func(c *call) (integration.Result, error)
	check   func(args jsonvalue.Value) error // nil: they are those of the first operation
	// The rest is for .sync: poll reads the job, watches names what tells of its changes, cancel ends it.
	poll    func(c *call, h handle) (integration.Result, error)
	watches func(h handle) []string
	cancel  func(c *call, h handle) error
}

// actions by "service:api"; filled by the files of the services.
var actions = map[string]action{}

// handle is what a running job is known by.
type handle struct {
	Cluster   string `json:"cluster,omitempty"`
	Step      string `json:"step,omitempty"`
	Execution string `json:"execution,omitempty"`
	// Of a job that AWS runs: the inputs of the calls that read and end it.
	Ask  request `json:"ask,omitempty"`
	Stop request `json:"stop,omitempty"`
}

func (h handle) bytes() []byte {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // strings always encode
	}
	return b
}

// call is one task's business with a service.
type call struct {
	ctx     context.Context
	t       *Tasks
	service string
	task    integration.Task // for Poll and Cancel only who and what
	sdk     *sdk             // aws-sdk:* spells errors in the new style
	n       int
}

// Start implements integration.Integration.
func (t *Tasks) Start(ctx context.Context, task integration.Task) (integration.Result, error) {
	c := &call{ctx: ctx, t: t, task: task}
	r := task.Resource
	if text := Lacks(r.ARN, t.cfg.Implemented); text != "" {
		return failed(lacks(text)), nil
	}
	switch name, isSDK := strings.CutPrefix(r.Service, "aws-sdk:"); {
	case r.Kind == execution.Function:
		c.service = "lambda"
		return c.result(invokeFunction(c))
	case r.Kind != execution.Service:
		return integration.Result{}, fmt.Errorf("%s is nothing that AWS calls", r.ARN)
	case isSDK:
		m := modelled[name]
		c.service, c.sdk = m.signing, &m
		return c.result(c.plain(operation(m, r.API).Name, style{}))
	}
	a := actions[r.Service+":"+r.API]
	c.service = a.service
	if a.check != nil {
		if err := a.check(task.Input); err != nil {
			return c.result(integration.Result{}, err)
		}
	}
	return c.result(a.start(c))
}

// CheckArguments says why a task cannot be started with its arguments, nil when nothing speaks against it or when there is
// no model of what it calls. It is pure. What is missing is the API's own business: it says so itself.
// AWS: the state fails with States.Runtime before the task is scheduled; the definition was accepted.
func CheckArguments(r execution.Resource, args jsonvalue.Value) error {
	if r.Kind != execution.Service {
		return nil
	}
	var op *awsapi.Operation
	if name, isSDK := strings.CutPrefix(r.Service, "aws-sdk:"); isSDK {
		op = operation(modelled[name], r.API)
	} else {
		a := actions[r.Service+":"+r.API]
		switch {
		case a.check != nil:
			return a.check(args)
		case len(a.calls) > 0:
			op = awsapi.Load(a.service).Operations[a.calls[0]]
		}
	}
	if op == nil {
		return nil
	}
	_, err := toDocument(input(op), args)
	return err
}

// Poll implements integration.Integration.
func (t *Tasks) Poll(ctx context.Context, j integration.Job) (integration.Result, error) {
	a, h, err := job(j)
	if err != nil || a.poll == nil {
		return integration.Result{Running: true}, err
	}
	c := t.of(ctx, a, j)
	r, err := a.poll(c, h)
	switch awscall.Code(err) {
	case "InvalidArn", "ValidationException", "AccessDenied", "AccessDeniedException": // asking again changes nothing
		if f, ok := apiFailure(err, c.service, uuidOf(j.Execution), nil); ok {
			return failed(f), nil
		}
	}
	return r, err
}

// Cancel implements integration.Integration.
func (t *Tasks) Cancel(ctx context.Context, j integration.Job) error {
	a, h, err := job(j)
	if err != nil || a.cancel == nil {
		return err
	}
	err = a.cancel(t.of(ctx, a, j), h)
	var e *awsapi.Error
	if errors.As(err, &e) && e.Status < 500 {
		return nil // it has ended, or is gone: asking again would not help
	}
	return err
}

// Watches implements integration.Integration.
func (t *Tasks) Watches(j integration.Job) []string {
	a, h, err := job(j)
	if err != nil || a.watches == nil {
		return nil
	}
	return a.watches(h)
}

func job(j integration.Job) (a action, h handle, err error) {
	if len(j.Handle) == 0 {
		return a, h, nil
	}
	if err := json.Unmarshal(j.Handle, &h); err != nil {
		return a, h, fmt.Errorf("handle of %s: %w", j.Resource.ARN, err)
	}
	return actions[j.Resource.Service+":"+j.Resource.API], h, nil
}

func (t *Tasks) of(ctx context.Context, a action, j integration.Job) *call {
	return &call{ctx: ctx, t: t, service: a.service, task: integration.Task{Execution: j.Execution, Attempt: j.Attempt, Resource: j.Resource,
		RoleARN: j.RoleARN, Principal: j.Principal, RequestKey: j.RequestKey}}
}

// result makes the failure of a state out of an API error.
func (c *call) result(r integration.Result, err error) (integration.Result, error) {
	if err == nil {
		return r, nil
	}
	var bad *badParameter
	if errors.As(err, &bad) {
		return failed(parameters(c.task.Input, bad.why)), nil
	}
	if f, ok := apiFailure(err, c.service, c.request(), c.sdk); ok {
		return failed(f), nil
	}
	return integration.Result{}, err
}

// lacks is the failure of a task that Mayfly has nothing for.
func lacks(text string) *asl.Failure {
	return &asl.Failure{Error: asl.ErrTaskFailed, Cause: strings.Replace(text, ": this state will fail.", ".", 1) +
		" On AWS this state would run. It fails here at once, so that nothing seems to have happened that has not."}
}

func failed(f *asl.Failure) integration.Result { return integration.Result{Failure: f} }

// invoke makes one call of the service. Calls that read carry no request key: they are asked anew each time.
func (c *call) invoke(op string, in map[string]any, writes bool) (map[string]any, error) {
	x := awscall.Call{Principal: c.principal(), Service: c.service, Operation: op, Input: in}
	if writes && c.task.RequestKey != "" {
		x.RequestKey = c.task.RequestKey
		if c.n > 0 {
			x.RequestKey += "/" + strconv.Itoa(c.n)
		}
		c.n++
	}
	return c.t.cfg.Calls.Invoke(c.ctx, x)
}

// principal is who calls: the execution, with the role of the state's Credentials where it has one.
func (c *call) principal() identity.Principal {
	p := c.task.Principal
	role := strings.Split(c.task.RoleARN, ":")
	if len(role) != 6 {
		return p
	}
	last := func(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
	p.ARN = "arn:" + role[1] + ":sts::" + role[4] + ":assumed-role/" + last(role[5]) + "/" + last(p.ARN)
	return p
}

func (c *call) model(op string) *awsapi.Operation {
	return awsapi.Load(c.service).Operations[op]
}

func input(op *awsapi.Operation) *awsapi.Shape {
	if op.Input == nil {
		return nil
	}
	return op.Input.To
}

func output(op *awsapi.Operation) *awsapi.Shape {
	if op.Output == nil {
		return nil
	}
	return op.Output.To
}

// plain makes the call that the resource names with the state's arguments, and answers with its output.
func (c *call) plain(op string, st style) (integration.Result, error) {
	v, err := c.plainValue(op, c.task.Input, st)
	if err != nil {
		return integration.Result{}, err
	}
	return c.answer(v, nil), nil
}

func (c *call) plainValue(op string, args jsonvalue.Value, st style) (jsonvalue.Value, error) {
	o := c.model(op)
	in, err := toDocument(input(o), args)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	if c.service == "s3" && op == "PutObject" {
		putDefaults(in, args.Member("Body"))
	}
	doc, err := c.invoke(op, in, true)
	if err != nil {
		return jsonvalue.Value{}, err
	}
	if c.service == "s3" && (op == "GetObject" || op == "HeadObject") && doc["Metadata"] == nil {
		doc["Metadata"] = map[string]any{} // the SDK has no absent maps here
	}
	v, err := st.fromDocument(output(o), doc)
	if err != nil {
		return v, err
	}
	if c.sdk == nil {
		v = c.withMetadata(v, doc)
	}
	return v, nil
}

// putDefaults adds what the SDK sends with a text as the body of an object.
func putDefaults(in map[string]any, body jsonvalue.Value) {
	if body.Kind() == jsonvalue.KindAbsent || body.Kind() == jsonvalue.KindNull {
		return
	}
	if in["ContentType"] == nil {
		in["ContentType"] = "text/plain; charset=UTF-8"
	}
	for name := range in {
		if strings.HasPrefix(name, "Checksum") {
			return
		}
	}
	in["ChecksumCRC32"] = base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body.Raw())))
}

// answer is the result of the call that starts a task: done, or submitted where the pattern waits for more.
func (c *call) answer(v jsonvalue.Value, h *handle) integration.Result {
	r := integration.Result{Output: v}
	if c.task.Resource.Pattern.Submits() {
		r.Running = true
		if h != nil && c.task.Resource.Pattern != execution.Callback {
			r.Handle = h.bytes()
		}
	}
	return r
}

// request is the id of the task's request, in the form of a UUID: the same at each repetition.
func (c *call) request() string { return uuidOf(c.task.RequestKey) }

func uuidOf(key string) string {
	b := sha256.Sum256([]byte(key))
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// withMetadata adds what the old SDK tells of the HTTP answer, as the optimized integrations pass it on.
func (c *call) withMetadata(v jsonvalue.Value, doc map[string]any) jsonvalue.Value {
	contentType, length := "application/x-amz-json-1.0", len(wireJSON(doc))
	switch c.service {
	case "elasticmapreduce", "events":
		contentType = "application/x-amz-json-1.1"
	case "sns":
		contentType, length = "text/xml", 258+len(fmt.Sprint(doc["MessageId"]))
	}
	h := []header{{"x-amzn-RequestId", c.request()}, {"connection", "keep-alive"}, {"Content-Length", strconv.Itoa(length)},
		{"Date", c.t.cfg.Clock.Now().UTC().Format(http.TimeFormat)}, {"Content-Type", contentType}}
	return merge(v, c.metadata(h, 200))
}

type header struct{ name, value string }

func (c *call) metadata(headers []header, status int64) []jsonvalue.Member {
	var all, flat []jsonvalue.Member
	for _, h := range headers {
		all = append(all, jsonvalue.M(h.name, jsonvalue.Array(jsonvalue.Str(h.value))))
		flat = append(flat, jsonvalue.M(h.name, jsonvalue.Str(h.value)))
	}
	slices.SortFunc(flat, func(a, b jsonvalue.Member) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return []jsonvalue.Member{
		jsonvalue.M("SdkHttpMetadata", jsonvalue.Object(jsonvalue.M("AllHttpHeaders", jsonvalue.Object(all...)),
			jsonvalue.M("HttpHeaders", jsonvalue.Object(flat...)), jsonvalue.M("HttpStatusCode", jsonvalue.Int(status)))),
		jsonvalue.M("SdkResponseMetadata", jsonvalue.Object(jsonvalue.M("RequestId", jsonvalue.Str(c.request())))),
	}
}

// merge adds members to an object; AWS sorts the whole by name.
func merge(v jsonvalue.Value, more []jsonvalue.Member) jsonvalue.Value {
	var members []jsonvalue.Member
	for name, m := range v.Members() {
		members = append(members, jsonvalue.M(name, m))
	}
	members = append(members, more...)
	slices.SortFunc(members, func(a, b jsonvalue.Member) int { return strings.Compare(a.Name, b.Name) })
	return jsonvalue.Object(members...)
}

// javaDouble writes a number as AWS's services do, which are in Java: 1.763855000123E9.
func javaDouble(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 1e-3 || a >= 1e7) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
		n, _ := strconv.Atoi(exponent)
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		return mantissa + "E" + strconv.Itoa(n)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// wireJSON is a document about as it goes over the wire in a JSON protocol.
func wireJSON(doc map[string]any) []byte {
	var plain func(x any) any
	plain = func(x any) any {
		switch x := x.(type) {
		case time.Time:
			return json.RawMessage(javaDouble(float64(x.UnixMilli()) / 1000))
		case map[string]any:
			out := maps.Clone(x)
			for k, v := range out {
				out[k] = plain(v)
			}
			return out
		case []any:
			out := slices.Clone(x)
			for i, v := range out {
				out[i] = plain(v)
			}
			return out
		}
		return x
	}
	b, err := json.Marshal(plain(doc))
	if err != nil {
		return nil
	}
	return b
}
