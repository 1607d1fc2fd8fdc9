package emr_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
)

func (s *server) cancel(id, option string, steps ...string) []emrapi.CancelStepsInfo {
	s.t.Helper()
	in := &emrapi.CancelStepsInput{ClusterId: id, StepIds: steps}
	if option != "" {
		in.StepCancellationOption = &option
	}
	return call[emrapi.CancelStepsOutput](s, "elasticmapreduce", "CancelSteps", in).CancelStepsInfoList
}

// TestCancelSteps cancels in both ways: a program may end in its own manner after SIGTERM, or ignore it, but not SIGKILL.
func TestCancelSteps(t *testing.T) {
	s := fake(t)
	id := s.run("cancels", 1, nil)
	script := func(trap string) string {
		return "trap '" + trap + "' TERM; echo begun; while :; do sleep 0.01; done"
	}
	steps := s.add(id, command("polite", "sh", "-c", script("echo bye; exit 0")), command("deaf", "sh", "-c", script("")),
		command("pending", "true"), command("next", "true"))
	begun := func(step string) {
		s.untilStep(id, step, "RUNNING")
		s.soon("the program has not begun", func() bool { return strings.HasPrefix(s.follow(id, step, "stdout", ""), "begun\n") })
	}
	begun(steps[0])
	infos := s.cancel(id, "", steps[0], steps[2])
	for i, want := range []string{steps[0], steps[2]} {
		if len(infos) != 2 || *infos[i].StepId != want || *infos[i].Status != "SUBMITTED" || infos[i].Reason != nil {
			t.Fatalf("%+v", infos)
		}
	}
	if st := s.untilEnded(id, steps[0]); *st.Status.State != "CANCELLED" || st.Status.FailureDetails != nil || s.follow(id, steps[0], "stdout", "") != "begun\nbye\n" {
		t.Errorf("polite: %s %q", *st.Status.State, s.follow(id, steps[0], "stdout", ""))
	}
	begun(steps[1])
	s.cancel(id, "SEND_INTERRUPT", steps[1])
	if got := *s.step(id, steps[1]).Status.State; got != "CANCEL_PENDING" {
		t.Errorf("deaf: %s", got)
	}
	s.cancel(id, "TERMINATE_PROCESS", steps[1])
	if st := s.untilEnded(id, steps[1]); *st.Status.State != "CANCELLED" {
		t.Errorf("deaf: %s", *st.Status.State)
	}
	// AWS: a pending step is cancelled at once and was never started; what follows runs.
	if st := s.step(id, steps[2]); *st.Status.State != "CANCELLED" || st.Status.Timeline.StartDateTime != nil || st.Status.Timeline.EndDateTime == nil {
		t.Errorf("pending: %+v", st.Status)
	}
	if st := s.untilEnded(id, steps[3]); *st.Status.State != "COMPLETED" {
		t.Errorf("next: %s", *st.Status.State)
	}
	if infos := s.cancel(id, "", steps[3]); *infos[0].Status != "FAILED" || infos[0].Reason == nil {
		t.Errorf("a step that has ended: %+v", infos)
	}
	s.refused("CancelSteps", &emrapi.CancelStepsInput{ClusterId: id, StepIds: []string{"s-NONE"}}, "InvalidRequestException: Step id 's-NONE' is not valid.")
	// The last step that ended in the queue was COMPLETED; then one that is cancelled.
	last := s.add(id, command("sleeps", "sleep", "600"))[0]
	s.untilStep(id, last, "RUNNING")
	s.cancel(id, "TERMINATE_PROCESS", last)
	s.untilEnded(id, last)
	if c := s.untilState(id, "WAITING"); *c.Status.StateChangeReason.Message != "Cluster ready after last step cancelled." {
		t.Errorf("reason %s", *c.Status.StateChangeReason.Message)
	}
}

// TestStepsAtOnce runs two steps side by side, and fewer when the level is lowered.
func TestStepsAtOnce(t *testing.T) {
	s := fake(t)
	id := s.run("at once", 1, func(in *emrapi.RunJobFlowInput) { in.StepConcurrencyLevel = awsapi.Ptr(int64(2)) })
	for _, n := range []int64{0, 257} {
		s.refused("ModifyCluster", &emrapi.ModifyClusterInput{ClusterId: id, StepConcurrencyLevel: &n}, "ValidationException: Invalid step concurrency level. Allowed level is from 1 to 256")
	}
	wrong := command("ends the cluster", "true")
	wrong.ActionOnFailure = awsapi.Ptr("TERMINATE_CLUSTER")
	s.refused("AddJobFlowSteps", &emrapi.AddJobFlowStepsInput{JobFlowId: id, Steps: []emrapi.StepConfig{wrong}},
		"ValidationException: The ActionOnFailure of steps must be CONTINUE while the step concurrency level is greater than 1.")
	wait := func(n int) emrapi.StepConfig {
		return command(fmt.Sprint(n), "sh", "-c", fmt.Sprintf("while [ ! -e %s/go-%d ]; do sleep 0.01; done", s.dir, n))
	}
	let := func(n int) { os.WriteFile(filepath.Join(s.dir, fmt.Sprint("go-", n)), nil, 0o600) }
	steps := s.add(id, wait(0), wait(1), wait(2), wait(3))
	s.untilStep(id, steps[1], "RUNNING")
	states := func() (out []string) {
		for _, st := range steps {
			out = append(out, *s.step(id, st).Status.State)
		}
		return out
	}
	if got := states(); !slices.Equal(got, []string{"RUNNING", "RUNNING", "PENDING", "PENDING"}) {
		t.Errorf("%v", got)
	}
	out := call[emrapi.ModifyClusterOutput](s, "elasticmapreduce", "ModifyCluster", &emrapi.ModifyClusterInput{ClusterId: id, StepConcurrencyLevel: awsapi.Ptr(int64(1))})
	if *out.StepConcurrencyLevel != 1 || *s.cluster(id).StepConcurrencyLevel != 1 {
		t.Errorf("level %d", *out.StepConcurrencyLevel)
	}
	let(0)
	s.untilEnded(id, steps[0])
	if got := states(); !slices.Equal(got, []string{"COMPLETED", "RUNNING", "PENDING", "PENDING"}) {
		t.Errorf("%v", got)
	}
	let(1)
	s.untilStep(id, steps[2], "RUNNING")
	if got := states(); got[3] != "PENDING" {
		t.Errorf("%v", got)
	}
	let(2)
	let(3)
	s.untilEnded(id, steps[3])
	s.add(id, wrong) // one at a time again
}

// TestSettings changes what can be changed while a cluster lives.
func TestSettings(t *testing.T) {
	s := fake(t)
	id := s.run("settings", 1, func(in *emrapi.RunJobFlowInput) {
		in.Instances.TerminationProtected = awsapi.Ptr(true)
		in.AutoTerminationPolicy = &emrapi.AutoTerminationPolicy{}
	})
	policy := func() *emrapi.AutoTerminationPolicy {
		return call[emrapi.GetAutoTerminationPolicyOutput](s, "elasticmapreduce", "GetAutoTerminationPolicy", &emrapi.GetAutoTerminationPolicyInput{ClusterId: id}).AutoTerminationPolicy
	}
	if p := policy(); p == nil || *p.IdleTimeout != 3600 {
		t.Errorf("policy %+v", p)
	}
	for _, n := range []int64{59, 604801} {
		s.refused("PutAutoTerminationPolicy", &emrapi.PutAutoTerminationPolicyInput{ClusterId: id, AutoTerminationPolicy: &emrapi.AutoTerminationPolicy{IdleTimeout: &n}},
			"ValidationException: Invalid idle timeout. The idle timeout must be from 60 to 604800 seconds.")
	}
	call[emrapi.PutAutoTerminationPolicyOutput](s, "elasticmapreduce", "PutAutoTerminationPolicy", &emrapi.PutAutoTerminationPolicyInput{ClusterId: id,
		AutoTerminationPolicy: &emrapi.AutoTerminationPolicy{IdleTimeout: awsapi.Ptr(int64(604800))}})
	if p := policy(); p == nil || *p.IdleTimeout != 604800 {
		t.Errorf("policy %+v", p)
	}
	call[emrapi.RemoveAutoTerminationPolicyOutput](s, "elasticmapreduce", "RemoveAutoTerminationPolicy", &emrapi.RemoveAutoTerminationPolicyInput{ClusterId: id})
	if p := policy(); p != nil {
		t.Errorf("policy %+v", p)
	}
	s.untilState(id, "WAITING")
	protected := "ValidationException: Could not shut down one or more job flows since they are termination protected."
	other := s.run("not protected", 1, nil)
	s.refused("TerminateJobFlows", &emrapi.TerminateJobFlowsInput{JobFlowIds: []string{other, id}}, protected)
	if c := s.untilState(other, "WAITING"); *c.TerminationProtected || !*s.cluster(id).TerminationProtected {
		t.Error("protection is not shown")
	}
	// A failed step does not end a protected cluster.
	fatal := command("fatal", "false")
	fatal.ActionOnFailure = awsapi.Ptr("TERMINATE_CLUSTER")
	s.untilEnded(id, s.add(id, fatal)[0])
	if c := s.untilState(id, "WAITING"); *c.Status.StateChangeReason.Message != "Cluster ready after last step failed." {
		t.Errorf("reason %s", *c.Status.StateChangeReason.Message)
	}
	call[emrapi.SetTerminationProtectionOutput](s, "elasticmapreduce", "SetTerminationProtection", &emrapi.SetTerminationProtectionInput{JobFlowIds: []string{id}})
	call[emrapi.AddTagsOutput](s, "elasticmapreduce", "AddTags", &emrapi.AddTagsInput{ResourceId: id, Tags: []emrapi.Tag{{Key: awsapi.Ptr("a"), Value: awsapi.Ptr("1")}, {Key: awsapi.Ptr("b")}}})
	call[emrapi.RemoveTagsOutput](s, "elasticmapreduce", "RemoveTags", &emrapi.RemoveTagsInput{ResourceId: id, TagKeys: []string{"b"}})
	if tags := s.cluster(id).Tags; len(tags) != 1 || *tags[0].Value != "1" {
		t.Errorf("tags %+v", tags)
	}
	// AWS: a cluster that is told not to stay ends as soon as nothing runs.
	call[emrapi.SetKeepJobFlowAliveWhenNoStepsOutput](s, "elasticmapreduce", "SetKeepJobFlowAliveWhenNoSteps", &emrapi.SetKeepJobFlowAliveWhenNoStepsInput{JobFlowIds: []string{id}})
	if c := s.untilState(id, "TERMINATED"); *c.Status.StateChangeReason.Code != "STEP_FAILURE" || *c.Status.StateChangeReason.Message != "Steps completed with errors" {
		t.Errorf("reason %s", *c.Status.StateChangeReason.Message)
	}
	over := "ValidationException: A job flow that is shutting down, terminated, or finished may not be modified."
	s.refused("AddJobFlowSteps", &emrapi.AddJobFlowStepsInput{JobFlowId: id, Steps: []emrapi.StepConfig{command("late", "true")}}, over)
	s.refused("ModifyCluster", &emrapi.ModifyClusterInput{ClusterId: id, StepConcurrencyLevel: awsapi.Ptr(int64(2))}, over)
	s.refused("AddTags", &emrapi.AddTagsInput{ResourceId: id, Tags: []emrapi.Tag{{Key: awsapi.Ptr("a")}}}, "InvalidRequestException: Tags cannot be modified on terminated clusters.")
	s.terminate(id) // AWS: no error
	s.terminate(other)
}

// TestLists reads steps and instances with every filter, and in pages.
func TestLists(t *testing.T) {
	s := fake(t)
	id := s.run("lists", 1, func(in *emrapi.RunJobFlowInput) {
		in.Instances.InstanceGroups = append(in.Instances.InstanceGroups, emrapi.InstanceGroupConfig{InstanceRole: "TASK", InstanceType: "m5.large", InstanceCount: 2, Market: awsapi.Ptr("SPOT"), BidPrice: awsapi.Ptr("0.1")})
	})
	var configs []emrapi.StepConfig
	for i := range 53 {
		configs = append(configs, command(fmt.Sprint(i), "true"))
	}
	hold := command("hold", "sh", "-c", "while [ ! -e "+s.dir+"/go ]; do sleep 0.01; done")
	ids := s.add(id, append([]emrapi.StepConfig{command("bad", "false"), hold}, configs...)...)
	s.untilStep(id, ids[1], "RUNNING")
	list := func(in emrapi.ListStepsInput) (out []string, marker *string) {
		in.ClusterId = id
		got := call[emrapi.ListStepsOutput](s, "elasticmapreduce", "ListSteps", &in)
		for _, st := range got.Steps {
			out = append(out, *st.Id)
		}
		return out, got.Marker
	}
	backwards := slices.Clone(ids)
	slices.Reverse(backwards)
	first, marker := list(emrapi.ListStepsInput{})
	if !slices.Equal(first, backwards[:50]) || marker == nil {
		t.Fatalf("first page %v %v", first, marker)
	}
	if rest, marker := list(emrapi.ListStepsInput{Marker: marker}); !slices.Equal(rest, backwards[50:]) || marker != nil {
		t.Errorf("second page %v %v", rest, marker)
	}
	if got, _ := list(emrapi.ListStepsInput{StepStates: []string{"FAILED", "RUNNING"}}); !slices.Equal(got, []string{ids[1], ids[0]}) {
		t.Errorf("by state %v", got)
	}
	if got, _ := list(emrapi.ListStepsInput{StepIds: []string{ids[3], ids[7]}}); !slices.Equal(got, []string{ids[7], ids[3]}) {
		t.Errorf("by id %v", got)
	}
	s.refused("DescribeStep", &emrapi.DescribeStepInput{ClusterId: id, StepId: "s-NONE"}, "InvalidRequestException: Step id 's-NONE' is not valid.")
	s.refused("ListSteps", &emrapi.ListStepsInput{ClusterId: id, Marker: awsapi.Ptr("s-NONE")}, "InvalidRequestException: Marker 's-NONE' is not valid.")

	groups := call[emrapi.ListInstanceGroupsOutput](s, "elasticmapreduce", "ListInstanceGroups", &emrapi.ListInstanceGroupsInput{ClusterId: id}).InstanceGroups
	if len(groups) != 3 || *groups[2].Market != "SPOT" || *groups[2].BidPrice != "0.1" {
		t.Fatalf("groups %+v", groups)
	}
	nodes := func(in emrapi.ListInstancesInput) int {
		in.ClusterId = id
		return len(call[emrapi.ListInstancesOutput](s, "elasticmapreduce", "ListInstances", &in).Instances)
	}
	for _, c := range []struct {
		in   emrapi.ListInstancesInput
		want int
	}{
		{emrapi.ListInstancesInput{}, 4},
		{emrapi.ListInstancesInput{InstanceGroupTypes: []string{"TASK"}}, 2},
		{emrapi.ListInstancesInput{InstanceGroupTypes: []string{"MASTER", "CORE"}}, 2},
		{emrapi.ListInstancesInput{InstanceGroupId: groups[2].Id}, 2},
		{emrapi.ListInstancesInput{InstanceStates: []string{"RUNNING"}}, 4},
		{emrapi.ListInstancesInput{InstanceStates: []string{"TERMINATED", "PROVISIONING"}}, 0},
	} {
		if got := nodes(c.in); got != c.want {
			t.Errorf("%+v: %d instances, want %d", c.in, got, c.want)
		}
	}
	s.refused("ListInstances", &emrapi.ListInstancesInput{ClusterId: id, InstanceGroupId: awsapi.Ptr("ig-NONE")}, "InvalidRequestException: Instance group id 'ig-NONE' is not valid.")
	var many []emrapi.StepConfig
	for range 256 - 53 { // 54 of them are open
		many = append(many, command("more", "true"))
	}
	s.refused("AddJobFlowSteps", &emrapi.AddJobFlowStepsInput{JobFlowId: id, Steps: many}, "ValidationException: Maximum number of active and pending steps (256) exceeded.")
	if s.add(id, many[:256-54]...); nodes(emrapi.ListInstancesInput{}) != 4 {
		t.Error("instances")
	}
	long := command("long", strings.Repeat("x", 10241))
	s.refused("AddJobFlowSteps", &emrapi.AddJobFlowStepsInput{JobFlowId: id, Steps: []emrapi.StepConfig{long}}, "ValidationException: The arguments of the step long are longer than 10240 characters.")
	s.terminate(id)
	if nodes(emrapi.ListInstancesInput{InstanceStates: []string{"TERMINATED"}}) != 4 {
		t.Error("the instances of an ended cluster are not terminated")
	}
}

// TestFleets makes a cluster of fleets: they are listed as fleets and not as groups.
func TestFleets(t *testing.T) {
	s := fake(t)
	fleet := func(kind string, onDemand, spot int64) emrapi.InstanceFleetConfig {
		return emrapi.InstanceFleetConfig{InstanceFleetType: kind, TargetOnDemandCapacity: &onDemand, TargetSpotCapacity: &spot,
			InstanceTypeConfigs: []emrapi.InstanceTypeConfig{{InstanceType: "m5.xlarge"}}}
	}
	of := func(fleets ...emrapi.InstanceFleetConfig) func(*emrapi.RunJobFlowInput) {
		return func(in *emrapi.RunJobFlowInput) {
			in.Instances.InstanceGroups, in.Instances.InstanceFleets = nil, fleets
		}
	}
	for want, fleets := range map[string][]emrapi.InstanceFleetConfig{
		"A master instance fleet can only have a target capacity of 1. Revise the configuration and resubmit.": {fleet("MASTER", 2, 0)},
		"The instance fleet CORE must have a target capacity from 1 to 100.":                                   {fleet("MASTER", 1, 0), fleet("CORE", 60, 41)},
		"A master instance group must specify a single instance":                                               {fleet("CORE", 1, 0)},
	} {
		in := &emrapi.RunJobFlowInput{Name: "n", ReleaseLabel: awsapi.Ptr("emr-7.10.0"), ServiceRole: awsapi.Ptr("r"), Instances: &emrapi.JobFlowInstancesConfig{InstanceFleets: fleets}}
		s.refused("RunJobFlow", in, "ValidationException: "+want)
	}
	id := s.run("fleets", 1, of(fleet("MASTER", 1, 0), fleet("CORE", 0, 2)))
	if c := s.untilState(id, "WAITING"); *c.InstanceCollectionType != "INSTANCE_FLEET" {
		t.Errorf("%s", *c.InstanceCollectionType)
	}
	fleets := call[emrapi.ListInstanceFleetsOutput](s, "elasticmapreduce", "ListInstanceFleets", &emrapi.ListInstanceFleetsInput{ClusterId: id}).InstanceFleets
	if len(fleets) != 2 || *fleets[1].ProvisionedSpotCapacity != 2 || *fleets[1].Status.State != "RUNNING" {
		t.Errorf("%+v", fleets)
	}
	s.refused("ListInstanceGroups", &emrapi.ListInstanceGroupsInput{ClusterId: id}, "InvalidRequestException: Instance fleets and instance groups are mutually exclusive. The EMR cluster specified in the request uses instance fleets. The ListInstanceGroups request does not support clusters that use instance fleets. Use the ListInstanceFleets request instead.")
	nodes := call[emrapi.ListInstancesOutput](s, "elasticmapreduce", "ListInstances", &emrapi.ListInstancesInput{ClusterId: id, InstanceFleetType: awsapi.Ptr("CORE")}).Instances
	if len(nodes) != 2 || *nodes[0].InstanceFleetId != *fleets[1].Id || nodes[0].InstanceGroupId != nil || *nodes[0].Market != "SPOT" {
		t.Errorf("%+v", nodes)
	}
	s.terminate(id)
}
