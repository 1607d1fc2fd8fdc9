package emr

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/emr/cluster"
	"github.com/mayfly-run/mayfly/store"
)

func validation(format string, args ...any) error {
	return awsapi.Errorf(400, "ValidationException", format, args...)
}

func invalid(format string, args ...any) error {
	return awsapi.Errorf(400, "InvalidRequestException", format, args...)
}

// randomID is n random characters of EMR's ids.
func randomID(prefix, alphabet string, n int) string {
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return prefix + string(b)
}

const (
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	hex   = "0123456789abcdef"
)

// RunJobFlow starts a cluster.
func (s *Service) RunJobFlow(ctx context.Context, in *emrapi.RunJobFlowInput) (*emrapi.RunJobFlowOutput, error) {
	p := identity.From(ctx)
	if err := checkRun(in); err != nil {
		return nil, err
	}
	spec := cluster.Spec{ID: randomID("j-", upper, 13), Principal: p, Request: *in}
	spec.ARN = fmt.Sprintf("arn:aws:elasticmapreduce:%s:%s:cluster/%s", p.Region, p.Account, spec.ID)
	spec.Request.Steps = nil
	groups, fleets, err := groupsOf(in.Instances)
	if err != nil {
		return nil, err
	}
	spec.Groups, spec.Fleets = groups, fleets
	if err := checkSteps(in.Steps); err != nil {
		return nil, err
	}
	settings := cluster.Settings{
		KeepAlive: awsapi.Val(in.Instances.KeepJobFlowAliveWhenNoSteps), Protected: awsapi.Val(in.Instances.TerminationProtected),
		Visible: in.VisibleToAllUsers == nil || *in.VisibleToAllUsers, Concurrency: 1, Tags: in.Tags,
	}
	if n := in.StepConcurrencyLevel; n != nil {
		if settings.Concurrency = int(*n); *n < 1 || *n > 256 {
			return nil, validation("Invalid step concurrency level. Allowed level is from 1 to 256")
		}
	}
	if settings.Concurrency > 1 {
		for _, st := range in.Steps {
			if (&cluster.Step{Config: st}).Action() != cluster.Continue {
				return nil, validation("The ActionOnFailure of steps must be CONTINUE while the step concurrency level is greater than 1.")
			}
		}
	}
	if in.AutoTerminationPolicy != nil {
		idle, err := idleSeconds(in.AutoTerminationPolicy)
		if err != nil {
			return nil, err
		}
		settings.IdleSeconds, settings.HasPolicy = idle, true
	}
	return durable.Reply[*emrapi.RunJobFlowOutput](s.clusters.Do(ctx, EntityID(spec.ID), durable.Input[cluster.Input]{
		By: p, RequestKey: awscall.RequestKey(ctx),
		Body: cluster.Input{Create: &cluster.Create{Spec: spec, Settings: settings, Steps: in.Steps,
			Reply: &emrapi.RunJobFlowOutput{JobFlowId: &spec.ID, ClusterArn: &spec.ARN}}},
	}))
}

// checkRun refuses what AWS refuses, and what Mayfly cannot do.
func checkRun(in *emrapi.RunJobFlowInput) error {
	label := awsapi.Val(in.ReleaseLabel)
	switch {
	case label == "" && in.AmiVersion == nil:
		return validation("Must specify exactly one of the following: release label, AMI version, or Hadoop version.")
	case label == "":
		return validation("AMI versions are too old for Mayfly; give a release label such as %s.", newestLabel)
	case !labelForm.MatchString(label):
		return validation("The supplied release label is invalid: %s.", label)
	case in.ServiceRole == nil:
		return validation("ServiceRole is required for creating cluster.")
	case in.ManagedScalingPolicy != nil:
		return validation("Mayfly does not scale clusters yet: leave out ManagedScalingPolicy.")
	case in.SecurityConfiguration != nil:
		return invalid("Security configuration with name '%s' does not exist.", *in.SecurityConfiguration)
	}
	if uri := awsapi.Val(in.LogUri); uri != "" {
		if _, _, err := splitS3(uri); err != nil {
			return validation("Invalid S3 LogUri: %s", uri)
		}
	}
	if len(in.Steps) > cluster.MaxSteps {
		return validation("Maximum number of active and pending steps (256) exceeded.")
	}
	if len(in.BootstrapActions) > 16 {
		return validation("At most 16 bootstrap actions may be given.")
	}
	for _, b := range in.BootstrapActions {
		if b.ScriptBootstrapAction == nil {
			return validation("The bootstrap action %s has no script.", b.Name)
		}
		if _, _, err := splitS3(b.ScriptBootstrapAction.Path); err != nil {
			return validation("The bootstrap action %s is not in S3: %s", b.Name, b.ScriptBootstrapAction.Path)
		}
	}
	return checkConfigurations(in.Configurations)
}

// maxNodes is how many nodes a group may have: more is a mistake on one machine.
const maxNodes = 100

// groupsOf makes the nodes of a cluster, with their ids.
func groupsOf(in *emrapi.JobFlowInstancesConfig) (groups []cluster.Group, fleets bool, err error) {
	ways := 0
	for _, given := range []bool{in.InstanceGroups != nil, in.InstanceFleets != nil, in.InstanceCount != nil || in.MasterInstanceType != nil || in.SlaveInstanceType != nil} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		return nil, false, validation("Please configure instances using one and only one of the following: instance groups; instance fleets; instance count, master and slave instance type.")
	case in.InstanceFleets != nil:
		fleets = true
		groups, err = fleetsAsked(in.InstanceFleets)
	case in.InstanceGroups != nil:
		groups, err = groupsAsked(in.InstanceGroups)
	default:
		groups, err = countAsked(in)
	}
	if err == nil {
		err = checkGroups(groups)
	}
	return groups, fleets, err
}

func fleetsAsked(fleets []emrapi.InstanceFleetConfig) (groups []cluster.Group, err error) {
	for _, f := range fleets {
		onDemand, spot := awsapi.Val(f.TargetOnDemandCapacity), awsapi.Val(f.TargetSpotCapacity)
		switch n := onDemand + spot; {
		case f.InstanceFleetType == "MASTER" && n != 1:
			return nil, validation("A master instance fleet can only have a target capacity of 1. Revise the configuration and resubmit.")
		case n < 1 || n > maxNodes:
			return nil, validation("The instance fleet %s must have a target capacity from 1 to %d.", f.InstanceFleetType, maxNodes)
		}
		g := cluster.Group{Name: awsapi.Val(f.Name), Role: f.InstanceFleetType}
		if len(f.InstanceTypeConfigs) > 0 {
			g.Type = f.InstanceTypeConfigs[0].InstanceType
		}
		if onDemand == 0 {
			g.Market = "SPOT"
		}
		groups = append(groups, withNodes("if-", g, onDemand+spot))
	}
	return groups, nil
}

func groupsAsked(asked []emrapi.InstanceGroupConfig) (groups []cluster.Group, err error) {
	for _, g := range asked {
		switch {
		case g.InstanceCount < 1:
			return nil, validation("An instance group must have at least one instance")
		case g.InstanceRole == "MASTER" && g.InstanceCount != 1:
			return nil, validation("A master instance group must specify a single instance")
		case g.InstanceCount > maxNodes:
			return nil, validation("Mayfly runs at most %d nodes of a group on one machine.", maxNodes)
		case g.AutoScalingPolicy != nil:
			return nil, validation("Mayfly does not scale clusters yet: leave out AutoScalingPolicy.")
		}
		groups = append(groups, withNodes("ig-", cluster.Group{Name: awsapi.Val(g.Name), Role: g.InstanceRole, Type: g.InstanceType,
			Market: awsapi.Val(g.Market), Bid: awsapi.Val(g.BidPrice)}, g.InstanceCount))
	}
	return groups, nil
}

// countAsked makes groups of a number of instances and their types.
func countAsked(in *emrapi.JobFlowInstancesConfig) ([]cluster.Group, error) {
	n := int64(1)
	if in.InstanceCount != nil {
		n = *in.InstanceCount
	}
	if n < 1 || n > maxNodes {
		return nil, validation("The instance count must be from 1 to %d.", maxNodes)
	}
	master, slave := awsapi.Val(in.MasterInstanceType), awsapi.Val(in.SlaveInstanceType)
	if master == "" {
		master = slave
	}
	if slave == "" {
		slave = master
	}
	if master == "" {
		return nil, validation("The instance type of the master node is missing.")
	}
	groups := []cluster.Group{withNodes("ig-", cluster.Group{Role: "MASTER", Type: master}, 1)}
	if n > 1 {
		groups = append(groups, withNodes("ig-", cluster.Group{Role: "CORE", Type: slave}, n-1))
	}
	return groups, nil
}

// withNodes gives a group its id, its nodes, and what was left out.
func withNodes(prefix string, g cluster.Group, n int64) cluster.Group {
	g.ID = randomID(prefix, upper, 13)
	if g.Name == "" {
		g.Name = map[string]string{"MASTER": "Master instance group", "CORE": "Core instance group", "TASK": "Task instance group"}[g.Role]
	}
	if g.Market == "" {
		g.Market = "ON_DEMAND"
	}
	for range n {
		g.Instances = append(g.Instances, cluster.Instance{ID: randomID("ci-", upper, 13), EC2ID: randomID("i-", hex, 17), IP: "127.0.0.1"})
	}
	return g
}

func checkGroups(groups []cluster.Group) error {
	count := map[string]int{}
	for _, g := range groups {
		count[g.Role]++
	}
	switch {
	case count["MASTER"] != 1:
		return validation("A master instance group must specify a single instance")
	case count["CORE"] > 1:
		return validation("Multiple core instance groups supplied, you must specify exactly one core instance group")
	case count["TASK"] > 0 && count["CORE"] == 0:
		return validation("Clusters with task nodes must also define core nodes.")
	}
	return nil
}

func checkSteps(steps []emrapi.StepConfig) error {
	for _, st := range steps {
		if st.HadoopJarStep == nil || st.HadoopJarStep.Jar == "" {
			return validation("The step %s has no jar.", st.Name)
		}
		n := 0
		for _, a := range st.HadoopJarStep.Args {
			n += len(a)
		}
		if n > 10240 {
			return validation("The arguments of the step %s are longer than 10240 characters.", st.Name)
		}
	}
	return nil
}

func idleSeconds(p *emrapi.AutoTerminationPolicy) (int64, error) {
	if p.IdleTimeout == nil {
		return 3600, nil
	}
	if n := *p.IdleTimeout; n < 60 || n > 604800 {
		return 0, validation("Invalid idle timeout. The idle timeout must be from 60 to 604800 seconds.")
	}
	return *p.IdleTimeout, nil
}

// do gives a cluster an input in the name of the caller, who must be of its account.
func (s *Service) do(ctx context.Context, id, unknown string, body cluster.Input) (any, error) {
	if err := s.view(ctx, id, unknown, func(*cluster.State) {}); err != nil {
		return nil, err
	}
	return s.clusters.Do(ctx, EntityID(id), durable.Input[cluster.Input]{
		By: identity.From(ctx), RequestKey: awscall.RequestKey(ctx), Body: body,
	})
}

var clusterForm = regexp.MustCompile(`^j-[A-Z0-9]{1,64}$`)

// The two texts that AWS has for an id that it does not know, by operation.
const (
	notThere = "ValidationException: Specified job flow ID does not exist."
	notValid = "InvalidRequestException: Cluster id '%s' is not valid."
)

// view looks at a cluster of the caller's account and region.
func (s *Service) view(ctx context.Context, id, unknown string, f func(*cluster.State)) error {
	code, text, _ := strings.Cut(strings.ReplaceAll(unknown, "%s", id), ": ")
	missing := awsapi.Errorf(400, code, "%s", text)
	if !clusterForm.MatchString(id) {
		return missing
	}
	p, found := identity.From(ctx), false
	err := s.clusters.View(ctx, EntityID(id), func(st *cluster.State) {
		if owner := st.Spec.Principal; st.State != "" && owner.Account == p.Account && owner.Region == p.Region {
			found = true
			f(st)
		}
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && !found {
		return missing
	}
	return err
}

// AddJobFlowSteps appends steps to a cluster.
func (s *Service) AddJobFlowSteps(ctx context.Context, in *emrapi.AddJobFlowStepsInput) (*emrapi.AddJobFlowStepsOutput, error) {
	if err := checkSteps(in.Steps); err != nil {
		return nil, err
	}
	ids, err := durable.Reply[[]string](s.do(ctx, in.JobFlowId, notThere, cluster.Input{AddSteps: &cluster.AddSteps{Steps: in.Steps}}))
	if err != nil {
		return nil, err
	}
	return &emrapi.AddJobFlowStepsOutput{StepIds: ids}, nil
}

// CancelSteps cancels steps that have not ended.
func (s *Service) CancelSteps(ctx context.Context, in *emrapi.CancelStepsInput) (*emrapi.CancelStepsOutput, error) {
	infos, err := durable.Reply[[]emrapi.CancelStepsInfo](s.do(ctx, in.ClusterId, notValid, cluster.Input{Cancel: &cluster.Cancel{
		Steps: in.StepIds, Kill: awsapi.Val(in.StepCancellationOption) == "TERMINATE_PROCESS"}}))
	if err != nil {
		return nil, err
	}
	return &emrapi.CancelStepsOutput{CancelStepsInfoList: infos}, nil
}

// TerminateJobFlows ends clusters.
func (s *Service) TerminateJobFlows(ctx context.Context, in *emrapi.TerminateJobFlowsInput) (*emrapi.TerminateJobFlowsOutput, error) {
	if len(in.JobFlowIds) > 10 {
		return nil, validation("At most 10 job flow ids may be given.")
	}
	// AWS: all or nothing as to what is checked beforehand.
	for _, id := range in.JobFlowIds {
		protected := false
		if err := s.view(ctx, id, notThere, func(st *cluster.State) { protected = st.Settings.Protected && !st.Ending() }); err != nil {
			return nil, err
		}
		if protected {
			return nil, validation("Could not shut down one or more job flows since they are termination protected.")
		}
	}
	for i, id := range in.JobFlowIds {
		key := awscall.RequestKey(ctx)
		if key != "" {
			key = fmt.Sprintf("%s/%d", key, i)
		}
		_, err := s.clusters.Do(ctx, EntityID(id), durable.Input[cluster.Input]{
			By: identity.From(ctx), RequestKey: key, Body: cluster.Input{Terminate: &cluster.Terminate{}}})
		if err != nil {
			return nil, err
		}
	}
	return &emrapi.TerminateJobFlowsOutput{}, nil
}

func (s *Service) change(ctx context.Context, id, unknown string, c cluster.Change) error {
	_, err := s.do(ctx, id, unknown, cluster.Input{Change: &c})
	return err
}

func (s *Service) changeAll(ctx context.Context, ids []string, c cluster.Change) error {
	for _, id := range ids {
		if err := s.view(ctx, id, notThere, func(*cluster.State) {}); err != nil {
			return err
		}
	}
	for _, id := range ids {
		_, err := s.clusters.Do(ctx, EntityID(id), durable.Input[cluster.Input]{By: identity.From(ctx), Body: cluster.Input{Change: &c}})
		if err != nil {
			return err
		}
	}
	return nil
}

// SetTerminationProtection sets the protection of clusters.
func (s *Service) SetTerminationProtection(ctx context.Context, in *emrapi.SetTerminationProtectionInput) (*emrapi.SetTerminationProtectionOutput, error) {
	return &emrapi.SetTerminationProtectionOutput{}, s.changeAll(ctx, in.JobFlowIds, cluster.Change{Protected: &in.TerminationProtected})
}

// SetKeepJobFlowAliveWhenNoSteps says whether clusters wait for more steps.
func (s *Service) SetKeepJobFlowAliveWhenNoSteps(ctx context.Context, in *emrapi.SetKeepJobFlowAliveWhenNoStepsInput) (*emrapi.SetKeepJobFlowAliveWhenNoStepsOutput, error) {
	return &emrapi.SetKeepJobFlowAliveWhenNoStepsOutput{}, s.changeAll(ctx, in.JobFlowIds, cluster.Change{KeepAlive: &in.KeepJobFlowAliveWhenNoSteps})
}

// SetVisibleToAllUsers is kept and shown.
func (s *Service) SetVisibleToAllUsers(ctx context.Context, in *emrapi.SetVisibleToAllUsersInput) (*emrapi.SetVisibleToAllUsersOutput, error) {
	return &emrapi.SetVisibleToAllUsersOutput{}, s.changeAll(ctx, in.JobFlowIds, cluster.Change{Visible: &in.VisibleToAllUsers})
}

// ModifyCluster sets the step concurrency level.
func (s *Service) ModifyCluster(ctx context.Context, in *emrapi.ModifyClusterInput) (*emrapi.ModifyClusterOutput, error) {
	if in.ExtendedSupport != nil {
		return nil, validation("Mayfly has no extended support to switch.")
	}
	if in.StepConcurrencyLevel == nil {
		return nil, validation("Nothing is to be modified.")
	}
	n := int(*in.StepConcurrencyLevel)
	if n < 1 || n > 256 {
		return nil, validation("Invalid step concurrency level. Allowed level is from 1 to 256")
	}
	if err := s.change(ctx, in.ClusterId, notValid, cluster.Change{Concurrency: &n}); err != nil {
		return nil, err
	}
	return &emrapi.ModifyClusterOutput{StepConcurrencyLevel: in.StepConcurrencyLevel}, nil
}

// PutAutoTerminationPolicy has a cluster end after an idle time.
func (s *Service) PutAutoTerminationPolicy(ctx context.Context, in *emrapi.PutAutoTerminationPolicyInput) (*emrapi.PutAutoTerminationPolicyOutput, error) {
	if in.AutoTerminationPolicy == nil {
		return nil, validation("The auto-termination policy is missing.")
	}
	idle, err := idleSeconds(in.AutoTerminationPolicy)
	if err != nil {
		return nil, err
	}
	return &emrapi.PutAutoTerminationPolicyOutput{}, s.change(ctx, in.ClusterId, notValid, cluster.Change{IdleSeconds: &idle})
}

// GetAutoTerminationPolicy tells the policy, if there is one.
func (s *Service) GetAutoTerminationPolicy(ctx context.Context, in *emrapi.GetAutoTerminationPolicyInput) (*emrapi.GetAutoTerminationPolicyOutput, error) {
	out := &emrapi.GetAutoTerminationPolicyOutput{}
	err := s.view(ctx, in.ClusterId, notValid, func(st *cluster.State) {
		if st.Settings.HasPolicy {
			out.AutoTerminationPolicy = &emrapi.AutoTerminationPolicy{IdleTimeout: awsapi.Ptr(st.Settings.IdleSeconds)}
		}
	})
	return out, err
}

// RemoveAutoTerminationPolicy removes the policy.
func (s *Service) RemoveAutoTerminationPolicy(ctx context.Context, in *emrapi.RemoveAutoTerminationPolicyInput) (*emrapi.RemoveAutoTerminationPolicyOutput, error) {
	return &emrapi.RemoveAutoTerminationPolicyOutput{}, s.change(ctx, in.ClusterId, notValid, cluster.Change{IdleSeconds: awsapi.Ptr(int64(-1))})
}

// AddTags sets tags of a cluster.
func (s *Service) AddTags(ctx context.Context, in *emrapi.AddTagsInput) (*emrapi.AddTagsOutput, error) {
	return &emrapi.AddTagsOutput{}, s.change(ctx, in.ResourceId, notValid, cluster.Change{AddTags: in.Tags})
}

// RemoveTags removes tags of a cluster.
func (s *Service) RemoveTags(ctx context.Context, in *emrapi.RemoveTagsInput) (*emrapi.RemoveTagsOutput, error) {
	return &emrapi.RemoveTagsOutput{}, s.change(ctx, in.ResourceId, notValid, cluster.Change{RemoveTags: in.TagKeys})
}

// splitS3 takes s3://bucket/key apart; the key may be empty.
func splitS3(uri string) (bucket, key string, err error) {
	for _, scheme := range []string{"s3://", "s3n://", "s3a://"} {
		if rest, ok := strings.CutPrefix(uri, scheme); ok {
			bucket, key, _ = strings.Cut(rest, "/")
			if bucket != "" {
				return bucket, key, nil
			}
		}
	}
	return "", "", fmt.Errorf("%s is no s3:// address", uri)
}
