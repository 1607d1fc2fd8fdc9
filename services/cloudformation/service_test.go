package cloudformation_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/cfnapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
)

//go:embed testdata/cluster.yaml
var clusterTemplate string

func param(k, v string) api.Parameter { return api.Parameter{ParameterKey: &k, ParameterValue: &v} }

func clusterStack(name string) *api.CreateStackInput {
	return &api.CreateStackInput{StackName: name, TemplateBody: &clusterTemplate, Capabilities: []string{"CAPABILITY_IAM"}, Parameters: []api.Parameter{param("KeyName", "known")}}
}

func (w *world) statuses(stack string) []string {
	w.t.Helper()
	out := must[api.DescribeStackEventsOutput](w, "DescribeStackEvents", &api.DescribeStackEventsInput{StackName: stack})
	var lines []string
	last := time.Time{}
	slices.Reverse(out.StackEvents)
	for _, e := range out.StackEvents {
		if !e.Timestamp.After(last) {
			w.t.Errorf("%s is not later than the event before", e.EventId)
		}
		last = e.Timestamp
		lines = append(lines, *e.LogicalResourceId+" "+*e.ResourceStatus)
	}
	return lines
}

func TestClusterStack(t *testing.T) {
	w := newWorld(t)
	w.ctx = identity.With(w.ctx, identity.Principal{Kind: identity.Invocation, Account: person.Account, Region: person.Region, ARN: "arn:function", Entity: "request-1", Execution: "arn:execution"})
	in := clusterStack("one")
	in.NotificationARNs = []string{"arn:aws:sns:us-east-1:000000000000:topic"}
	in.Tags = []api.Tag{{Key: "team", Value: "x"}}
	id := *must[api.CreateStackOutput](w, "CreateStack", in).StackId
	w.clusterIs(id, "j-1", "STARTING")
	w.set("j-1", "WAITING")
	s := w.until(id, "CREATE_COMPLETE")
	outputs := map[string]string{}
	for _, o := range s.Outputs {
		outputs[*o.OutputKey] = *o.OutputValue
	}
	if diff := cmp.Diff(map[string]string{"EMRClusterID": "j-1", "Master": "master"}, outputs); diff != "" {
		t.Error(diff)
	}
	if w.by.Kind != identity.StackOperation || w.by.Execution != "arn:execution" || w.by.Entity != id {
		t.Errorf("the cluster was made by %+v", w.by)
	}
	got, err := json.MarshalIndent(w.flow, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(got), id, "STACK-ID")
	for _, r := range must[api.ListStackResourcesOutput](w, "ListStackResources", &api.ListStackResourcesInput{StackName: "one"}).StackResourceSummaries {
		text = strings.ReplaceAll(text, *r.PhysicalResourceId, r.LogicalResourceId)
	}
	golden(t, "testdata/run_job_flow.json", text+"\n")

	owned, err := w.svc.Owned(w.ctx)
	if err != nil || len(owned) != 1 || owned[0].By.Execution != "arn:execution" || !slices.Equal(owned[0].Clusters, []string{"j-1"}) {
		t.Errorf("owned %+v, %v", owned, err)
	}
	if got := must[api.ListExportsOutput](w, "ListExports", &api.ListExportsInput{}).Exports; len(got) != 1 || *got[0].Name != "one-cluster" || *got[0].Value != "j-1" {
		t.Errorf("exports %+v", got)
	}
	if _, err := call[api.CreateStackOutput](w, "CreateStack", clusterStack("one")); awscall.Code(err) != "AlreadyExistsException" {
		t.Errorf("a second stack of the name: %v", err)
	}

	must[api.DeleteStackOutput](w, "DeleteStack", &api.DeleteStackInput{StackName: "one"})
	w.clusterIs(id, "j-1", "TERMINATING")
	w.set("j-1", "TERMINATED")
	w.until(id, "DELETE_COMPLETE")
	if len(w.roles)+len(w.profiles) != 0 {
		t.Errorf("left: %v %v", w.roles, w.profiles)
	}
	_, err = call[api.DescribeStacksOutput](w, "DescribeStacks", &api.DescribeStacksInput{StackName: awsapi.Ptr("one")})
	if err == nil || err.Error() != "ValidationError: Stack with id one does not exist" {
		t.Errorf("by name after the deletion: %v", err)
	}
	want := []string{
		"one CREATE_IN_PROGRESS", "Role CREATE_IN_PROGRESS", "Role CREATE_IN_PROGRESS", "Role CREATE_COMPLETE", "Profile CREATE_IN_PROGRESS", "Profile CREATE_IN_PROGRESS",
		"Profile CREATE_COMPLETE", "Cluster CREATE_IN_PROGRESS", "Cluster CREATE_IN_PROGRESS", "Cluster CREATE_COMPLETE", "one CREATE_COMPLETE",
		"one DELETE_IN_PROGRESS", "Cluster DELETE_IN_PROGRESS", "Cluster DELETE_COMPLETE", "Profile DELETE_IN_PROGRESS", "Profile DELETE_COMPLETE",
		"Role DELETE_IN_PROGRESS", "Role DELETE_COMPLETE", "one DELETE_COMPLETE"}
	if diff := cmp.Diff(want, w.statuses(id)); diff != "" {
		t.Error(diff)
	}
	w.seenUntil("published", func() bool { return len(w.published) >= len(want) }, "%d events are published, want %d", len(w.published), len(want))
	w.loop.Stop()
	var told []string
	for _, m := range w.published {
		fields := map[string]string{}
		for _, line := range strings.Split(strings.TrimSpace(m), "\n") {
			k, v, _ := strings.Cut(line, "=")
			fields[k] = strings.Trim(v, "'")
		}
		told = append(told, fields["LogicalResourceId"]+" "+fields["ResourceStatus"])
		if fields["StackId"] != id || fields["StackName"] != "one" || fields["EventId"] == "" {
			t.Errorf("message %q", m)
		}
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("published: %s", diff)
	}
}

// clusterIs waits for a stack's cluster to be in a state.
func (w *world) clusterIs(stack, id, state string) {
	w.t.Helper()
	w.seenUntil("clusters", func() bool { return w.clusters[id] == state }, "cluster %s of %s is not %s", id, stack, state)
}

// seenUntil waits until the fakes, which are locked for it, have seen something; they tell of a change by its name.
func (w *world) seenUntil(name string, done func() bool, format string, args ...any) {
	w.t.Helper()
	changed := make(chan struct{}, 1)
	defer w.seen.Watch(name, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	for {
		w.mu.Lock()
		is := done()
		w.mu.Unlock()
		if is {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			w.t.Fatalf(format, args...)
		}
	}
}

var updateGolden = flag.Bool("update", false, "rewrite the expected files")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *updateGolden {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: %s", file, diff)
	}
}

// A cluster that does not come up fails its stack with its own reason, and is gone with it.
func TestClusterFails(t *testing.T) {
	w := newWorld(t)
	w.reason = "On the master instance, bootstrap action 1 returned a non-zero return code"
	id := *must[api.CreateStackOutput](w, "CreateStack", clusterStack("bad")).StackId
	w.clusterIs(id, "j-1", "STARTING")
	w.set("j-1", "TERMINATED_WITH_ERRORS")
	w.until(id, "ROLLBACK_COMPLETE")
	r := must[api.DescribeStackEventsOutput](w, "DescribeStackEvents", &api.DescribeStackEventsInput{StackName: "bad"})
	found := false
	for _, e := range r.StackEvents {
		found = found || *e.ResourceStatus == "CREATE_FAILED" && strings.Contains(awsapi.Val(e.ResourceStatusReason), "Cluster j-1 is TERMINATED_WITH_ERRORS: BOOTSTRAP_FAILURE: "+w.reason)
	}
	if !found {
		t.Error("no event tells the cluster's reason")
	}
	if len(w.roles) != 0 {
		t.Errorf("left: %v", w.roles)
	}
}

// The server ends while a cluster starts and while it is deleted; nothing is made or ended twice.
func TestRestarts(t *testing.T) {
	w := newWorld(t)
	w.flaky = 2 // the answer of RunJobFlow is lost, too: its receipt has it
	id := *must[api.CreateStackOutput](w, "CreateStack", clusterStack("kept")).StackId
	w.clusterIs(id, "j-1", "STARTING")
	w.restart()
	w.set("j-1", "WAITING")
	w.until(id, "CREATE_COMPLETE")
	must[api.DeleteStackOutput](w, "DeleteStack", &api.DeleteStackInput{StackName: "kept"})
	w.clusterIs(id, "j-1", "TERMINATING")
	w.restart()
	w.set("j-1", "TERMINATED")
	w.until(id, "DELETE_COMPLETE")
	runs, ends := 0, 0
	for _, c := range w.calls {
		if strings.HasPrefix(c, "RunJobFlow") {
			runs++
		}
		if strings.HasPrefix(c, "TerminateJobFlows") {
			ends++
		}
	}
	if runs != 1 || ends != 1 || len(w.clusters) != 1 {
		t.Errorf("%d clusters were made and %d ended: %v", runs, ends, w.calls)
	}
}

func TestProtectedCluster(t *testing.T) {
	w := newWorld(t)
	id := *must[api.CreateStackOutput](w, "CreateStack", clusterStack("prot")).StackId
	w.clusterIs(id, "j-1", "STARTING")
	w.set("j-1", "WAITING")
	w.until(id, "CREATE_COMPLETE")
	// Protecting the cluster changes it and does not replace it.
	body := strings.ReplaceAll(clusterTemplate, "TerminationProtected: 'False'", "TerminationProtected: true")
	must[api.UpdateStackOutput](w, "UpdateStack", &api.UpdateStackInput{StackName: "prot", TemplateBody: &body, Capabilities: []string{"CAPABILITY_IAM"}, Parameters: []api.Parameter{param("KeyName", "known")}})
	w.until(id, "UPDATE_COMPLETE")
	if !w.protected || len(w.clusters) != 1 {
		t.Errorf("protected %v, clusters %v", w.protected, w.clusters)
	}
	must[api.DeleteStackOutput](w, "DeleteStack", &api.DeleteStackInput{StackName: "prot"})
	s := w.until(id, "DELETE_FAILED")
	if *s.StackStatusReason != "The following resource(s) failed to delete: [Cluster]. " {
		t.Errorf("reason %q", *s.StackStatusReason)
	}
	must[api.DeleteStackOutput](w, "DeleteStack", &api.DeleteStackInput{StackName: "prot", RetainResources: []string{"Cluster"}})
	w.until(id, "DELETE_COMPLETE")
}

// What is refused leaves nothing behind. A case is an input in JSON and the error.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.objects["bucket/big.yaml"] = strings.Repeat("#", 1<<20+1)
	w.objects["bucket/bad.yaml"] = "just text"
	b, err := os.ReadFile("testdata/refused.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split(strings.TrimSpace(string(b)), "\n----\n")
	if len(cases) < 15 {
		t.Fatalf("%d cases", len(cases))
	}
	for i, c := range cases {
		input, want, _ := strings.Cut(c, "\n=> ")
		op, doc, _ := strings.Cut(input, " ")
		in := map[string]any{}
		if err := json.Unmarshal([]byte(doc), &in); err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		_, err := w.to.Invoke(w.ctx, awscall.Call{Principal: person, Service: "cloudformation", Operation: op, Input: in})
		got := "nothing"
		if err != nil {
			got = strings.ReplaceAll(err.Error(), "\n", "\\n")
		}
		if *updateGolden {
			cases[i] = input + "\n=> " + got
		} else if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", input, got, want)
		}
	}
	if *updateGolden {
		if err := os.WriteFile("testdata/refused.txt", []byte(strings.Join(cases, "\n----\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := must[api.ListStacksOutput](w, "ListStacks", &api.ListStacksInput{}).StackSummaries; len(got) != 0 {
		t.Errorf("left: %+v", got)
	}
	if len(w.calls) != 0 {
		t.Errorf("called: %v", w.calls)
	}
}

// Each form of a TemplateURL means an object of our own S3.
func TestTemplateURL(t *testing.T) {
	w := newWorld(t)
	w.objects["bucket/dir/t.yaml"] = clusterTemplate
	for _, u := range []string{
		"https://s3.amazonaws.com/bucket/dir/t.yaml", "https://s3-eu-west-1.amazonaws.com/bucket/dir/t.yaml", "https://s3.eu-west-1.amazonaws.com/bucket/dir/t.yaml",
		"https://bucket.s3.amazonaws.com/dir/t.yaml", "https://bucket.s3.us-east-1.amazonaws.com/dir/t.yaml", "https://bucket.s3-us-west-2.amazonaws.com/dir/t.yaml",
		"s3://bucket/dir/t.yaml", w.http.URL + "/bucket/dir/t.yaml", strings.Replace(w.http.URL, "127.0.0.1", "localhost", 1) + "/bucket/dir/t.yaml",
		strings.Replace(w.http.URL, "127.0.0.1", "bucket.s3.localhost", 1) + "/dir/t.yaml",
	} {
		out, err := call[api.GetTemplateSummaryOutput](w, "GetTemplateSummary", &api.GetTemplateSummaryInput{TemplateURL: &u})
		if err != nil || len(out.Parameters) != 2 || !slices.Equal(out.Capabilities, []string{"CAPABILITY_IAM"}) {
			t.Errorf("%s: %v %+v", u, err, out)
		}
	}
}

func TestChangeSets(t *testing.T) {
	w := newWorld(t)
	role := func(description string) *string {
		s := `{"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":{},"Description":"` + description + `"}}}}`
		return &s
	}
	create := &api.CreateChangeSetInput{StackName: "cs", ChangeSetName: "first", ChangeSetType: awsapi.Ptr("CREATE"), TemplateBody: role("a"), Capabilities: []string{"CAPABILITY_IAM"}}
	made := must[api.CreateChangeSetOutput](w, "CreateChangeSet", create)
	for _, in := range []*api.DescribeChangeSetInput{{ChangeSetName: "first", StackName: awsapi.Ptr("cs")}, {ChangeSetName: *made.Id}, {ChangeSetName: *made.Id, StackName: awsapi.Ptr("cs")}} {
		d := must[api.DescribeChangeSetOutput](w, "DescribeChangeSet", in)
		if *d.Status != "CREATE_COMPLETE" || *d.ExecutionStatus != "AVAILABLE" || len(d.Changes) != 1 || *d.Changes[0].ResourceChange.Action != "Add" {
			t.Errorf("%+v: %+v", in, d)
		}
	}
	if got := w.until("cs", "REVIEW_IN_PROGRESS"); got.StackStatus == "" {
		t.Error("no stack in review")
	}
	must[api.ExecuteChangeSetOutput](w, "ExecuteChangeSet", &api.ExecuteChangeSetInput{ChangeSetName: "first", StackName: awsapi.Ptr("cs")})
	w.until("cs", "CREATE_COMPLETE")
	same := &api.CreateChangeSetInput{StackName: "cs", ChangeSetName: "same", TemplateBody: role("a"), Capabilities: []string{"CAPABILITY_IAM"}}
	must[api.CreateChangeSetOutput](w, "CreateChangeSet", same)
	d := must[api.DescribeChangeSetOutput](w, "DescribeChangeSet", &api.DescribeChangeSetInput{ChangeSetName: "same", StackName: awsapi.Ptr("cs")})
	if *d.Status != "FAILED" || !strings.Contains(*d.StatusReason, "The submitted information didn't contain changes.") {
		t.Errorf("an empty change set: %s %s", *d.Status, awsapi.Val(d.StatusReason))
	}
	if _, err := call[api.UpdateStackOutput](w, "UpdateStack", &api.UpdateStackInput{StackName: "cs", TemplateBody: role("a"), Capabilities: []string{"CAPABILITY_IAM"}}); err == nil ||
		err.Error() != "ValidationError: No updates are to be performed." {
		t.Errorf("an empty update: %v", err)
	}
	must[api.DeleteChangeSetOutput](w, "DeleteChangeSet", &api.DeleteChangeSetInput{ChangeSetName: "same", StackName: awsapi.Ptr("cs")})
	if got := must[api.ListChangeSetsOutput](w, "ListChangeSets", &api.ListChangeSetsInput{StackName: "cs"}).Summaries; len(got) != 1 || *got[0].ExecutionStatus != "EXECUTE_COMPLETE" {
		t.Errorf("change sets %+v", got)
	}
}

func TestIdempotency(t *testing.T) {
	w := newWorld(t)
	in := clusterStack("tok")
	in.ClientRequestToken = awsapi.Ptr("t-1")
	a := must[api.CreateStackOutput](w, "CreateStack", in)
	b := must[api.CreateStackOutput](w, "CreateStack", in)
	if *a.StackId != *b.StackId {
		t.Errorf("%s and %s", *a.StackId, *b.StackId)
	}
	other := clusterStack("tok")
	other.ClientRequestToken = in.ClientRequestToken
	other.Parameters = append(other.Parameters, param("ClusterSize", "3"))
	if _, err := call[api.CreateStackOutput](w, "CreateStack", other); awscall.Code(err) != "TokenAlreadyExistsException" {
		t.Errorf("another stack with the token: %v", err)
	}
	var ids []string
	for range 2 { // the same request of an execution, repeated
		out, err := awscall.Typed[api.CreateStackOutput](w.ctx, w.to, awscall.Call{Principal: person, RequestKey: "execution/x/3/0", Service: "cloudformation", Operation: "CreateStack"}, clusterStack("key"))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, *out.StackId)
	}
	if ids[0] != ids[1] {
		t.Errorf("a repeated request made %v", ids)
	}
}
