package emr_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/services/emr"
	"github.com/mayfly-run/mayfly/spark"
	"github.com/mayfly-run/mayfly/store/memory"
)

// withoutSpark is the service on a machine where nothing was set up.
func withoutSpark(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir()}
	st := memory.New()
	loop := durable.New(durable.Config{Store: st})
	var err error
	if s.gateway, err = gateway.New(t.Context(), gateway.Config{Store: st}); err != nil {
		t.Fatal(err)
	}
	s.emr = emr.New(emr.Config{Store: st, Loop: loop, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Calls: s.gateway, Issuer: s.gateway.Keys, Wake: &s.bus, DataDir: s.dir,
		Endpoint: func() string { return "http://127.0.0.1:1" }, Spark: func() (*spark.Installation, error) { return nil, spark.ErrNotSetUp }})
	s.gateway.Register(s.emr.API())
	if err := loop.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loop.Stop)
	return s
}

func TestWithoutSpark(t *testing.T) {
	s := withoutSpark(t)
	id := s.run("hopeless", 1, nil)
	c := s.untilState(id, "TERMINATED_WITH_ERRORS")
	if r := c.Status.StateChangeReason; awsapi.Val(r.Code) != "INTERNAL_ERROR" || !strings.Contains(awsapi.Val(r.Message), "run `mayfly setup`") {
		t.Errorf("reason %s %s", awsapi.Val(r.Code), awsapi.Val(r.Message))
	}
	if d := c.Status.ErrorDetails; len(d) != 1 || awsapi.Val(d[0].ErrorCode) != "INTERNAL_ERROR" {
		t.Errorf("details %+v", d)
	}
}

func TestRequestKey(t *testing.T) {
	s := withoutSpark(t)
	in := &emrapi.RunJobFlowInput{Name: "once", ReleaseLabel: awsapi.Ptr("emr-7.10.0"), ServiceRole: awsapi.Ptr("r"),
		Instances: &emrapi.JobFlowInstancesConfig{InstanceCount: awsapi.Ptr(int64(3)), MasterInstanceType: awsapi.Ptr("m5.xlarge")}}
	var first string
	for range 2 {
		out, err := awscall.Typed[emrapi.RunJobFlowOutput](t.Context(), s.gateway, awscall.Call{Principal: caller, RequestKey: "execution/x/7/0",
			Service: "elasticmapreduce", Operation: "RunJobFlow"}, in)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = *out.JobFlowId
		}
		if *out.JobFlowId != first || !strings.HasSuffix(*out.ClusterArn, "cluster/"+first) {
			t.Errorf("the repeated call made %s after %s", *out.JobFlowId, first)
		}
	}
	list := call[emrapi.ListClustersOutput](s, "elasticmapreduce", "ListClusters", &emrapi.ListClustersInput{}).Clusters
	if len(list) != 1 || *list[0].Id != first {
		t.Errorf("clusters %+v", list)
	}
	nodes := call[emrapi.ListInstancesOutput](s, "elasticmapreduce", "ListInstances", &emrapi.ListInstancesInput{ClusterId: first}).Instances
	if len(nodes) != 3 {
		t.Errorf("%d nodes", len(nodes))
	}
	groups := call[emrapi.ListInstanceGroupsOutput](s, "elasticmapreduce", "ListInstanceGroups", &emrapi.ListInstanceGroupsInput{ClusterId: first}).InstanceGroups
	if len(groups) != 2 || *groups[1].InstanceGroupType != "CORE" || *groups[1].RequestedInstanceCount != 2 {
		t.Errorf("groups %+v", groups)
	}
}

func TestListClustersPages(t *testing.T) {
	s := withoutSpark(t)
	var made []string
	for range 53 {
		made = append(made, s.run("many", 1, nil))
	}
	var seen []string
	var marker *string
	for range 2 {
		out := call[emrapi.ListClustersOutput](s, "elasticmapreduce", "ListClusters", &emrapi.ListClustersInput{Marker: marker})
		for _, c := range out.Clusters {
			seen = append(seen, *c.Id)
		}
		marker = out.Marker
	}
	if len(seen) != 53 || marker != nil || seen[0] != made[52] || seen[52] != made[0] {
		t.Errorf("%d clusters, marker %v, first %s, want %s", len(seen), marker, seen[0], made[52])
	}
}

func TestRefusals(t *testing.T) {
	s := withoutSpark(t)
	groups := func(role string, n int64) []emrapi.InstanceGroupConfig {
		return []emrapi.InstanceGroupConfig{{InstanceRole: "MASTER", InstanceType: "m5.xlarge", InstanceCount: 1}, {InstanceRole: role, InstanceType: "m5.xlarge", InstanceCount: n}}
	}
	run := func(change func(*emrapi.RunJobFlowInput)) *emrapi.RunJobFlowInput {
		in := &emrapi.RunJobFlowInput{Name: "n", ReleaseLabel: awsapi.Ptr("emr-7.10.0"), ServiceRole: awsapi.Ptr("r"), Instances: &emrapi.JobFlowInstancesConfig{InstanceGroups: groups("CORE", 1)}}
		change(in)
		return in
	}
	for _, c := range []struct {
		op   string
		in   any
		want string
	}{
		{"DescribeCluster", &emrapi.DescribeClusterInput{ClusterId: "j-NONE"}, "InvalidRequestException: Cluster id 'j-NONE' is not valid."},
		{"DescribeCluster", &emrapi.DescribeClusterInput{ClusterId: "x"}, "InvalidRequestException: Cluster id 'x' is not valid."},
		{"ListSteps", &emrapi.ListStepsInput{ClusterId: "j-NONE"}, "InvalidRequestException: Cluster id 'j-NONE' is not valid."},
		{"AddJobFlowSteps", &emrapi.AddJobFlowStepsInput{JobFlowId: "j-NONE", Steps: []emrapi.StepConfig{command("x", "true")}}, "ValidationException: Specified job flow ID does not exist."},
		{"TerminateJobFlows", &emrapi.TerminateJobFlowsInput{JobFlowIds: []string{"j-NONE"}}, "ValidationException: Specified job flow ID does not exist."},
		{"RunJobFlow", run(func(in *emrapi.RunJobFlowInput) { in.ReleaseLabel = awsapi.Ptr("seven") }), "ValidationException: The supplied release label is invalid: seven."},
		{"RunJobFlow", run(func(in *emrapi.RunJobFlowInput) { in.ReleaseLabel = nil }), "ValidationException: Must specify exactly one of the following: release label, AMI version, or Hadoop version."},
		{"RunJobFlow", run(func(in *emrapi.RunJobFlowInput) { in.ServiceRole = nil }), "ValidationException: ServiceRole is required for creating cluster."},
		{"RunJobFlow", run(func(in *emrapi.RunJobFlowInput) { in.Instances.InstanceCount = awsapi.Ptr(int64(2)) }), "ValidationException: Please configure instances using one and only one of the following: instance groups; instance fleets; instance count, master and slave instance type."},
		{"RunJobFlow", run(func(in *emrapi.RunJobFlowInput) { in.Instances.InstanceGroups = groups("TASK", 1) }), "ValidationException: Clusters with task nodes must also define core nodes."},
		{"RunJobFlow", run(func(in *emrapi.RunJobFlowInput) { in.Instances.InstanceGroups[0].InstanceCount = 2 }), "ValidationException: A master instance group must specify a single instance"},
		{"RunJobFlow", run(func(in *emrapi.RunJobFlowInput) { in.Instances.InstanceGroups = groups("CORE", 0) }), "ValidationException: An instance group must have at least one instance"},
		{"RunJobFlow", run(func(in *emrapi.RunJobFlowInput) { in.StepConcurrencyLevel = awsapi.Ptr(int64(257)) }), "ValidationException: Invalid step concurrency level. Allowed level is from 1 to 256"},
		{"RunJobFlow", run(func(in *emrapi.RunJobFlowInput) {
			in.Configurations = []emrapi.Configuration{{Classification: awsapi.Ptr("sprak-defaults")}}
		}), "ValidationException: The configuration classification 'sprak-defaults' is not known."},
		{"RunJobFlow", run(func(in *emrapi.RunJobFlowInput) { in.LogUri = awsapi.Ptr("/tmp/logs") }), "ValidationException: Invalid S3 LogUri: /tmp/logs"},
	} {
		_, err := s.gateway.Invoke(t.Context(), awscall.Call{Principal: caller, Service: "elasticmapreduce", Operation: c.op, Input: awsapi.ToDocument(c.in)})
		var api *awsapi.Error
		if !errors.As(err, &api) || api.Error() != c.want || api.Status != 400 {
			t.Errorf("%s: %v, want %s", c.op, err, c.want)
		}
	}
	if list := call[emrapi.ListClustersOutput](s, "elasticmapreduce", "ListClusters", &emrapi.ListClustersInput{}).Clusters; len(list) != 0 {
		t.Errorf("refused clusters are listed: %+v", list)
	}
}
