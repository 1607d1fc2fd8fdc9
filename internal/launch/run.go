package launch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/pipelines/emr"
	"github.com/mayfly-run/mayfly/pipelines/emr/judge"
	"github.com/mayfly-run/mayfly/pipelines/emr/traffic"
)

// New fills in what Options leave out.
func New(o Options) *Run {
	o.Stack = cmp.Or(o.Stack, "mayfly-pipeline")
	o.Email = cmp.Or(o.Email, "you@example.com")
	o.Poll = cmp.Or(o.Poll, 200*time.Millisecond)
	o.Nodes = cmp.Or(o.Nodes, 2)
	if len(o.Modes) == 0 {
		o.Modes = emr.DefaultModes
	}
	return &Run{Options: o, started: o.Clock.Now(), over: map[string]innerRun{}}
}

// Do runs the whole story. An error means that the run could not be made or followed; how it ended is in the summary.
func (r *Run) Do(ctx context.Context) (*Summary, error) {
	data, err := r.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	arn, err := r.Start(ctx)
	if err != nil {
		return nil, err
	}
	d, err := r.follow(ctx, arn)
	if err != nil {
		return nil, interrupted(ctx, arn, err)
	}
	s, err := r.summarise(ctx, d, data)
	return s, interrupted(ctx, arn, err)
}

func interrupted(ctx context.Context, arn string, err error) error {
	if err != nil && ctx.Err() != nil {
		return &Interrupted{arn}
	}
	return err
}

// Interrupted says that a run is not followed any more. Its execution goes on.
type Interrupted struct{ Execution string }

func (e *Interrupted) Error() string {
	return "interrupted; the execution goes on, and ends with: aws stepfunctions stop-execution --execution-arn " + e.Execution
}

// Start starts the outer machine and returns the execution's ARN.
func (r *Run) Start(ctx context.Context) (string, error) {
	r.report("start", "the outer machine is started")
	input, err := r.Input(ctx)
	if err != nil {
		return "", err
	}
	name := "run-" + strings.ReplaceAll(r.Clock.Now().UTC().Format("20060102T150405.000"), ".", "-")
	started, err := r.call(ctx, "states", "StartExecution", map[string]any{
		"stateMachineArn": r.outputs["StateMachineArn"], "name": name, "input": string(input),
	})
	return text(started["executionArn"]), err
}

// Prepare puts everything in place: bucket, data, programs, key pair, the pipeline's stack, the subscription.
func (r *Run) Prepare(ctx context.Context) (*traffic.Data, error) {
	who, err := r.call(ctx, "sts", "GetCallerIdentity", map[string]any{})
	if err != nil {
		return nil, err
	}
	r.account = text(who["Account"])
	r.Bucket = cmp.Or(r.Bucket, "mayfly-pipeline-"+r.account)
	r.report("prepare", "traffic data are generated (seed %d)", r.Seed)
	data, err := traffic.Generate(traffic.Default(r.Seed))
	if err != nil {
		return nil, err
	}
	if _, err := r.call(ctx, "s3", "CreateBucket", map[string]any{"Bucket": r.Bucket}); err != nil && !is(err, "BucketAlreadyOwnedByYou") {
		return nil, err
	}
	objects, err := emr.Objects(r.settings())
	if err != nil {
		return nil, err
	}
	for file, body := range data.Files() {
		objects[emr.InputPrefix+file] = body
	}
	for name, program := range r.Programs {
		objects["testcode/"+name+".py"] = program
	}
	functionsKey := emr.FunctionsKey(r.Functions)
	objects[functionsKey], objects["template.yaml"] = r.Functions, emr.Template()
	for key, body := range objects {
		r.report("prepare", "s3://%s/%s is written", r.Bucket, key)
		if err := r.put(ctx, key, body); err != nil {
			return nil, err
		}
	}
	if _, err := r.call(ctx, "ec2", "CreateKeyPair", map[string]any{"KeyName": emr.KeyPair}); err != nil && !is(err, "InvalidKeyPair.Duplicate") {
		return nil, err
	}
	r.report("deploy", "stack %s is deployed", r.Stack)
	r.outputs, err = r.deploy(ctx, r.Stack, r.Endpoint+"/"+r.Bucket+"/template.yaml", emr.Parameters(r.settings(), functionsKey, runtime.GOARCH, r.Email))
	if err != nil {
		return nil, err
	}
	return data, r.confirm(ctx)
}

func (r *Run) settings() emr.Settings {
	return emr.Settings{Bucket: r.Bucket, ModelName: modelName, Modes: r.Modes, Nodes: r.Nodes, Fail: r.Fail}
}

const modelName = "MayflyRun"

// StateMachine is the outer machine's ARN, once Prepare has made it.
func (r *Run) StateMachine() string { return r.outputs["StateMachineArn"] }

// Input is the outer machine's: the article's, with the account's own network.
func (r *Run) Input(ctx context.Context) ([]byte, error) {
	s := r.settings()
	groups, err := r.call(ctx, "ec2", "DescribeSecurityGroups", map[string]any{"GroupNames": []any{"default"}})
	if err != nil {
		return nil, err
	}
	subnets, err := r.call(ctx, "ec2", "DescribeSubnets", map[string]any{})
	if err != nil {
		return nil, err
	}
	if g := list(groups["SecurityGroups"]); len(g) > 0 {
		s.SecurityGroup = text(at(g[0], "GroupId"))
	}
	if n := list(subnets["Subnets"]); len(n) > 0 {
		s.SubNet = text(at(n[0], "SubnetId"))
	}
	return emr.Input(s), nil
}

// letter is a kept mail.
type letter struct {
	file, subject, to, body string
	at                      time.Time
}

// letters are the mails about the pipeline's topic that were kept since a time, the oldest first.
func (r *Run) letters(since time.Time) ([]letter, error) {
	files, err := filepath.Glob(filepath.Join(r.MailDir, "*.eml"))
	if err != nil {
		return nil, err
	}
	var out []letter
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read kept mail: %w", err)
		}
		m, err := mail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("read kept mail %s: %w", f, err)
		}
		if m.Header.Get("X-Mayfly-Topic") != r.outputs["NotificationTopicArn"] {
			continue
		}
		sent, err := m.Header.Date()
		if err != nil || sent.Before(since.Truncate(time.Second)) {
			continue
		}
		body, err := io.ReadAll(decoded(m.Body))
		if err != nil {
			return nil, fmt.Errorf("read kept mail %s: %w", f, err)
		}
		out = append(out, letter{file: f, subject: m.Header.Get("Subject"), to: m.Header.Get("To"), body: string(body), at: sent})
	}
	slices.SortFunc(out, func(a, b letter) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.file, b.file)) })
	return out, nil
}

var confirmation = regexp.MustCompile(`https?://\S*ConfirmSubscription\S*`)

const confirmationSubject = "AWS Notification - Subscription Confirmation"

// confirm follows the link of the confirmation mail, as the reader of the mailbox would, when the subscription is pending.
func (r *Run) confirm(ctx context.Context) error {
	for try := 0; ; try++ {
		out, err := r.call(ctx, "sns", "ListSubscriptionsByTopic", map[string]any{"TopicArn": r.outputs["NotificationTopicArn"]})
		if err != nil {
			return err
		}
		pending := slices.ContainsFunc(list(out["Subscriptions"]), func(s any) bool {
			return text(at(s, "Endpoint")) == r.Email && text(at(s, "SubscriptionArn")) == "PendingConfirmation"
		})
		switch {
		case !pending:
			return nil
		case r.MailDir == "":
			r.report("deploy", "mail goes to %s once the link in its confirmation mail is followed", r.Email)
			return nil
		case try == 50:
			return fmt.Errorf("no confirmation mail came to %s", r.MailDir)
		}
		letters, err := r.letters(time.Time{})
		if err != nil {
			return err
		}
		for _, l := range slices.Backward(letters) {
			if link := confirmation.FindString(l.body); link != "" && l.subject == confirmationSubject && l.to == r.Email {
				r.report("deploy", "the link of the confirmation mail is followed (%s)", filepath.Base(l.file))
				if _, err := r.get(ctx, link, 1<<20); err != nil {
					return err
				}
				break
			}
		}
		if err := r.pause(ctx, r.Poll); err != nil {
			return err
		}
	}
}

// settling is how often the ledger is read before what is left counts as left: custody may be at work.
const settling = 50

// summarise looks at what the run came to.
func (r *Run) summarise(ctx context.Context, d map[string]any, data *traffic.Data) (*Summary, error) {
	arn := text(d["executionArn"])
	from, to := instant(d["startDate"]), instant(d["stopDate"])
	s := &Summary{Status: text(d["status"]), Execution: arn, Elapsed: to.Sub(from), Error: text(d["error"]), Cause: text(d["cause"]), Mails: []string{}}
	r.report("summary", "results are gathered")
	var booked []item
	for try := 0; ; try++ {
		var err error
		if booked, err = r.booked(ctx, arn); err != nil {
			return nil, err
		}
		if s.Made, s.Left = count(booked); s.Left == (Count{}) || try == settling {
			break
		}
		if err := r.pause(ctx, r.Poll); err != nil {
			return nil, err
		}
	}
	if err := r.clusters(ctx, booked); err != nil {
		return nil, err
	}
	s.Clusters = r.view.Clusters
	var ends []span
	for _, b := range booked {
		if b.kind != "stack" {
			continue
		}
		s.Stacks = append(s.Stacks, b.id)
		more, reason, err := r.ending(ctx, b.id)
		if err != nil {
			return nil, err
		}
		ends = append(ends, more...)
		s.RootCause = cmp.Or(s.RootCause, reason)
	}
	for _, c := range s.Clusters {
		for _, st := range c.Steps {
			if st.Reason != "" {
				s.RootCause, s.Log = st.Reason, st.Log
			}
		}
	}
	if s.Status == "SUCCEEDED" {
		s.RootCause = ""
	}
	s.Time = spent(from, to, s.Clusters, ends)
	if err := r.results(ctx, s, arn[strings.LastIndexByte(arn, ':')+1:], data); err != nil {
		return nil, err
	}
	return s, r.mails(ctx, s, from)
}

// count says how many clusters and stacks there were, and how many are left.
func count(booked []item) (made, left Count) {
	for _, b := range booked {
		n := Count{Clusters: 1}
		if b.kind == "stack" {
			n = Count{Stacks: 1}
		}
		made.Clusters, made.Stacks = made.Clusters+n.Clusters, made.Stacks+n.Stacks
		if !b.gone {
			left.Clusters, left.Stacks = left.Clusters+n.Clusters, left.Stacks+n.Stacks
		}
	}
	return made, left
}

// ending reads from a stack's events when its cluster was being ended, and the first failure.
func (r *Run) ending(ctx context.Context, id string) (ends []span, reason string, err error) {
	out, err := r.call(ctx, "cloudformation", "DescribeStackEvents", map[string]any{"StackName": id})
	if err != nil {
		return nil, "", err
	}
	var begun time.Time
	for _, e := range slices.Backward(list(out["StackEvents"])) {
		status, when := text(at(e, "ResourceStatus")), instant(at(e, "Timestamp"))
		if reason == "" && strings.HasSuffix(status, "_FAILED") {
			reason = text(at(e, "LogicalResourceId")) + ": " + text(at(e, "ResourceStatusReason"))
		}
		if text(at(e, "ResourceType")) != "AWS::EMR::Cluster" {
			continue
		}
		switch {
		case status == "DELETE_IN_PROGRESS" && begun.IsZero():
			begun = when
		case strings.HasPrefix(status, "DELETE_") && status != "DELETE_IN_PROGRESS" && !begun.IsZero():
			ends = append(ends, span{begun, when})
			begun = time.Time{}
		}
	}
	return ends, reason, nil
}

// results reads the manifest, and of each mode the anomalies, and compares them with the labels.
func (r *Run) results(ctx context.Context, s *Summary, execution string, data *traffic.Data) error {
	key := "output/" + execution + "/manifest.json"
	body, err := r.object(ctx, key)
	if is(err, "NoSuchKey") {
		return nil // it failed before
	}
	if err != nil {
		return err
	}
	s.Manifest = "s3://" + r.Bucket + "/" + key
	var manifest struct {
		Modes []struct {
			Mode, Status, Model, Error string
		}
	}
	if err := json.Unmarshal(body, &manifest); err != nil {
		return fmt.Errorf("%s: %w", s.Manifest, err)
	}
	for _, m := range manifest.Modes {
		mode := Mode{Mode: m.Mode, Status: m.Status, Output: m.Model, Error: m.Error}
		if m.Status == "SUCCEEDED" {
			if err := r.anomalies(ctx, &mode, data); err != nil {
				return err
			}
		}
		s.Modes = append(s.Modes, mode)
	}
	return nil
}

const previewed = 5 // of a mode's anomalies are shown: the first of each faulty sensor

// anomalies reads what a mode's model has found and judges it by the labels of the days that the mode is about.
func (r *Run) anomalies(ctx context.Context, m *Mode, data *traffic.Data) error {
	folder, ok := strings.CutPrefix(strings.TrimSuffix(m.Output, "/")+"/", "s3://"+r.Bucket+"/")
	if !ok {
		return fmt.Errorf("the output %s of mode %s lies outside of the bucket %s", m.Output, m.Mode, r.Bucket)
	}
	body, err := r.object(ctx, folder+"manifest.json")
	if err != nil {
		return err
	}
	var manifest struct {
		Days []int `json:"days"`
	}
	if err := json.Unmarshal(body, &manifest); err != nil {
		return fmt.Errorf("%smanifest.json: %w", folder, err)
	}
	out, err := r.call(ctx, "s3", "ListObjectsV2", map[string]any{"Bucket": r.Bucket, "Prefix": folder + "anomalies/part-"})
	if err != nil {
		return err
	}
	var found bytes.Buffer
	for _, o := range list(out["Contents"]) {
		part, err := r.object(ctx, text(at(o, "Key")))
		if err != nil {
			return err
		}
		found.Write(part)
	}
	shown := map[string]bool{}
	for line := range bytes.Lines(found.Bytes()) {
		m.Anomalies++
		text := strings.TrimSpace(string(line))
		fields := strings.Split(text, ",")
		if sensor := fields[min(2, len(fields)-1)]; len(m.Preview) < previewed && !shown[sensor] {
			shown[sensor] = true
			m.Preview = append(m.Preview, text)
		}
	}
	verdict, err := judge.Judge(data.Truth(), &found, manifest.Days)
	if err != nil {
		return err
	}
	m.Quality = &verdict
	return nil
}

// object reads one object of the pipeline's bucket.
func (r *Run) object(ctx context.Context, key string) ([]byte, error) {
	out, err := r.call(ctx, "s3", "GetObject", map[string]any{"Bucket": r.Bucket, "Key": key})
	if err != nil {
		return nil, err
	}
	body, ok := out["Body"].(io.ReadCloser)
	if !ok {
		return nil, fmt.Errorf("s3 GetObject of %s has no body", key)
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, 256<<20))
}

// mails waits a moment for the run's mail, which leaves beside the execution, and names the files.
func (r *Run) mails(ctx context.Context, s *Summary, since time.Time) error {
	for range 25 {
		if r.MailDir == "" {
			return nil
		}
		letters, err := r.letters(since)
		if err != nil {
			return err
		}
		s.Mails = s.Mails[:0]
		for _, l := range letters {
			// Several executions may end in one second; the card names its own.
			if strings.Contains(l.body, s.Execution) {
				s.Mails = append(s.Mails, l.file)
			}
		}
		if len(s.Mails) > 0 {
			return nil
		}
		if err := r.pause(ctx, r.Poll); err != nil {
			return err
		}
	}
	return nil
}
