package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/iamapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/lambdaapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

const service = "lambda"

// function is a function's row.
type function struct {
	Account      string            `json:"account"`
	Region       string            `json:"region"`
	Name         string            `json:"name"`
	Runtime      string            `json:"runtime"`
	Role         string            `json:"role"`
	Handler      string            `json:"handler"`
	Description  string            `json:"description,omitempty"`
	Timeout      int64             `json:"timeout"` // seconds
	Memory       int64             `json:"memory"`  // MB
	Environment  map[string]string `json:"environment,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	Architecture string            `json:"architecture"`
	Storage      int64             `json:"storage"`
	Tracing      string            `json:"tracing"`
	LogGroup     string            `json:"logGroup"`
	LogLevels    [2]string         `json:"logLevels,omitzero"`
	Code         code              `json:"code"`
	Modified     time.Time         `json:"modified"`
	Revision     string            `json:"revision"`
	Concurrency  *int64            `json:"concurrency,omitempty"`
	Policy       []statement       `json:"policy,omitempty"`
	PolicyRev    string            `json:"policyRevision,omitempty"`
	Instances    string            `json:"instances"` // changes when running instances become outdated
}

// code says what a function runs.
type code struct {
	SHA256 string `json:"sha256"` // hex, of the zip
	Size   int64  `json:"size"`
}

func (f *function) key() store.Key {
	return store.Key{Account: f.Account, Region: f.Region, Service: service, Kind: "function", ID: f.Name}
}

func (f *function) arn() string { return functionARN(f.Account, f.Region, f.Name) }

func functionARN(account, region, name string) string {
	return "arn:aws:lambda:" + region + ":" + account + ":function:" + name
}

// changed gives f a new revision.
func (f *function) changed(now time.Time) {
	f.Modified = now
	f.Revision = uuid.NewString()
}

// configuration is f as the API shows it.
func (f *function) configuration() *lambdaapi.FunctionConfiguration {
	ptr := awsapi.Ptr[string]
	c := &lambdaapi.FunctionConfiguration{
		FunctionName: &f.Name, FunctionArn: ptr(f.arn()), Runtime: &f.Runtime, Role: &f.Role, Handler: &f.Handler,
		CodeSize: &f.Code.Size, Description: &f.Description, Timeout: &f.Timeout, MemorySize: &f.Memory,
		LastModified: ptr(f.Modified.UTC().Format("2006-01-02T15:04:05.000+0000")), CodeSha256: ptr(f.Code.base64()),
		Version: ptr("$LATEST"), TracingConfig: &lambdaapi.TracingConfigResponse{Mode: &f.Tracing}, RevisionId: &f.Revision,
		State: ptr("Active"), LastUpdateStatus: ptr("Successful"), PackageType: ptr("Zip"),
		Architectures: []string{f.Architecture}, EphemeralStorage: &lambdaapi.EphemeralStorage{Size: f.Storage},
		SnapStart:     &lambdaapi.SnapStartResponse{ApplyOn: ptr("None"), OptimizationStatus: ptr("Off")},
		LoggingConfig: &lambdaapi.LoggingConfig{LogFormat: ptr("Text"), LogGroup: &f.LogGroup},
	}
	if f.Environment != nil {
		c.Environment = &lambdaapi.EnvironmentResponse{Variables: f.Environment}
	}
	return c
}

// The names by which a function may be called: its name, "account:function:name" or an ARN, each with a qualifier or
// without.
var functionName = regexp.MustCompile(`^(?:arn:aws[a-zA-Z-]*:lambda:([a-z0-9-]+):|)(?:(\d{12}):|)(?:function:|)([a-zA-Z0-9_-]{1,140})(?::(\$LATEST|[a-zA-Z0-9_-]+)|)$`)

// resolve finds out which function is meant.
func resolve(ctx context.Context, name string, qualifier *string) (store.Key, error) {
	p := identity.From(ctx)
	m := functionName.FindStringSubmatch(name)
	if m == nil {
		return store.Key{}, awsapi.Errorf(400, "ValidationException", "1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: Member must be the name or the ARN of a function", name)
	}
	f := function{Account: p.Account, Region: p.Region, Name: m[3]}
	if m[1] != "" {
		f.Region = m[1]
	}
	if m[2] != "" {
		f.Account = m[2]
	}
	version := m[4]
	if q := awsapi.Val(qualifier); q != "" {
		if version != "" && version != q {
			return store.Key{}, awsapi.Errorf(400, "InvalidParameterValueException", "The derived qualifier from the function name does not match the specified qualifier.")
		}
		version = q
	}
	if version != "" && version != "$LATEST" {
		return store.Key{}, notFound(f.arn() + ":" + version)
	}
	return f.key(), nil
}

func notFound(arn string) error {
	return awsapi.Errorf(404, "ResourceNotFoundException", "Function not found: %s", arn)
}

// get reads a function's row.
func (s *Service) get(ctx context.Context, k store.Key) (*function, int64, error) {
	row, err := s.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, notFound(functionARN(k.Account, k.Region, k.ID))
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read function %s: %w", k.ID, err)
	}
	f := new(function)
	if err := json.Unmarshal(row.Value, f); err != nil {
		return nil, 0, fmt.Errorf("read function %s: %w", k.ID, err)
	}
	return f, row.Version, nil
}

func (s *Service) find(ctx context.Context, name string, qualifier *string) (*function, error) {
	k, err := resolve(ctx, name, qualifier)
	if err != nil {
		return nil, err
	}
	f, _, err := s.get(ctx, k)
	return f, err
}

// put commits a function's row with the receipt of the call.
func (s *Service) put(ctx context.Context, f *function, version int64, out any) error {
	value, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := awscall.Commit(ctx, s.Store, out, store.RowChange{Key: f.key(), Value: value, IfVersion: version}); err != nil {
		return fmt.Errorf("commit function %s: %w", f.Name, err)
	}
	return nil
}

// change reads a function, has it changed and commits it, again when somebody else came first.
func change[Out any](ctx context.Context, s *Service, name string, qualifier *string, do func(*function) (*Out, error)) (*Out, error) {
	k, err := resolve(ctx, name, qualifier)
	if err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		f, version, err := s.get(ctx, k)
		if err != nil {
			return nil, err
		}
		out, err := do(f)
		if err != nil {
			return nil, err
		}
		err = s.put(ctx, f, version, out)
		if errors.Is(err, store.ErrConflict) && tries < 10 {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.outdated(f)
		return out, nil
	}
}

// invalid is AWS's error for a parameter that passes the model and makes no sense.
func invalid(format string, args ...any) error {
	return awsapi.Errorf(400, "InvalidParameterValueException", format, args...)
}

func lacking(what string) error {
	return invalid("Mayfly does not have %s for functions yet.", what)
}

var pythonRuntime = regexp.MustCompile(`^python3\.(8|9|1[0-9])$`)

func (s *Service) checkRuntime(name string) error {
	switch {
	case name == "provided.al2023" || name == "provided.al2":
		return nil
	case !pythonRuntime.MatchString(name):
		return invalid("Mayfly does not have the runtime %s: it runs provided.al2023, provided.al2 and python3.x.", name)
	case s.Python == "":
		return invalid("The runtime %s needs a Python that Mayfly has not been given: run mayfly setup.", name)
	}
	return nil
}

// AWS: these are Lambda's own and cannot be set. AWS_ENDPOINT_URL and the like can.
var reservedVariables = []string{
	"_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
	"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME",
	"AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	"AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}

func checkEnvironment(vars map[string]string) error {
	var reserved []string
	size := 0
	for k, v := range vars {
		if slices.Contains(reservedVariables, k) {
			reserved = append(reserved, k)
		}
		if strings.ContainsRune(k+v, 0) {
			return invalid("The environment variable %q holds a NUL.", k)
		}
		size += len(k) + len(v)
	}
	if len(reserved) > 0 {
		slices.Sort(reserved)
		return invalid("Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: %s", strings.Join(reserved, ", "))
	}
	if size > 4096 {
		return invalid("Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit.")
	}
	return nil
}

// assumable refuses a role that Lambda could not take. AWS: it has to be there, and its trust policy has to name Lambda.
func (s *Service) assumable(ctx context.Context, role string) error {
	refused := invalid("The role defined for the function cannot be assumed by Lambda.")
	_, name, ok := strings.Cut(role, ":role/")
	if !ok {
		return refused
	}
	out, err := awscall.Typed[iamapi.GetRoleOutput](ctx, s.Calls, awscall.Call{Principal: identity.From(ctx), Service: "iam", Operation: "GetRole"},
		&iamapi.GetRoleInput{RoleName: name[strings.LastIndexByte(name, '/')+1:]})
	if code := awscall.Code(err); code == "NoSuchEntity" || code == "ValidationError" {
		return refused
	}
	if err != nil {
		return fmt.Errorf("look for the role %s: %w", role, err)
	}
	trust, err := url.PathUnescape(awsapi.Val(out.Role.AssumeRolePolicyDocument))
	if err != nil || out.Role.Arn != role || !trusts(trust, "lambda.amazonaws.com") {
		return refused
	}
	return nil
}

// trusts reports whether a role's trust policy lets a service assume it.
func trusts(policy, service string) bool {
	var doc struct{ Statement oneOrMore[json.RawMessage] }
	if json.Unmarshal([]byte(policy), &doc) != nil {
		return false
	}
	for _, text := range doc.Statement {
		var st struct {
			Effect    string
			Action    oneOrMore[string]
			Principal struct{ Service oneOrMore[string] }
		}
		if json.Unmarshal(text, &st) != nil || st.Effect != "Allow" || !slices.Contains(st.Principal.Service, service) {
			continue
		}
		if slices.ContainsFunc(st.Action, func(a string) bool { return a == "*" || a == "sts:*" || strings.EqualFold(a, "sts:AssumeRole") }) {
			return true
		}
	}
	return false
}

// oneOrMore is a member of a policy that may be one value or a list of them.
type oneOrMore[T any] []T

func (l *oneOrMore[T]) UnmarshalJSON(b []byte) error {
	var list []T
	if json.Unmarshal(b, &list) == nil {
		*l = list
		return nil
	}
	var one T
	err := json.Unmarshal(b, &one)
	*l = oneOrMore[T]{one}
	return err
}

// settings are the members that CreateFunction and UpdateFunctionConfiguration share.
type settings struct {
	Runtime, Role, Handler, Description *string
	Timeout, Memory                     *int64
	Environment                         *lambdaapi.Environment
	Storage                             *lambdaapi.EphemeralStorage
	Tracing                             *lambdaapi.TracingConfig
	Logging                             *lambdaapi.LoggingConfig
	VPC                                 *lambdaapi.VpcConfig
	DeadLetter                          *lambdaapi.DeadLetterConfig
	KMS                                 *string
	Layers                              []string
	FileSystems                         []lambdaapi.FileSystemConfig
	Image                               *lambdaapi.ImageConfig
	SnapStart                           *lambdaapi.SnapStart
	Capacity                            *lambdaapi.CapacityProviderConfig
	Durable                             *lambdaapi.DurableConfig
}

// apply sets what is given, or says what cannot be.
func (s *Service) apply(f *function, in settings) error {
	switch {
	case len(in.Layers) > 0:
		return lacking("layers")
	case in.VPC != nil && len(in.VPC.SubnetIds)+len(in.VPC.SecurityGroupIds) > 0:
		return lacking("VPCs")
	case in.DeadLetter != nil && awsapi.Val(in.DeadLetter.TargetArn) != "":
		return lacking("dead-letter queues")
	case awsapi.Val(in.KMS) != "":
		return lacking("KMS keys")
	case len(in.FileSystems) > 0:
		return lacking("file systems")
	case in.Image != nil:
		return lacking("images")
	case in.SnapStart != nil && awsapi.Val(in.SnapStart.ApplyOn) == "PublishedVersions":
		return lacking("SnapStart")
	case in.Capacity != nil:
		return lacking("capacity providers")
	case in.Durable != nil:
		return lacking("durable executions")
	}
	if in.Runtime != nil {
		if err := s.checkRuntime(*in.Runtime); err != nil {
			return err
		}
	}
	if in.Environment != nil {
		if err := checkEnvironment(in.Environment.Variables); err != nil {
			return err
		}
		f.Environment = in.Environment.Variables
		if len(f.Environment) == 0 {
			f.Environment = nil
		}
	}
	set(&f.Runtime, in.Runtime)
	set(&f.Role, in.Role)
	set(&f.Handler, in.Handler)
	set(&f.Description, in.Description)
	set(&f.Timeout, in.Timeout)
	set(&f.Memory, in.Memory)
	if in.Storage != nil {
		f.Storage = in.Storage.Size
	}
	if in.Tracing != nil {
		set(&f.Tracing, in.Tracing.Mode)
	}
	if l := in.Logging; l != nil {
		if awsapi.Val(l.LogFormat) == "JSON" || l.ApplicationLogLevel != nil || l.SystemLogLevel != nil {
			return lacking("logs in JSON format")
		}
		set(&f.LogGroup, l.LogGroup)
	}
	return nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// CreateFunction makes a function, which is active at once.
func (s *Service) CreateFunction(ctx context.Context, in *lambdaapi.CreateFunctionInput) (*lambdaapi.CreateFunctionOutput, error) {
	k, err := resolve(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case len(k.ID) > 64:
		return nil, awsapi.Errorf(400, "ValidationException", "1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64", k.ID)
	case awsapi.Val(in.PackageType) == "Image", in.Code != nil && in.Code.ImageUri != nil:
		return nil, lacking("images")
	case in.Runtime == nil || awsapi.Val(in.Handler) == "":
		return nil, invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	case awsapi.Val(in.Publish) || in.PublishTo != nil:
		return nil, lacking("versions")
	case in.CodeSigningConfigArn != nil:
		return nil, lacking("code signing")
	case in.TenancyConfig != nil:
		return nil, lacking("tenants")
	}
	f := &function{
		Account: k.Account, Region: k.Region, Name: k.ID, Timeout: 3, Memory: 128, Tags: in.Tags, Architecture: "x86_64",
		Storage: 512, Tracing: "PassThrough", LogGroup: "/aws/lambda/" + k.ID, Instances: uuid.NewString(),
	}
	if len(in.Architectures) > 0 {
		f.Architecture = in.Architectures[0]
	}
	err = s.apply(f, settings{
		Runtime: in.Runtime, Role: &in.Role, Handler: in.Handler, Description: in.Description, Timeout: in.Timeout, Memory: in.MemorySize,
		Environment: in.Environment, Storage: in.EphemeralStorage, Tracing: in.TracingConfig, Logging: in.LoggingConfig,
		VPC: in.VpcConfig, DeadLetter: in.DeadLetterConfig, KMS: in.KMSKeyArn, Layers: in.Layers, FileSystems: in.FileSystemConfigs,
		Image: in.ImageConfig, SnapStart: in.SnapStart, Capacity: in.CapacityProviderConfig, Durable: in.DurableConfig,
	})
	if err != nil {
		return nil, err
	}
	if _, _, err := s.get(ctx, k); err == nil && awscall.RequestKey(ctx) == "" {
		return nil, exists(f)
	}
	if err := s.assumable(ctx, in.Role); err != nil {
		return nil, err
	}
	if in.Code == nil {
		return nil, invalid("Please provide a source for function code.")
	}
	if f.Code, err = s.fetch(ctx, in.Code); err != nil {
		return nil, err
	}
	f.changed(s.Clock.Now())
	out := f.configuration()
	err = s.put(ctx, f, store.Absent, out)
	if errors.Is(err, store.ErrConflict) && awscall.RequestKey(ctx) == "" {
		return nil, exists(f)
	}
	if errors.Is(err, store.ErrConflict) { // by its own repetition, which has left a receipt, or by somebody else
		if _, e := s.Store.Receipt(ctx, awscall.ReceiptKey(awscall.Call{Service: service, Operation: "CreateFunction", RequestKey: awscall.RequestKey(ctx)})); errors.Is(e, store.ErrNotFound) {
			return nil, exists(f)
		}
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func exists(f *function) error {
	return awsapi.Errorf(409, "ResourceConflictException", "Function already exist: %s", f.Name)
}

// GetFunction describes a function, with a link to its zip.
func (s *Service) GetFunction(ctx context.Context, in *lambdaapi.GetFunctionInput) (*lambdaapi.GetFunctionOutput, error) {
	f, err := s.find(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &lambdaapi.GetFunctionOutput{
		Configuration: f.configuration(), Code: &lambdaapi.FunctionCodeLocation{RepositoryType: awsapi.Ptr("S3"), Location: awsapi.Ptr(s.location(f))}, Tags: f.Tags,
	}
	if f.Concurrency != nil {
		out.Concurrency = &lambdaapi.Concurrency{ReservedConcurrentExecutions: f.Concurrency}
	}
	return out, nil
}

// GetFunctionConfiguration describes a function without its code and tags.
func (s *Service) GetFunctionConfiguration(ctx context.Context, in *lambdaapi.GetFunctionConfigurationInput) (*lambdaapi.GetFunctionConfigurationOutput, error) {
	f, err := s.find(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return f.configuration(), nil
}

func checkRevision(f *function, want *string) error {
	if want != nil && *want != f.Revision {
		return awsapi.Errorf(412, "PreconditionFailedException", "The RevisionId provided does not match the latest RevisionId. Call the GetFunction/GetAlias API to retrieve the latest RevisionId")
	}
	return nil
}

// UpdateFunctionCode gives the function other code. Running invocations end with the old one.
func (s *Service) UpdateFunctionCode(ctx context.Context, in *lambdaapi.UpdateFunctionCodeInput) (*lambdaapi.UpdateFunctionCodeOutput, error) {
	switch {
	case in.ImageUri != nil:
		return nil, lacking("images")
	case awsapi.Val(in.Publish) || in.PublishTo != nil:
		return nil, lacking("versions")
	case in.SourceKMSKeyArn != nil:
		return nil, lacking("KMS keys")
	}
	if _, err := s.find(ctx, in.FunctionName, nil); err != nil {
		return nil, err
	}
	c, err := s.fetch(ctx, &lambdaapi.FunctionCode{ZipFile: in.ZipFile, S3Bucket: in.S3Bucket, S3Key: in.S3Key, S3ObjectVersion: in.S3ObjectVersion})
	if err != nil {
		return nil, err
	}
	update := func(f *function) (*lambdaapi.FunctionConfiguration, error) {
		if err := checkRevision(f, in.RevisionId); err != nil {
			return nil, err
		}
		f.Code, f.Instances = c, uuid.NewString()
		if len(in.Architectures) > 0 {
			f.Architecture = in.Architectures[0]
		}
		f.changed(s.Clock.Now())
		return f.configuration(), nil
	}
	if awsapi.Val(in.DryRun) {
		f, err := s.find(ctx, in.FunctionName, nil)
		if err != nil {
			return nil, err
		}
		return update(f)
	}
	return change(ctx, s, in.FunctionName, nil, update)
}

// UpdateFunctionConfiguration changes what is given.
func (s *Service) UpdateFunctionConfiguration(ctx context.Context, in *lambdaapi.UpdateFunctionConfigurationInput) (*lambdaapi.UpdateFunctionConfigurationOutput, error) {
	if in.Role != nil {
		if err := s.assumable(ctx, *in.Role); err != nil {
			return nil, err
		}
	}
	return change(ctx, s, in.FunctionName, nil, func(f *function) (*lambdaapi.FunctionConfiguration, error) {
		if err := checkRevision(f, in.RevisionId); err != nil {
			return nil, err
		}
		err := s.apply(f, settings{
			Runtime: in.Runtime, Role: in.Role, Handler: in.Handler, Description: in.Description, Timeout: in.Timeout, Memory: in.MemorySize,
			Environment: in.Environment, Storage: in.EphemeralStorage, Tracing: in.TracingConfig, Logging: in.LoggingConfig,
			VPC: in.VpcConfig, DeadLetter: in.DeadLetterConfig, KMS: in.KMSKeyArn, Layers: in.Layers, FileSystems: in.FileSystemConfigs,
			Image: in.ImageConfig, SnapStart: in.SnapStart, Capacity: in.CapacityProviderConfig, Durable: in.DurableConfig,
		})
		if err != nil {
			return nil, err
		}
		f.Instances = uuid.NewString()
		f.changed(s.Clock.Now())
		return f.configuration(), nil
	})
}

// DeleteFunction forgets the function. Invocations that run go on to their end.
func (s *Service) DeleteFunction(ctx context.Context, in *lambdaapi.DeleteFunctionInput) (*lambdaapi.DeleteFunctionOutput, error) {
	if q := awsapi.Val(in.Qualifier); q == "$LATEST" {
		return nil, invalid("$LATEST version cannot be deleted without deleting the function.")
	}
	k, err := resolve(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	f, version, err := s.get(ctx, k)
	if err != nil {
		return nil, err
	}
	out := &lambdaapi.DeleteFunctionOutput{}
	if err := awscall.Commit(ctx, s.Store, out, store.RowChange{Key: k, Delete: true, IfVersion: version}); err != nil {
		return nil, fmt.Errorf("delete function %s: %w", f.Name, err)
	}
	f.Instances = ""
	s.outdated(f)
	return out, nil
}

// ListFunctions lists the functions of the account and region.
func (s *Service) ListFunctions(ctx context.Context, in *lambdaapi.ListFunctionsInput) (*lambdaapi.ListFunctionsOutput, error) {
	limit := int64(50)
	if in.MaxItems != nil {
		limit = min(limit, *in.MaxItems)
	}
	p := identity.From(ctx)
	rows, err := s.Store.List(ctx, store.Query{
		Account: p.Account, Region: p.Region, Service: service, Kind: "function", After: awsapi.Val(in.Marker), Limit: int(limit) + 1,
	})
	if errors.Is(err, store.ErrCursor) {
		return nil, invalid("Invalid marker.")
	}
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	out := &lambdaapi.ListFunctionsOutput{Functions: []lambdaapi.FunctionConfiguration{}}
	for i, row := range rows {
		if i == int(limit) {
			out.NextMarker = awsapi.Ptr(rows[i-1].Cursor)
			break
		}
		f := new(function)
		if err := json.Unmarshal(row.Value, f); err != nil {
			return nil, fmt.Errorf("read function %s: %w", row.Key.ID, err)
		}
		c := f.configuration()
		c.State, c.LastUpdateStatus = nil, nil // AWS: a listing does not have them
		out.Functions = append(out.Functions, *c)
	}
	return out, nil
}

// ListVersionsByFunction lists the one version that there is.
func (s *Service) ListVersionsByFunction(ctx context.Context, in *lambdaapi.ListVersionsByFunctionInput) (*lambdaapi.ListVersionsByFunctionOutput, error) {
	f, err := s.find(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	c := f.configuration()
	c.FunctionArn = awsapi.Ptr(f.arn() + ":$LATEST")
	return &lambdaapi.ListVersionsByFunctionOutput{Versions: []lambdaapi.FunctionConfiguration{*c}}, nil
}

// TagResource adds tags.
func (s *Service) TagResource(ctx context.Context, in *lambdaapi.TagResourceInput) (*lambdaapi.TagResourceOutput, error) {
	return change(ctx, s, in.Resource, nil, func(f *function) (*lambdaapi.TagResourceOutput, error) {
		tags := maps.Clone(f.Tags)
		if tags == nil {
			tags = map[string]string{}
		}
		maps.Copy(tags, in.Tags)
		if len(tags) > 50 {
			return nil, invalid("The number of tags exceeds the limit of 50.")
		}
		f.Tags = tags
		return &lambdaapi.TagResourceOutput{}, nil
	})
}

// UntagResource removes tags.
func (s *Service) UntagResource(ctx context.Context, in *lambdaapi.UntagResourceInput) (*lambdaapi.UntagResourceOutput, error) {
	return change(ctx, s, in.Resource, nil, func(f *function) (*lambdaapi.UntagResourceOutput, error) {
		for _, k := range in.TagKeys {
			delete(f.Tags, k)
		}
		return &lambdaapi.UntagResourceOutput{}, nil
	})
}

// ListTags lists the function's tags.
func (s *Service) ListTags(ctx context.Context, in *lambdaapi.ListTagsInput) (*lambdaapi.ListTagsOutput, error) {
	f, err := s.find(ctx, in.Resource, nil)
	if err != nil {
		return nil, err
	}
	tags := f.Tags
	if tags == nil {
		tags = map[string]string{} // AWS: the member is there without tags too
	}
	return &lambdaapi.ListTagsOutput{Tags: tags}, nil
}

// PutFunctionConcurrency bounds how many invocations of the function run at once.
func (s *Service) PutFunctionConcurrency(ctx context.Context, in *lambdaapi.PutFunctionConcurrencyInput) (*lambdaapi.PutFunctionConcurrencyOutput, error) {
	return change(ctx, s, in.FunctionName, nil, func(f *function) (*lambdaapi.Concurrency, error) {
		f.Concurrency = &in.ReservedConcurrentExecutions
		return &lambdaapi.Concurrency{ReservedConcurrentExecutions: f.Concurrency}, nil
	})
}

// GetFunctionConcurrency tells the bound.
func (s *Service) GetFunctionConcurrency(ctx context.Context, in *lambdaapi.GetFunctionConcurrencyInput) (*lambdaapi.GetFunctionConcurrencyOutput, error) {
	f, err := s.find(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	return &lambdaapi.GetFunctionConcurrencyOutput{ReservedConcurrentExecutions: f.Concurrency}, nil
}

// DeleteFunctionConcurrency removes the bound.
func (s *Service) DeleteFunctionConcurrency(ctx context.Context, in *lambdaapi.DeleteFunctionConcurrencyInput) (*lambdaapi.DeleteFunctionConcurrencyOutput, error) {
	return change(ctx, s, in.FunctionName, nil, func(f *function) (*lambdaapi.DeleteFunctionConcurrencyOutput, error) {
		f.Concurrency = nil
		return &lambdaapi.DeleteFunctionConcurrencyOutput{}, nil
	})
}
