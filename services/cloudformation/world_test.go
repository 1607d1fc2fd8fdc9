package cloudformation_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/cfnapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/ec2api"
	"github.com/mayfly-run/mayfly/internal/awsapi/emrapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/iamapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awsapi/snsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/gateway"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/wake"
	"github.com/mayfly-run/mayfly/services/cloudformation"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
)

// fakes are the services that stacks call, reduced to ledgers: what there is, and what was called.
type fakes struct {
	mu        sync.Mutex
	calls     []string
	roles     map[string]bool
	profiles  map[string]bool
	clusters  map[string]string // id to state
	protected bool
	reason    string // why clusters fail; empty: they do not
	flow      *emrapi.RunJobFlowInput
	by        identity.Principal // who made the last cluster
	published []string
	objects   map[string]string
	wake      *wake.Bus
	seen      wake.Bus // tells of "clusters" and "published"
	flaky     int      // so many calls of RunJobFlow fail after having done it
}

func (f *fakes) note(format string, args ...any) {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fakes) set(id, state string) {
	f.mu.Lock()
	f.clusters[id] = state
	f.mu.Unlock()
	f.wake.Changed(id)
}

func locked[In, Out any](f *fakes, g func(context.Context, *In) (*Out, error)) func(context.Context, *In) (*Out, error) {
	return func(ctx context.Context, in *In) (*Out, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return g(ctx, in)
	}
}

func (f *fakes) services(st store.Store) []*awscall.Service {
	iam, emr, ec2, s3, sns := awscall.NewService("iam"), awscall.NewService("elasticmapreduce"), awscall.NewService("ec2"), awscall.NewService("s3"), awscall.NewService("sns")
	awscall.Handle(iam, "CreateRole", locked(f, func(_ context.Context, in *iamapi.CreateRoleInput) (*iamapi.CreateRoleOutput, error) {
		f.note("CreateRole %s", in.RoleName)
		if f.roles[in.RoleName] {
			return nil, awsapi.Errorf(409, "EntityAlreadyExists", "Role with name %s already exists.", in.RoleName)
		}
		f.roles[in.RoleName] = true
		return &iamapi.CreateRoleOutput{Role: &iamapi.Role{RoleName: in.RoleName, Arn: "arn:aws:iam::000000000000:role/" + in.RoleName, RoleId: "AROA", Path: "/"}}, nil
	}))
	awscall.Handle(iam, "GetRole", locked(f, func(_ context.Context, in *iamapi.GetRoleInput) (*iamapi.GetRoleOutput, error) {
		if !f.roles[in.RoleName] {
			return nil, awsapi.Errorf(404, "NoSuchEntity", "The role with name %s cannot be found.", in.RoleName)
		}
		return &iamapi.GetRoleOutput{Role: &iamapi.Role{RoleName: in.RoleName}}, nil
	}))
	awscall.Handle(iam, "DeleteRole", locked(f, func(_ context.Context, in *iamapi.DeleteRoleInput) (*iamapi.DeleteRoleOutput, error) {
		delete(f.roles, in.RoleName)
		return &iamapi.DeleteRoleOutput{}, nil
	}))
	awscall.Handle(iam, "ListRolePolicies", func(context.Context, *iamapi.ListRolePoliciesInput) (*iamapi.ListRolePoliciesOutput, error) {
		return &iamapi.ListRolePoliciesOutput{}, nil
	})
	awscall.Handle(iam, "ListAttachedRolePolicies", func(context.Context, *iamapi.ListAttachedRolePoliciesInput) (*iamapi.ListAttachedRolePoliciesOutput, error) {
		return &iamapi.ListAttachedRolePoliciesOutput{}, nil
	})
	awscall.Handle(iam, "CreateInstanceProfile", locked(f, func(_ context.Context, in *iamapi.CreateInstanceProfileInput) (*iamapi.CreateInstanceProfileOutput, error) {
		f.profiles[in.InstanceProfileName] = true
		return &iamapi.CreateInstanceProfileOutput{InstanceProfile: &iamapi.InstanceProfile{InstanceProfileName: in.InstanceProfileName, Arn: "arn:p"}}, nil
	}))
	awscall.Handle(iam, "AddRoleToInstanceProfile", locked(f, func(_ context.Context, in *iamapi.AddRoleToInstanceProfileInput) (*iamapi.AddRoleToInstanceProfileOutput, error) {
		if !f.roles[in.RoleName] {
			return nil, awsapi.Errorf(404, "NoSuchEntity", "The role with name %s cannot be found.", in.RoleName)
		}
		return &iamapi.AddRoleToInstanceProfileOutput{}, nil
	}))
	awscall.Handle(iam, "RemoveRoleFromInstanceProfile", func(context.Context, *iamapi.RemoveRoleFromInstanceProfileInput) (*iamapi.RemoveRoleFromInstanceProfileOutput, error) {
		return &iamapi.RemoveRoleFromInstanceProfileOutput{}, nil
	})
	awscall.Handle(iam, "DeleteInstanceProfile", locked(f, func(_ context.Context, in *iamapi.DeleteInstanceProfileInput) (*iamapi.DeleteInstanceProfileOutput, error) {
		delete(f.profiles, in.InstanceProfileName)
		return &iamapi.DeleteInstanceProfileOutput{}, nil
	}))
	awscall.Handle(emr, "RunJobFlow", locked(f, func(ctx context.Context, in *emrapi.RunJobFlowInput) (*emrapi.RunJobFlowOutput, error) {
		id := fmt.Sprintf("j-%d", len(f.clusters)+1)
		f.note("RunJobFlow %s", id)
		f.flow, f.by = in, identity.From(ctx)
		f.clusters[id] = "STARTING"
		f.seen.Changed("clusters")
		out := &emrapi.RunJobFlowOutput{JobFlowId: &id}
		var b store.Batch
		if err := awscall.Receipted(ctx, &b, out); err != nil {
			return nil, err
		}
		if err := st.Commit(ctx, b); err != nil {
			return nil, err
		}
		if f.flaky > 0 {
			f.flaky--
			return nil, awsapi.Errorf(500, "InternalServerException", "the answer was lost")
		}
		return out, nil
	}))
	awscall.Handle(emr, "DescribeCluster", locked(f, func(_ context.Context, in *emrapi.DescribeClusterInput) (*emrapi.DescribeClusterOutput, error) {
		state, ok := f.clusters[in.ClusterId]
		if !ok {
			return nil, awsapi.Errorf(400, "InvalidRequestException", "Cluster id '%s' is not valid.", in.ClusterId)
		}
		return &emrapi.DescribeClusterOutput{Cluster: &emrapi.Cluster{Id: &in.ClusterId, MasterPublicDnsName: awsapi.Ptr("master"),
			Status: &emrapi.ClusterStatus{State: &state, StateChangeReason: &emrapi.ClusterStateChangeReason{Code: awsapi.Ptr("BOOTSTRAP_FAILURE"), Message: &f.reason}}}}, nil
	}))
	awscall.Handle(emr, "SetTerminationProtection", locked(f, func(_ context.Context, in *emrapi.SetTerminationProtectionInput) (*emrapi.SetTerminationProtectionOutput, error) {
		f.protected = in.TerminationProtected
		return &emrapi.SetTerminationProtectionOutput{}, nil
	}))
	awscall.Handle(emr, "TerminateJobFlows", locked(f, func(_ context.Context, in *emrapi.TerminateJobFlowsInput) (*emrapi.TerminateJobFlowsOutput, error) {
		if f.protected {
			return nil, awsapi.Errorf(400, "ValidationException", "Could not shut down one or more job flows since they are termination protected.")
		}
		for _, id := range in.JobFlowIds {
			f.note("TerminateJobFlows %s", id)
			f.clusters[id] = "TERMINATING"
			f.seen.Changed("clusters")
		}
		return &emrapi.TerminateJobFlowsOutput{}, nil
	}))
	awscall.Handle(ec2, "DescribeKeyPairs", func(_ context.Context, in *ec2api.DescribeKeyPairsInput) (*ec2api.DescribeKeyPairsOutput, error) {
		if in.KeyNames[0] != "known" {
			return nil, awsapi.Errorf(400, "InvalidKeyPair.NotFound", "The key pair '%s' does not exist", in.KeyNames[0])
		}
		return &ec2api.DescribeKeyPairsOutput{}, nil
	})
	awscall.Handle(s3, "GetObject", locked(f, func(_ context.Context, in *s3api.GetObjectInput) (*s3api.GetObjectOutput, error) {
		text, ok := f.objects[in.Bucket+"/"+in.Key]
		if !ok {
			return nil, awsapi.Errorf(404, "NoSuchKey", "The specified key does not exist.")
		}
		return &s3api.GetObjectOutput{Body: io.NopCloser(strings.NewReader(text))}, nil
	}))
	awscall.Handle(sns, "Publish", locked(f, func(_ context.Context, in *snsapi.PublishInput) (*snsapi.PublishOutput, error) {
		f.published = append(f.published, in.Message)
		f.seen.Changed("published")
		return &snsapi.PublishOutput{MessageId: awsapi.Ptr("m")}, nil
	}))
	return []*awscall.Service{iam, emr, ec2, s3, sns}
}

// world is a server with a CloudFormation of our own and fakes around it.
type world struct {
	*fakes
	t     *testing.T
	store store.Store
	to    awscall.Caller
	svc   *cloudformation.Service
	loop  *durable.Loop
	http  *httptest.Server
	ctx   context.Context
}

var person = identity.Principal{Kind: identity.User, Account: gateway.DefaultAccount, Region: "us-east-1", ARN: "arn:aws:iam::000000000000:root"}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: memory.New(), ctx: identity.With(t.Context(), person),
		fakes: &fakes{roles: map[string]bool{}, profiles: map[string]bool{}, clusters: map[string]string{}, objects: map[string]string{}, wake: &wake.Bus{}}}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	log := slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	w.loop = durable.New(durable.Config{Store: w.store, Log: log, Fatal: func(err error) { w.t.Errorf("fatal: %v", err) }})
	gate, err := gateway.New(w.t.Context(), gateway.Config{Store: w.store, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	w.to, w.http = gate, httptest.NewServer(gate)
	w.svc = cloudformation.New(cloudformation.Config{Store: w.store, Loop: w.loop, Log: log, Calls: gate, Wake: w.wake, Endpoint: func() string { return w.http.URL }})
	gate.Register(w.services(w.store)...)
	gate.Register(w.svc.API())
	if err := w.loop.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop() {
	w.http.Close()
	w.loop.Stop()
}

// restart ends the server and begins anew on what the store holds.
func (w *world) restart() {
	w.stop()
	w.wake = &wake.Bus{}
	w.start()
}

func call[Out any](w *world, op string, in any) (*Out, error) {
	return awscall.Typed[Out](w.ctx, w.to, awscall.Call{Principal: identity.From(w.ctx), Service: "cloudformation", Operation: op}, in)
}

func must[Out any](w *world, op string, in any) *Out {
	w.t.Helper()
	out, err := call[Out](w, op, in)
	if err != nil {
		w.t.Fatalf("%s: %v", op, err)
	}
	return out
}

// until waits for the stack's status; whatever hangs is ended by the test's own time limit.
func (w *world) until(stack string, statuses ...string) api.Stack {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	changed := make(chan struct{}, 1)
	look := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	if w.wake != nil {
		defer w.wake.Watch(stack, look)()
	}
	for {
		if w.wake == nil {
			defer clock.System{}.AfterFunc(50*time.Millisecond, look).Stop()
		}
		out, err := call[api.DescribeStacksOutput](w, "DescribeStacks", &api.DescribeStacksInput{StackName: &stack})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, s := range statuses {
			if out.Stacks[0].StackStatus == s {
				return out.Stacks[0]
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			w.t.Fatalf("%s stays %s: %v", stack, out.Stacks[0].StackStatus, errors.Join(ctx.Err()))
		}
	}
}
