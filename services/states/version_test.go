package states_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/store/memory"
)

// result is a definition whose executions give the number.
func result(n int) string {
	return fmt.Sprintf(`{"StartAt":"A","States":{"A":{"Type":"Pass","Result":%d,"End":true}}}`, n)
}

func (s *server) update(t *testing.T, arn, definition string) *api.UpdateStateMachineOutput {
	t.Helper()
	return must(s.UpdateStateMachine(t.Context(), &api.UpdateStateMachineInput{StateMachineArn: arn, Definition: &definition, Publish: awsapi.Ptr(true)}))(t)
}

// run starts an execution, waits for its end, and tells of it.
func (s *server) run(t *testing.T, machine string) *api.DescribeExecutionOutput {
	t.Helper()
	x := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: machine}))(t)
	synctest.Wait()
	return must(s.DescribeExecution(t.Context(), &api.DescribeExecutionInput{ExecutionArn: x.ExecutionArn}))(t)
}

func fails(t *testing.T, err error, code, text string) {
	t.Helper()
	if err == nil || awscall.Code(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, expected %s: %s", err, code, text)
	}
}

func TestVersions(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		arn := s.create(t, "m", result(0), "STANDARD")
		publish := func(revision *string) (*api.PublishStateMachineVersionOutput, error) {
			return s.PublishStateMachineVersion(t.Context(), &api.PublishStateMachineVersionInput{StateMachineArn: arn, RevisionId: revision})
		}
		initial := awsapi.Ptr("INITIAL")
		first := must(publish(initial))(t)
		if again := must(publish(nil))(t); *again != *first || first.StateMachineVersionArn != arn+":1" {
			t.Errorf("one revision has the versions %v and %v", first, again)
		}
		second := s.update(t, arn, result(1))
		if *second.StateMachineVersionArn != arn+":2" {
			t.Error(*second.StateMachineVersionArn)
		}
		_, err := publish(initial)
		fails(t, err, "ConflictException", "The current State Machine revision is "+*second.RevisionId)
		if same := s.update(t, arn, result(1)); *same.RevisionId != *second.RevisionId || *same.StateMachineVersionArn != arn+":2" {
			t.Errorf("an update that changes nothing: %v", same)
		}

		for version, want := range map[string]string{arn: "1", arn + ":1": "0", arn + ":2": "1"} {
			d := s.run(t, version)
			if *d.Output != want || d.StateMachineArn != arn || (d.StateMachineVersionArn == nil) != (version == arn) || d.StateMachineVersionArn != nil && *d.StateMachineVersionArn != version {
				t.Errorf("%s gives %s: %+v", version, *d.Output, d)
			}
			if list := must(s.ListExecutions(t.Context(), &api.ListExecutionsInput{StateMachineArn: &version}))(t).Executions; version != arn && len(list) != 1 {
				t.Errorf("%s has %d executions", version, len(list))
			}
			m := must(s.DescribeStateMachineForExecution(t.Context(), &api.DescribeStateMachineForExecutionInput{ExecutionArn: d.ExecutionArn}))(t)
			if m.StateMachineArn != arn || !strings.Contains(m.Definition, `"Result":`+want) || (m.RevisionId != nil) != (want == "1") {
				t.Errorf("%s: %+v", version, m)
			}
		}
		if d := must(s.DescribeStateMachine(t.Context(), &api.DescribeStateMachineInput{StateMachineArn: arn + ":1"}))(t); d.StateMachineArn != arn+":1" || d.Definition != result(0) || d.Name != "m" {
			t.Errorf("%+v", d)
		}

		remove := func(version string) error {
			_, err := s.DeleteStateMachineVersion(t.Context(), &api.DeleteStateMachineVersionInput{StateMachineVersionArn: version})
			return err
		}
		for _, v := range []string{arn + ":2", arn + ":2", arn + ":77"} {
			if err := remove(v); err != nil {
				t.Error(err)
			}
		}
		fails(t, remove(arn), "InvalidArn", arn)
		if third := must(publish(nil))(t); third.StateMachineVersionArn != arn+":3" {
			t.Error("a number is used again: ", third)
		}
		_, err = s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: arn + ":2"})
		fails(t, err, "StateMachineDoesNotExist", arn+":2")
		list := must(s.ListStateMachineVersions(t.Context(), &api.ListStateMachineVersionsInput{StateMachineArn: arn, MaxResults: awsapi.Ptr[int64](1)}))(t)
		if len(list.StateMachineVersions) != 1 || list.StateMachineVersions[0].StateMachineVersionArn != arn+":3" || list.NextToken == nil {
			t.Fatalf("%+v", list)
		}
		list = must(s.ListStateMachineVersions(t.Context(), &api.ListStateMachineVersionsInput{StateMachineArn: arn, NextToken: list.NextToken}))(t)
		if len(list.StateMachineVersions) != 1 || list.StateMachineVersions[0].StateMachineVersionArn != arn+":1" || list.NextToken != nil {
			t.Errorf("%+v", list)
		}
	})
}

func TestCreateWithVersion(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		in := &api.CreateStateMachineInput{Name: "m", Definition: pass, RoleArn: role, Publish: awsapi.Ptr(true), VersionDescription: awsapi.Ptr("one")}
		first := must(s.CreateStateMachine(t.Context(), in))(t)
		if again := must(s.CreateStateMachine(t.Context(), in))(t); *again.StateMachineVersionArn != first.StateMachineArn+":1" || again.CreationDate != first.CreationDate {
			t.Errorf("%+v", again)
		}
		if d := must(s.DescribeStateMachine(t.Context(), &api.DescribeStateMachineInput{StateMachineArn: *first.StateMachineVersionArn}))(t); *d.Description != "one" {
			t.Errorf("%+v", d)
		}
		in.VersionDescription = awsapi.Ptr("two")
		_, err := s.CreateStateMachine(t.Context(), in)
		fails(t, err, "StateMachineAlreadyExists", first.StateMachineArn)
		in.Publish = nil
		_, err = s.CreateStateMachine(t.Context(), in)
		fails(t, err, "ValidationException", "Version description can only be set when publish is true")
	})
}

func TestAliases(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		arn := s.create(t, "m", result(0), "STANDARD")
		for n := 1; n <= 3; n++ {
			s.update(t, arn, result(n))
		}
		to := func(weights ...int64) (list []api.RoutingConfigurationListItem) {
			for i, w := range weights {
				if w > 0 {
					list = append(list, api.RoutingConfigurationListItem{StateMachineVersionArn: fmt.Sprint(arn, ":", i+1), Weight: w})
				}
			}
			return list
		}
		create := func(name string, routing []api.RoutingConfigurationListItem) error {
			_, err := s.CreateStateMachineAlias(t.Context(), &api.CreateStateMachineAliasInput{Name: name, RoutingConfiguration: routing})
			return err
		}
		for range 2 { // idempotent
			if err := create("PROD", to(100)); err != nil {
				t.Fatal(err)
			}
		}
		fails(t, create("PROD", to(0, 100)), "ConflictException", "an alias with the same name and a different routing configuration already exists")
		fails(t, create("x", to(50, 49)), "ValidationException", "must equal 100. Received: [50, 49]")
		fails(t, create("x", to(0, 0, 0, 100)), "ResourceNotFound", "Request references a resource that does not exist.")

		alias := arn + ":PROD"
		d := s.run(t, alias)
		if *d.Output != "1" || *d.StateMachineAliasArn != alias || *d.StateMachineVersionArn != arn+":1" {
			t.Errorf("%+v", d)
		}
		_, err := s.DeleteStateMachineVersion(t.Context(), &api.DeleteStateMachineVersionInput{StateMachineVersionArn: arn + ":1"})
		fails(t, err, "ConflictException", "Current list of aliases referencing this version: [PROD]")
		update := func(routing []api.RoutingConfigurationListItem, description *string) error {
			_, err := s.UpdateStateMachineAlias(t.Context(), &api.UpdateStateMachineAliasInput{StateMachineAliasArn: alias, RoutingConfiguration: routing, Description: description})
			return err
		}
		fails(t, update(nil, nil), "ValidationException", "must be specified")
		fails(t, update(to(0, 99), nil), "ValidationException", "must equal 100")
		if err := update(to(0, 50, 50), awsapi.Ptr("half")); err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for range 40 {
			seen[*s.run(t, alias).Output]++
		}
		if seen["2"] == 0 || seen["3"] == 0 || seen["2"]+seen["3"] != 40 {
			t.Errorf("half and half went %v", seen)
		}
		if list := must(s.ListExecutions(t.Context(), &api.ListExecutionsInput{StateMachineArn: &alias}))(t).Executions; len(list) != 41 {
			t.Errorf("the alias has %d executions", len(list))
		}
		if a := must(s.DescribeStateMachineAlias(t.Context(), &api.DescribeStateMachineAliasInput{StateMachineAliasArn: alias}))(t); *a.Description != "half" || len(a.RoutingConfiguration) != 2 {
			t.Errorf("%+v", a)
		}
		if err := create("A", to(0, 0, 100)); err != nil {
			t.Fatal(err)
		}
		for of, want := range map[string]string{arn: "A PROD", arn + ":1": "", arn + ":2": "PROD", arn + ":3": "A PROD"} {
			var got []string
			for _, a := range must(s.ListStateMachineAliases(t.Context(), &api.ListStateMachineAliasesInput{StateMachineArn: of}))(t).StateMachineAliases {
				got = append(got, strings.TrimPrefix(a.StateMachineAliasArn, arn+":"))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("aliases of %s: %v, expected %s", of, got, want)
			}
		}
		must(s.DeleteStateMachineAlias(t.Context(), &api.DeleteStateMachineAliasInput{StateMachineAliasArn: alias}))(t)
		_, err = s.DescribeStateMachineAlias(t.Context(), &api.DescribeStateMachineAliasInput{StateMachineAliasArn: alias})
		fails(t, err, "ResourceNotFound", "")
		_, err = s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: alias})
		fails(t, err, "StateMachineDoesNotExist", alias)

		must(s.DeleteStateMachine(t.Context(), &api.DeleteStateMachineInput{StateMachineArn: arn}))(t)
		_, err = s.DescribeStateMachineAlias(t.Context(), &api.DescribeStateMachineAliasInput{StateMachineAliasArn: arn + ":A"})
		fails(t, err, "ResourceNotFound", "")
		if list := must(s.ListStateMachineVersions(t.Context(), &api.ListStateMachineVersionsInput{StateMachineArn: arn}))(t).StateMachineVersions; len(list) != 0 {
			t.Errorf("versions outlive their state machine: %v", list)
		}
	})
}

// A deletion that the end of the server interrupts is DELETING until the next one goes on with it.
func TestDeleting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		defer st.Close()
		s := start(t, st)
		arn := s.create(t, "m", wait, "STANDARD")
		x := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: arn}))(t)
		s.stop() // nothing can be stopped any more
		if _, err := s.DeleteStateMachine(t.Context(), &api.DeleteStateMachineInput{StateMachineArn: arn}); err == nil {
			t.Fatal("deleted while an execution runs")
		}
		s = start(t, st)
		defer s.stop()
		if d := must(s.DescribeStateMachine(t.Context(), &api.DescribeStateMachineInput{StateMachineArn: arn}))(t); *d.Status != "DELETING" {
			t.Error(*d.Status)
		}
		_, err := s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: arn})
		fails(t, err, "StateMachineDeleting", arn)
		_, err = s.CreateStateMachine(t.Context(), &api.CreateStateMachineInput{Name: "m", Definition: pass, RoleArn: role})
		fails(t, err, "StateMachineDeleting", arn)
		if err := s.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = s.DescribeStateMachine(t.Context(), &api.DescribeStateMachineInput{StateMachineArn: arn})
		fails(t, err, "StateMachineDoesNotExist", arn)
		if d := must(s.DescribeExecution(t.Context(), &api.DescribeExecutionInput{ExecutionArn: x.ExecutionArn}))(t); d.Status != "ABORTED" {
			t.Error(d.Status)
		}
	})
}

func TestEncryptionConfiguration(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		create := func(e *api.EncryptionConfiguration) error {
			_, err := s.CreateStateMachine(t.Context(), &api.CreateStateMachineInput{Name: "m", Definition: pass, RoleArn: role, EncryptionConfiguration: e})
			return err
		}
		fails(t, create(&api.EncryptionConfiguration{Type: "CUSTOMER_MANAGED_KMS_KEY"}), "InvalidEncryptionConfiguration", "kmsKeyId")
		fails(t, create(&api.EncryptionConfiguration{Type: "AWS_OWNED_KEY", KmsKeyId: awsapi.Ptr("k")}), "InvalidEncryptionConfiguration", "kmsKeyId")
		key := &api.EncryptionConfiguration{Type: "CUSTOMER_MANAGED_KMS_KEY", KmsKeyId: awsapi.Ptr("k")}
		if err := create(key); err != nil {
			t.Fatal(err)
		}
		fails(t, create(nil), "StateMachineAlreadyExists", "")
		d := must(s.DescribeStateMachine(t.Context(), &api.DescribeStateMachineInput{StateMachineArn: prefix + "stateMachine:m"}))(t).EncryptionConfiguration
		if d.Type != key.Type || *d.KmsKeyId != "k" || *d.KmsDataKeyReusePeriodSeconds != 300 {
			t.Errorf("%+v", d)
		}
		must(s.CreateActivity(t.Context(), &api.CreateActivityInput{Name: "a", EncryptionConfiguration: key}))(t)
		_, err := s.CreateActivity(t.Context(), &api.CreateActivityInput{Name: "a"})
		fails(t, err, "ActivityAlreadyExists", "activity:a")
	})
}

// TestTracingConfiguration: what is set is told of the machine, its versions, and its executions as they began; it can be
// changed.
func TestTracingConfiguration(t *testing.T) {
	test(t, func(t *testing.T, s *server) {
		on := func(yes bool) *api.TracingConfiguration { return &api.TracingConfiguration{Enabled: &yes} }
		m := must(s.CreateStateMachine(t.Context(), &api.CreateStateMachineInput{Name: "m", Definition: pass, RoleArn: role, TracingConfiguration: on(true), Publish: awsapi.Ptr(true)}))(t)
		x := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: *m.StateMachineVersionArn}))(t)
		y := must(s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: m.StateMachineArn}))(t)
		for i, want := range []string{"true true true", "true true true", "false true true"} {
			switch i {
			case 1:
				must(s.UpdateStateMachine(t.Context(), &api.UpdateStateMachineInput{StateMachineArn: m.StateMachineArn, RoleArn: awsapi.Ptr(role)}))(t)
			case 2:
				must(s.UpdateStateMachine(t.Context(), &api.UpdateStateMachineInput{StateMachineArn: m.StateMachineArn, TracingConfiguration: on(false)}))(t)
			}
			now := must(s.DescribeStateMachine(t.Context(), &api.DescribeStateMachineInput{StateMachineArn: m.StateMachineArn}))(t)
			version := must(s.DescribeStateMachine(t.Context(), &api.DescribeStateMachineInput{StateMachineArn: *m.StateMachineVersionArn}))(t)
			ran := must(s.DescribeStateMachineForExecution(t.Context(), &api.DescribeStateMachineForExecutionInput{ExecutionArn: x.ExecutionArn}))(t)
			begun := must(s.DescribeStateMachineForExecution(t.Context(), &api.DescribeStateMachineForExecutionInput{ExecutionArn: y.ExecutionArn}))(t)
			if !*begun.TracingConfiguration.Enabled || begun.RevisionId != nil || !begun.UpdateDate.Equal(m.CreationDate) {
				t.Errorf("after %d updates: %+v", i, begun)
			}
			if got := fmt.Sprint(*now.TracingConfiguration.Enabled, *version.TracingConfiguration.Enabled, *ran.TracingConfiguration.Enabled); got != want {
				t.Errorf("after %d updates: %s, want %s", i, got, want)
			}
		}
	})
}

// The ARN of a state machine may have the label of a distributed Map: DescribeStateMachine tells of its children.
func TestLabelledARN(t *testing.T) {
	const inner = `{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}`
	const outer = `{"StartAt":"P","States":{"P":{"Type":"Parallel","Branches":[{"StartAt":"M","States":{"M":{"Type":"Map","Label":"L","ItemProcessor":` + inner + `,"End":true}}}],"End":true}}}`
	test(t, func(t *testing.T, s *server) {
		arn := s.create(t, "m", outer, "STANDARD")
		d := must(s.DescribeStateMachine(t.Context(), &api.DescribeStateMachineInput{StateMachineArn: arn + "/L", IncludedData: awsapi.Ptr("METADATA_ONLY")}))(t)
		if awsapi.Val(d.Label) != "L" || d.StateMachineArn != arn+"/L" || d.Definition != inner {
			t.Errorf("%+v", d)
		}
		_, err := s.DescribeStateMachine(t.Context(), &api.DescribeStateMachineInput{StateMachineArn: arn + "/N"})
		fails(t, err, "StateMachineDoesNotExist", arn+"/N")
		_, err = s.StartExecution(t.Context(), &api.StartExecutionInput{StateMachineArn: arn + "/L"})
		fails(t, err, "ValidationException", arn+"/L")
		_, err = s.DeleteStateMachine(t.Context(), &api.DeleteStateMachineInput{StateMachineArn: arn + "/L"})
		fails(t, err, "ValidationException", arn+"/L")
		_, err = s.UpdateStateMachine(t.Context(), &api.UpdateStateMachineInput{StateMachineArn: arn + "/L", RoleArn: awsapi.Ptr(role)})
		fails(t, err, "ValidationException", arn+"/L")
	})
}

// TestValidateDefinition tables the answers: which diagnostics there are, in the order of the text, and when the list is cut.
func TestValidateDefinition(t *testing.T) {
	const bad = `{"StartAt":"A","States":{"A":{"Type":"Pass","Result":{"a.$":"$.x"},"Next":"B","x":1},"C":{"Type":"Nothing"}}}`
	const warned = `{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Parameters":{"FunctionName":"$.f"},"Next":"B"},` +
		`"B":{"Type":"Choice","Choices":[{"Variable":"$.a","StringEquals":"$.b","Next":"C"}],"Default":"D"},"C":{"Type":"Pass","Result":"$.r","Next":"D"},"D":{"Type":"Fail","Cause":"$.c"}}}`
	const errors = "ERROR MISSING_TRANSITION_TARGET /States/A/Next ERROR SCHEMA_VALIDATION_FAILED /States/A ERROR MISSING_TRANSITION_TARGET /States/C ERROR SCHEMA_VALIDATION_FAILED /States/C/Type"
	max := func(n int64) *int64 { return &n }
	test(t, func(t *testing.T, s *server) {
		for _, c := range []struct {
			definition, severity string
			max                  *int64
			want                 string
		}{
			{pass, "", nil, "OK false"},
			{bad, "", nil, "FAIL false " + errors},
			{bad, "ERROR", max(0), "FAIL false " + errors},
			{bad, "ERROR", max(4), "FAIL false " + errors},
			{bad, "ERROR", max(1), "FAIL true ERROR MISSING_TRANSITION_TARGET /States/A/Next"},
			{bad, "WARNING", max(1), "FAIL true WARNING PASS_RESULT_IS_STATIC /States/A/Result"},
			{bad, "WARNING", max(100), "FAIL false WARNING PASS_RESULT_IS_STATIC /States/A/Result " + errors},
			{warned, "", max(1), "OK false"},
			{warned, "WARNING", max(2), "OK true WARNING NO_DOLLAR /States/A/Parameters WARNING NO_PATH /States/B/Choices[0]/StringEquals"},
			{warned, "WARNING", nil, "OK false WARNING NO_DOLLAR /States/A/Parameters WARNING NO_PATH /States/B/Choices[0]/StringEquals " +
				"WARNING PASS_RESULT_IS_STATIC /States/C/Result WARNING NO_PATH /States/D/Cause"},
			{`{"StartAt":"A","QueryLanguage":"JSONata","States":{"A":{"Type":"Fail","Cause":"$.c"}}}`, "WARNING", nil, "OK false"},
			{"nonsense", "", nil, "FAIL false ERROR INVALID_JSON_DESCRIPTION /"},
		} {
			out := must(s.ValidateStateMachineDefinition(t.Context(), &api.ValidateStateMachineDefinitionInput{Definition: c.definition, MaxResults: c.max, Severity: optional(c.severity)}))(t)
			got := fmt.Sprint(out.Result, " ", *out.Truncated)
			for _, d := range out.Diagnostics {
				got += " " + d.Severity + " " + d.Code + " " + *d.Location
			}
			if got != c.want {
				t.Errorf("%.60s severity %q:\n got %s\nwant %s", c.definition, c.severity, got, c.want)
			}
		}
	})
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
