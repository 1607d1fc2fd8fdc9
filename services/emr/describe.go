package emr

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/emr/cluster"
	"github.com/mayfly-run/mayfly/store"
)

const pageSize = 50

// optional is nil for "": AWS leaves out what is not there.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func status(state, code, message string, created, ready, end time.Time) *emrapi.ClusterStatus {
	return &emrapi.ClusterStatus{
		State:             &state,
		StateChangeReason: &emrapi.ClusterStateChangeReason{Code: optional(code), Message: optional(message)},
		Timeline:          &emrapi.ClusterTimeline{CreationDateTime: when(created), ReadyDateTime: when(ready), EndDateTime: when(end)},
	}
}

// DescribeCluster shows a cluster, also when it has ended.
func (s *Service) DescribeCluster(ctx context.Context, in *emrapi.DescribeClusterInput) (*emrapi.DescribeClusterOutput, error) {
	out := &emrapi.DescribeClusterOutput{}
	err := s.view(ctx, in.ClusterId, notValid, func(st *cluster.State) { out.Cluster = describe(st) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

func describe(st *cluster.State) *emrapi.Cluster {
	r, ins := st.Spec.Request, st.Spec.Request.Instances
	collection := "INSTANCE_GROUP"
	if st.Spec.Fleets {
		collection = "INSTANCE_FLEET"
	}
	zone := st.Spec.Principal.Region + "a"
	c := &emrapi.Cluster{
		Id: awsapi.Ptr(st.Spec.ID), Name: awsapi.Ptr(r.Name), ClusterArn: awsapi.Ptr(st.Spec.ARN),
		Status: status(st.State, st.Code, st.Message, st.Created, st.Ready, st.End),
		Ec2InstanceAttributes: &emrapi.Ec2InstanceAttributes{
			Ec2KeyName: ins.Ec2KeyName, Ec2SubnetId: ins.Ec2SubnetId, RequestedEc2SubnetIds: ins.Ec2SubnetIds,
			Ec2AvailabilityZone: &zone, IamInstanceProfile: r.JobFlowRole,
			EmrManagedMasterSecurityGroup: ins.EmrManagedMasterSecurityGroup, EmrManagedSlaveSecurityGroup: ins.EmrManagedSlaveSecurityGroup,
			ServiceAccessSecurityGroup:     ins.ServiceAccessSecurityGroup,
			AdditionalMasterSecurityGroups: ins.AdditionalMasterSecurityGroups, AdditionalSlaveSecurityGroups: ins.AdditionalSlaveSecurityGroups,
		},
		InstanceCollectionType: &collection, LogUri: r.LogUri, ReleaseLabel: r.ReleaseLabel,
		AutoTerminate: awsapi.Ptr(!st.Settings.KeepAlive), TerminationProtected: awsapi.Ptr(st.Settings.Protected),
		UnhealthyNodeReplacement: ins.UnhealthyNodeReplacement, VisibleToAllUsers: awsapi.Ptr(st.Settings.Visible),
		Applications: applications(awsapi.Val(r.ReleaseLabel), r.Applications), Tags: st.Settings.Tags,
		ServiceRole: r.ServiceRole, NormalizedInstanceHours: awsapi.Ptr(int64(0)),
		Configurations: r.Configurations, AutoScalingRole: r.AutoScalingRole, ScaleDownBehavior: r.ScaleDownBehavior,
		CustomAmiId: r.CustomAmiId, EbsRootVolumeSize: r.EbsRootVolumeSize, RepoUpgradeOnBoot: r.RepoUpgradeOnBoot,
		StepConcurrencyLevel: awsapi.Ptr(int64(st.Settings.Concurrency)),
		PlacementGroups:      r.PlacementGroupConfigs, OSReleaseLabel: r.OSReleaseLabel,
		EbsRootVolumeIops: r.EbsRootVolumeIops, EbsRootVolumeThroughput: r.EbsRootVolumeThroughput,
	}
	if ins.Placement != nil && ins.Placement.AvailabilityZone != nil {
		c.Ec2InstanceAttributes.Ec2AvailabilityZone = ins.Placement.AvailabilityZone
	}
	if c.Ec2InstanceAttributes.Ec2SubnetId == nil && len(ins.Ec2SubnetIds) > 0 {
		c.Ec2InstanceAttributes.Ec2SubnetId = &ins.Ec2SubnetIds[0]
	}
	if st.State != cluster.Starting {
		c.MasterPublicDnsName = awsapi.Ptr("localhost")
	}
	if st.State == cluster.TerminatedWithErrors {
		c.Status.ErrorDetails = []emrapi.ErrorDetail{{ErrorCode: optional(st.Code), ErrorMessage: optional(st.Message)}}
	}
	return c
}

func stepStatus(st *cluster.Step) *emrapi.StepStatus {
	out := &emrapi.StepStatus{
		State: awsapi.Ptr(st.State), StateChangeReason: &emrapi.StepStateChangeReason{},
		Timeline: &emrapi.StepTimeline{CreationDateTime: when(st.Created), StartDateTime: when(st.Start), EndDateTime: when(st.End)},
	}
	if f := st.Failure; f != nil {
		out.FailureDetails = &emrapi.FailureDetails{Reason: optional(f.Reason), Message: optional(f.Message), LogFile: optional(f.LogFile)}
	}
	return out
}

// stepConfig is the answer's form of a step's program: properties are a list in requests and a map in answers.
func stepConfig(c emrapi.StepConfig) *emrapi.HadoopStepConfig {
	h := c.HadoopJarStep
	out := &emrapi.HadoopStepConfig{Jar: &h.Jar, MainClass: h.MainClass, Args: h.Args, Properties: map[string]string{}}
	if out.Args == nil {
		out.Args = []string{}
	}
	for _, p := range h.Properties {
		out.Properties[awsapi.Val(p.Key)] = awsapi.Val(p.Value)
	}
	return out
}

// DescribeStep shows a step.
func (s *Service) DescribeStep(ctx context.Context, in *emrapi.DescribeStepInput) (*emrapi.DescribeStepOutput, error) {
	var out *emrapi.DescribeStepOutput
	err := s.view(ctx, in.ClusterId, notValid, func(c *cluster.State) {
		if st := c.Step(in.StepId); st != nil {
			out = &emrapi.DescribeStepOutput{Step: &emrapi.Step{
				Id: awsapi.Ptr(st.ID), Name: awsapi.Ptr(st.Config.Name), Config: stepConfig(st.Config),
				ActionOnFailure: awsapi.Ptr(st.Action()), Status: stepStatus(st), ExecutionRoleArn: c.Spec.Request.StepExecutionRoleArn,
			}}
		}
	})
	if err == nil && out == nil {
		err = invalid("Step id '%s' is not valid.", in.StepId)
	}
	return out, err
}

// ListSteps lists steps, the newest first.
func (s *Service) ListSteps(ctx context.Context, in *emrapi.ListStepsInput) (*emrapi.ListStepsOutput, error) {
	if len(in.StepIds) > 10 {
		return nil, invalid("At most 10 step ids may be given.")
	}
	var all []emrapi.StepSummary
	err := s.view(ctx, in.ClusterId, notValid, func(c *cluster.State) {
		for _, st := range slices.Backward(c.Steps) {
			if len(in.StepStates) > 0 && !slices.Contains(in.StepStates, st.State) || len(in.StepIds) > 0 && !slices.Contains(in.StepIds, st.ID) {
				continue
			}
			all = append(all, emrapi.StepSummary{Id: awsapi.Ptr(st.ID), Name: awsapi.Ptr(st.Config.Name), Config: stepConfig(st.Config),
				ActionOnFailure: awsapi.Ptr(st.Action()), Status: stepStatus(st)})
		}
	})
	if err != nil {
		return nil, err
	}
	out := &emrapi.ListStepsOutput{Steps: []emrapi.StepSummary{}}
	page, marker, err := paged(all, in.Marker, func(st emrapi.StepSummary) string { return *st.Id })
	out.Steps, out.Marker = page, marker
	return out, err
}

// paged cuts a page out of a list: the marker names the last element of the page before.
func paged[T any](all []T, marker *string, id func(T) string) ([]T, *string, error) {
	if marker != nil && *marker != "" {
		i := slices.IndexFunc(all, func(t T) bool { return id(t) == *marker })
		if i < 0 {
			return nil, nil, invalid("Marker '%s' is not valid.", *marker)
		}
		all = all[i+1:]
	}
	if len(all) <= pageSize {
		return append([]T{}, all...), nil, nil
	}
	last := id(all[pageSize-1])
	return all[:pageSize], &last, nil
}

// ListClusters lists the clusters of the account, the newest first.
func (s *Service) ListClusters(ctx context.Context, in *emrapi.ListClustersInput) (*emrapi.ListClustersOutput, error) {
	p := identity.From(ctx)
	q := store.Query{Account: p.Account, Region: p.Region, Service: service, Kind: kind, Index: "created", Descending: true, Limit: 200}
	if in.Marker != nil {
		q.After = *in.Marker
	}
	out := &emrapi.ListClustersOutput{Clusters: []emrapi.ClusterSummary{}}
	for {
		found, err := s.Store.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			var c summary
			if err := json.Unmarshal(f.Value, &c); err != nil {
				return nil, err
			}
			q.After = f.Cursor
			if len(in.ClusterStates) > 0 && !slices.Contains(in.ClusterStates, c.State) ||
				in.CreatedAfter != nil && c.Created.Before(*in.CreatedAfter) || in.CreatedBefore != nil && c.Created.After(*in.CreatedBefore) {
				continue
			}
			out.Clusters = append(out.Clusters, emrapi.ClusterSummary{Id: &c.ID, Name: &c.Name, ClusterArn: &c.ARN,
				NormalizedInstanceHours: awsapi.Ptr(int64(0)), Status: status(c.State, c.Code, c.Message, c.Created, c.Ready, c.End)})
			if len(out.Clusters) == pageSize {
				out.Marker = awsapi.Ptr(q.After)
				return out, nil
			}
		}
		if len(found) < q.Limit {
			return out, nil
		}
	}
}

// nodeState is the state of groups and instances as it follows from the cluster's.
func nodeState(st *cluster.State) (group, instance string) {
	switch {
	case st.Ended():
		return "TERMINATED", "TERMINATED"
	case st.State == cluster.Terminating:
		return "TERMINATING", "RUNNING"
	case st.State == cluster.Starting:
		return "PROVISIONING", "PROVISIONING"
	case st.State == cluster.Bootstrapping:
		return "BOOTSTRAPPING", "BOOTSTRAPPING"
	}
	return "RUNNING", "RUNNING"
}

func running(st *cluster.State, g cluster.Group) *int64 {
	if _, state := nodeState(st); state != "RUNNING" {
		return awsapi.Ptr(int64(0))
	}
	n := int64(0)
	for _, i := range g.Instances {
		if i.State == "" || i.State == cluster.Running {
			n++
		}
	}
	return &n
}

// instanceStatus is the state of one node: its own where it replaces another or is gone, else the one that all have.
func instanceStatus(st *cluster.State, i cluster.Instance) *emrapi.InstanceStatus {
	_, state := nodeState(st)
	created, ready, end := st.Created, st.Ready, st.End
	if i.State != "" && !(st.Ended() && i.End.IsZero()) {
		state = i.State
	}
	if !i.Created.IsZero() {
		created, ready = i.Created, i.Ready
	}
	if !i.End.IsZero() {
		end = i.End
	}
	reason := &emrapi.InstanceStateChangeReason{Code: optional(i.Code), Message: optional(i.Message)}
	if st.Ended() && i.Code == "" {
		reason = &emrapi.InstanceStateChangeReason{Code: awsapi.Ptr("CLUSTER_TERMINATED"), Message: awsapi.Ptr("Instance was terminated.")}
	}
	return &emrapi.InstanceStatus{State: &state, StateChangeReason: reason,
		Timeline: &emrapi.InstanceTimeline{CreationDateTime: when(created), ReadyDateTime: when(ready), EndDateTime: when(end)}}
}

// ListInstanceGroups lists the groups of a cluster that was made of groups.
func (s *Service) ListInstanceGroups(ctx context.Context, in *emrapi.ListInstanceGroupsInput) (*emrapi.ListInstanceGroupsOutput, error) {
	out := &emrapi.ListInstanceGroupsOutput{InstanceGroups: []emrapi.InstanceGroup{}}
	fleets := false
	err := s.view(ctx, in.ClusterId, notValid, func(st *cluster.State) {
		fleets = st.Spec.Fleets
		state, _ := nodeState(st)
		for i, g := range st.Spec.Groups {
			ig := emrapi.InstanceGroup{
				Id: awsapi.Ptr(g.ID), Name: awsapi.Ptr(g.Name), Market: awsapi.Ptr(g.Market), InstanceGroupType: awsapi.Ptr(g.Role), BidPrice: optional(g.Bid),
				InstanceType: awsapi.Ptr(g.Type), RequestedInstanceCount: awsapi.Ptr(int64(len(g.Instances))), RunningInstanceCount: running(st, g),
				Status: &emrapi.InstanceGroupStatus{State: awsapi.Ptr(state), StateChangeReason: groupReason(st),
					Timeline: &emrapi.InstanceGroupTimeline{CreationDateTime: when(st.Created), ReadyDateTime: when(st.Ready), EndDateTime: when(st.End)}},
				ConfigurationsVersion: awsapi.Ptr(int64(0)), LastSuccessfullyAppliedConfigurationsVersion: awsapi.Ptr(int64(0)),
				EbsBlockDevices: []emrapi.EbsBlockDevice{}, ShrinkPolicy: &emrapi.ShrinkPolicy{},
			}
			if given := st.Spec.Request.Instances.InstanceGroups; i < len(given) {
				ig.Configurations = given[i].Configurations
			}
			out.InstanceGroups = append(out.InstanceGroups, ig)
		}
	})
	if err == nil && fleets {
		return nil, invalid("Instance fleets and instance groups are mutually exclusive. The EMR cluster specified in the request uses instance fleets. The ListInstanceGroups request does not support clusters that use instance fleets. Use the ListInstanceFleets request instead.")
	}
	return out, err
}

func groupReason(st *cluster.State) *emrapi.InstanceGroupStateChangeReason {
	if st.Ending() {
		return &emrapi.InstanceGroupStateChangeReason{Code: awsapi.Ptr("CLUSTER_TERMINATED"), Message: awsapi.Ptr("Job flow terminated")}
	}
	return &emrapi.InstanceGroupStateChangeReason{}
}

// ListInstanceFleets lists the fleets of a cluster that was made of fleets.
func (s *Service) ListInstanceFleets(ctx context.Context, in *emrapi.ListInstanceFleetsInput) (*emrapi.ListInstanceFleetsOutput, error) {
	out := &emrapi.ListInstanceFleetsOutput{InstanceFleets: []emrapi.InstanceFleet{}}
	fleets := false
	err := s.view(ctx, in.ClusterId, notValid, func(st *cluster.State) {
		if fleets = st.Spec.Fleets; !fleets {
			return
		}
		state, _ := nodeState(st)
		for i, g := range st.Spec.Groups {
			given := st.Spec.Request.Instances.InstanceFleets[i]
			f := emrapi.InstanceFleet{
				Id: awsapi.Ptr(g.ID), Name: awsapi.Ptr(g.Name), InstanceFleetType: awsapi.Ptr(g.Role),
				TargetOnDemandCapacity: awsapi.Ptr(awsapi.Val(given.TargetOnDemandCapacity)), TargetSpotCapacity: awsapi.Ptr(awsapi.Val(given.TargetSpotCapacity)),
				ProvisionedOnDemandCapacity: awsapi.Ptr(int64(0)), ProvisionedSpotCapacity: awsapi.Ptr(int64(0)), LaunchSpecifications: given.LaunchSpecifications,
				Status: &emrapi.InstanceFleetStatus{State: awsapi.Ptr(state), StateChangeReason: &emrapi.InstanceFleetStateChangeReason{},
					Timeline: &emrapi.InstanceFleetTimeline{CreationDateTime: when(st.Created), ReadyDateTime: when(st.Ready), EndDateTime: when(st.End)}},
			}
			if *running(st, g) > 0 {
				f.ProvisionedOnDemandCapacity, f.ProvisionedSpotCapacity = f.TargetOnDemandCapacity, f.TargetSpotCapacity
			}
			for _, t := range given.InstanceTypeConfigs {
				f.InstanceTypeSpecifications = append(f.InstanceTypeSpecifications, emrapi.InstanceTypeSpecification{
					InstanceType: awsapi.Ptr(t.InstanceType), WeightedCapacity: t.WeightedCapacity, BidPrice: t.BidPrice,
					BidPriceAsPercentageOfOnDemandPrice: t.BidPriceAsPercentageOfOnDemandPrice, Configurations: t.Configurations})
			}
			out.InstanceFleets = append(out.InstanceFleets, f)
		}
	})
	if err == nil && !fleets {
		return nil, invalid("Instance fleets and instance groups are mutually exclusive. The EMR cluster specified in the request uses instance groups. The ListInstanceFleets request does not support clusters that use instance groups. Use the ListInstanceGroups request instead.")
	}
	return out, err
}

// ListInstances lists the nodes, also those that were replaced.
func (s *Service) ListInstances(ctx context.Context, in *emrapi.ListInstancesInput) (*emrapi.ListInstancesOutput, error) {
	var all []emrapi.Instance
	known := in.InstanceGroupId == nil
	err := s.view(ctx, in.ClusterId, notValid, func(st *cluster.State) {
		for _, g := range st.Spec.Groups {
			known = known || *in.InstanceGroupId == g.ID
			if in.InstanceGroupId != nil && *in.InstanceGroupId != g.ID || in.InstanceFleetId != nil && *in.InstanceFleetId != g.ID ||
				in.InstanceFleetType != nil && *in.InstanceFleetType != g.Role ||
				len(in.InstanceGroupTypes) > 0 && !slices.Contains(in.InstanceGroupTypes, g.Role) {
				continue
			}
			for _, i := range slices.Concat(g.Instances, g.Gone) {
				one := emrapi.Instance{
					Id: awsapi.Ptr(i.ID), Ec2InstanceId: awsapi.Ptr(i.EC2ID), PublicDnsName: awsapi.Ptr("localhost"), PublicIpAddress: awsapi.Ptr(i.IP),
					PrivateDnsName: awsapi.Ptr("localhost"), PrivateIpAddress: awsapi.Ptr(i.IP), Market: awsapi.Ptr(g.Market), InstanceType: awsapi.Ptr(g.Type),
					Status: instanceStatus(st, i),
				}
				if len(in.InstanceStates) > 0 && !slices.Contains(in.InstanceStates, *one.Status.State) {
					continue
				}
				if st.Spec.Fleets {
					one.InstanceFleetId = awsapi.Ptr(g.ID)
				} else {
					one.InstanceGroupId = awsapi.Ptr(g.ID)
				}
				all = append(all, one)
			}
		}
	})
	if err == nil && !known {
		err = invalid("Instance group id '%s' is not valid.", *in.InstanceGroupId)
	}
	if err != nil {
		return nil, err
	}
	page, marker, err := paged(all, in.Marker, func(i emrapi.Instance) string { return *i.Id })
	return &emrapi.ListInstancesOutput{Instances: page, Marker: marker}, err
}

// ListBootstrapActions lists the bootstrap actions that the cluster was made with.
func (s *Service) ListBootstrapActions(ctx context.Context, in *emrapi.ListBootstrapActionsInput) (*emrapi.ListBootstrapActionsOutput, error) {
	out := &emrapi.ListBootstrapActionsOutput{BootstrapActions: []emrapi.Command{}}
	err := s.view(ctx, in.ClusterId, notValid, func(st *cluster.State) {
		for _, b := range st.Spec.Request.BootstrapActions {
			out.BootstrapActions = append(out.BootstrapActions, emrapi.Command{Name: awsapi.Ptr(b.Name),
				ScriptPath: awsapi.Ptr(b.ScriptBootstrapAction.Path), Args: b.ScriptBootstrapAction.Args})
		}
	})
	return out, err
}

// DescribeReleaseLabel shows the versions that a label stands for.
func (s *Service) DescribeReleaseLabel(_ context.Context, in *emrapi.DescribeReleaseLabelInput) (*emrapi.DescribeReleaseLabelOutput, error) {
	label := awsapi.Val(in.ReleaseLabel)
	if !labelForm.MatchString(label) {
		return nil, validation("The supplied release label is invalid: %s.", label)
	}
	version := sparkOf(label)
	return &emrapi.DescribeReleaseLabelOutput{ReleaseLabel: &label, Applications: []emrapi.SimplifiedApplication{{Name: awsapi.Ptr("Spark"), Version: &version}}}, nil
}

// ListReleaseLabels lists the labels whose versions are known, the newest first.
func (s *Service) ListReleaseLabels(_ context.Context, in *emrapi.ListReleaseLabelsInput) (*emrapi.ListReleaseLabelsOutput, error) {
	prefix := ""
	if in.Filters != nil {
		prefix = awsapi.Val(in.Filters.Prefix)
		if in.Filters.Application != nil && !strings.HasPrefix(strings.ToLower(*in.Filters.Application), "spark") {
			return &emrapi.ListReleaseLabelsOutput{ReleaseLabels: []string{}}, nil
		}
	}
	var all []string
	for _, r := range releases {
		if strings.HasPrefix(r.label, prefix) {
			all = append(all, r.label)
		}
	}
	at, err := 0, error(nil)
	if in.NextToken != nil {
		if at, err = strconv.Atoi(*in.NextToken); err != nil || at < 0 || at > len(all) {
			return nil, invalid("NextToken is not valid.")
		}
	}
	n := 100
	if in.MaxResults != nil && *in.MaxResults > 0 {
		n = int(min(*in.MaxResults, 100))
	}
	out := &emrapi.ListReleaseLabelsOutput{ReleaseLabels: append([]string{}, all[at:min(at+n, len(all))]...)}
	if at+n < len(all) {
		out.NextToken = awsapi.Ptr(strconv.Itoa(at + n))
	}
	return out, nil
}
