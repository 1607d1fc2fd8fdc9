package cloudformation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/cfnapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/services/cloudformation/resource"
	"github.com/mayfly-run/mayfly/services/cloudformation/stack"
	"github.com/mayfly-run/mayfly/services/cloudformation/template"
)

// body is the template's text from wherever the call has it; previous, if any, is the stack's.
func (s *Service) body(ctx context.Context, inline, from *string, usePrevious bool, previous *stack.Definition) (string, error) {
	given := 0
	for _, is := range []bool{inline != nil, from != nil, usePrevious} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return "", invalid("Either Template URL or Template Body must be specified.")
	case given > 1:
		return "", invalid("You must specify only one of Template URL, Template Body or Use Previous Template.")
	case usePrevious:
		if previous == nil {
			return "", invalid("UsePreviousTemplate cannot be used for a stack that does not exist.")
		}
		return previous.Template, nil
	case inline != nil:
		if len(*inline) > template.MaxBody {
			return "", invalid("1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to %d", template.MaxBody)
		}
		return *inline, nil
	}
	return s.fetch(ctx, *from)
}

var (
	errURL  = invalid("TemplateURL must be a supported URL.")
	awsHost = regexp.MustCompile(`^(?:(.+?)\.)?s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?$`)
)

// object says which S3 object a TemplateURL names. It is always one of Mayfly's own S3: nothing is ever fetched by HTTP.
func (s *Service) object(from string) (in map[string]any, err error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, errURL
	}
	bucket, key := "", strings.TrimPrefix(u.Path, "/")
	own := &url.URL{}
	if s.cfg.Endpoint != nil {
		if o, err := url.Parse(s.cfg.Endpoint()); err == nil {
			own = o
		}
	}
	host := strings.ToLower(u.Hostname())
	local := u.Port() == own.Port() && own.Host != ""
	m := awsHost.FindStringSubmatch(host)
	switch {
	case u.Scheme == "s3":
		bucket = u.Host
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errURL
	case m != nil:
		bucket = m[1]
	case local && slices.Contains([]string{strings.ToLower(own.Hostname()), "127.0.0.1", "localhost", "::1", "s3.localhost"}, host):
	case local && strings.HasSuffix(host, ".s3.localhost"):
		bucket = strings.TrimSuffix(host, ".s3.localhost")
	case local && strings.HasSuffix(host, ".localhost"):
		bucket = strings.TrimSuffix(host, ".localhost")
	case local && strings.HasSuffix(host, "."+strings.ToLower(own.Hostname())):
		bucket = strings.TrimSuffix(host, "."+strings.ToLower(own.Hostname()))
	default:
		return nil, errURL
	}
	if bucket == "" {
		bucket, key, _ = strings.Cut(key, "/")
	}
	if bucket == "" || key == "" {
		return nil, errURL
	}
	in = map[string]any{"Bucket": bucket, "Key": key}
	if v := u.Query().Get("versionId"); v != "" {
		in["VersionId"] = v
	}
	return in, nil
}

func (s *Service) fetch(ctx context.Context, from string) (string, error) {
	in, err := s.object(from)
	if err != nil {
		return "", err
	}
	out, err := s.cfg.Calls.Invoke(ctx, awscall.Call{Principal: who(ctx), Service: "s3", Operation: "GetObject", Input: in})
	var refused *awsapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		return "", invalid("S3 error: %s\nFor more information check http://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html", refused.Message)
	}
	if err != nil {
		return "", err
	}
	var b []byte
	switch v := out["Body"].(type) {
	case []byte:
		b = v
	case io.Reader:
		if c, ok := v.(io.Closer); ok {
			defer c.Close()
		}
		if b, err = io.ReadAll(io.LimitReader(v, template.MaxObject+1)); err != nil {
			return "", fmt.Errorf("read %s: %w", from, err)
		}
	}
	if len(b) > template.MaxObject {
		return "", invalid("Template may not exceed %d bytes in size.", template.MaxObject)
	}
	return string(b), nil
}

// parse reads a template and checks its types and their properties.
func parse(body string) (*template.Template, error) {
	t, err := template.Parse([]byte(body))
	if err != nil {
		return nil, invalid("%s", err)
	}
	var unknown []string
	for _, r := range t.Resources {
		if resource.Find(r.Type) == nil && !slices.Contains(unknown, r.Type) {
			unknown = append(unknown, r.Type)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, invalid("Template format error: Unrecognized resource types: [%s]", strings.Join(unknown, ", "))
	}
	for _, r := range t.Resources {
		if err := resource.Find(r.Type).Check(r.Name, r.Properties); err != nil {
			return nil, invalid("%s", err)
		}
	}
	return t, nil
}

// capabilities says what the caller must acknowledge, and the types because of which.
func capabilities(t *template.Template) (caps []string, why string) {
	var because []string
	needed := ""
	for _, r := range t.Resources {
		typ := resource.Find(r.Type)
		if typ == nil || !typ.IAM {
			continue
		}
		if !slices.Contains(because, r.Type) {
			because = append(because, r.Type)
		}
		if needed == "" {
			needed = "CAPABILITY_IAM"
		}
		if typ.NameOf != "" && r.Properties[typ.NameOf] != nil {
			needed = "CAPABILITY_NAMED_IAM"
		}
	}
	if needed == "" {
		return nil, ""
	}
	slices.Sort(because)
	return []string{needed}, "The following resource(s) require capabilities: [" + strings.Join(because, ", ") + "]"
}

// request is what CreateStack, UpdateStack and CreateChangeSet have in common.
type request struct {
	stackName        string
	stackID          string // where it is known already
	body, url        *string
	usePrevious      bool
	parameters       []api.Parameter
	capabilities     []string
	tags             []api.Tag
	notificationARNs []string
	roleARN          *string
	rollback         *api.RollbackConfiguration
	policies         []*string
	resourceTypes    []string
}

// define checks a request as far as that can be done before anything begins, and says what the stack is to be.
func (s *Service) define(ctx context.Context, r request, previous *stack.Definition) (stack.Definition, error) {
	var def stack.Definition
	for _, p := range r.policies {
		if p != nil {
			return def, invalid("Mayfly does not support stack policies.")
		}
	}
	if r.rollback != nil && len(r.rollback.RollbackTriggers) > 0 {
		return def, invalid("Mayfly does not support rollback triggers.")
	}
	text, err := s.body(ctx, r.body, r.url, r.usePrevious, previous)
	if err != nil {
		return def, err
	}
	t, err := parse(text)
	if err != nil {
		return def, err
	}
	for _, typ := range t.Resources {
		if len(r.resourceTypes) > 0 && !allowed(r.resourceTypes, typ.Type) {
			return def, invalid("Resource type %s is not allowed by parameter ResourceTypes %v", typ.Type, r.resourceTypes)
		}
	}
	need, _ := capabilities(t)
	for _, c := range need {
		if !slices.Contains(r.capabilities, c) && !(c == "CAPABILITY_IAM" && slices.Contains(r.capabilities, "CAPABILITY_NAMED_IAM")) {
			return def, awsapi.Errorf(400, "InsufficientCapabilitiesException", "Requires capabilities : [%s]", c)
		}
	}
	given := map[string]string{}
	for _, p := range r.parameters {
		key := awsapi.Val(p.ParameterKey)
		switch {
		case awsapi.Val(p.UsePreviousValue):
			if previous == nil {
				return def, invalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key not in the previous template", key)
			}
			v, ok := previous.Given()[key]
			if !ok {
				return def, invalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key not in the previous template", key)
			}
			given[key] = v
		case p.ParameterValue == nil:
			return def, invalid("Parameter %s has neither a value nor UsePreviousValue.", key)
		default:
			given[key] = *p.ParameterValue
		}
	}
	values, err := t.Bind(given, func(typ, v string) (bool, error) { return s.exists(ctx, typ, v) })
	if err != nil {
		var e template.Error
		if errors.As(err, &e) {
			return def, invalid("%s", e)
		}
		return def, err
	}
	if err := s.assumable(ctx, awsapi.Val(r.roleARN)); err != nil {
		return def, err
	}
	def = stack.Definition{Template: text, Description: t.Description, Capabilities: r.capabilities, NotificationARNs: r.notificationARNs, RoleARN: awsapi.Val(r.roleARN)}
	for _, p := range t.Parameters {
		def.Parameters = append(def.Parameters, stack.Parameter{Key: p.Name, Value: values[p.Name].Text, NoEcho: p.NoEcho})
	}
	for _, tag := range r.tags {
		if strings.HasPrefix(strings.ToLower(tag.Key), "aws:") {
			return def, invalid("aws: prefixed tag key names are not allowed for external use.")
		}
		def.Tags = append(def.Tags, stack.Tag{Key: tag.Key, Value: tag.Value})
	}
	return def, s.linkExports(ctx, t, values, r, &def)
}

func allowed(patterns []string, typ string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, wild := strings.CutSuffix(p, "*")
		return p == typ || wild && strings.HasPrefix(typ, prefix)
	})
}

// linkExports evaluates all that needs no resource, finds what the template imports, and refuses exports that other stacks
// have.
func (s *Service) linkExports(ctx context.Context, t *template.Template, values template.Values, r request, def *stack.Definition) error {
	p := who(ctx)
	c := &template.Context{Values: values, Account: p.Account, Region: p.Region, StackName: r.stackName, StackID: r.stackID, NotificationARNs: r.notificationARNs}
	var err error
	if c.Conditions, err = t.EvaluateConditions(c); err != nil {
		return invalid("%s", err)
	}
	imports, err := t.Imports(c)
	if err != nil {
		return invalid("%s", err)
	}
	if _, err := t.Active(c); err != nil {
		return invalid("%s", err)
	}
	var exports []string
	for _, o := range t.Outputs {
		if o.Export == nil || o.Condition != "" && !c.Conditions[o.Condition] {
			continue
		}
		if v, err := t.Resolve(o.Export, c); err == nil {
			if name, ok := v.(string); ok {
				exports = append(exports, name)
			}
		}
	}
	if len(imports)+len(exports) == 0 {
		return nil
	}
	known, err := s.exports(ctx)
	if err != nil {
		return err
	}
	for _, name := range exports {
		if e, ok := known[name]; ok && e.Stack.StackName != r.stackName {
			return invalid("Export with name %s is already exported by stack %s.", name, e.Stack.StackName)
		}
	}
	def.Imports = map[string]string{}
	for _, name := range imports {
		e, ok := known[name]
		if !ok {
			return invalid("No export named %s found.", name)
		}
		def.Imports[name] = e.value
	}
	return nil
}

type export struct {
	Record
	value string
}

// exports are the outputs of all stacks that are exported, by their export's name.
func (s *Service) exports(ctx context.Context) (map[string]export, error) {
	records, err := s.records(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]export{}
	for _, r := range records {
		if r.Stack.StackStatus == stack.DeleteComplete {
			continue
		}
		for _, o := range r.Stack.Outputs {
			if o.ExportName != nil {
				out[*o.ExportName] = export{r, awsapi.Val(o.OutputValue)}
			}
		}
	}
	return out, nil
}

// exists looks up what an AWS-specific parameter names.
func (s *Service) exists(ctx context.Context, typ, v string) (bool, error) {
	lookup := map[string][2]string{
		"AWS::EC2::KeyPair::KeyName":  {"DescribeKeyPairs", "KeyNames"},
		"AWS::EC2::Subnet::Id":        {"DescribeSubnets", "SubnetIds"},
		"AWS::EC2::VPC::Id":           {"DescribeVpcs", "VpcIds"},
		"AWS::EC2::SecurityGroup::Id": {"DescribeSecurityGroups", "GroupIds"},
	}
	l, ok := lookup[typ]
	if !ok {
		return true, nil
	}
	_, err := s.cfg.Calls.Invoke(ctx, awscall.Call{Principal: who(ctx), Service: "ec2", Operation: l[0], Input: map[string]any{l[1]: []any{v}}})
	var refused *awsapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		return false, nil
	}
	return err == nil, err
}

// assumable refuses a service role that is not there.
func (s *Service) assumable(ctx context.Context, role string) error {
	if role == "" {
		return nil
	}
	_, name, _ := strings.Cut(role, ":role/")
	_, err := s.cfg.Calls.Invoke(ctx, awscall.Call{Principal: who(ctx), Service: "iam", Operation: "GetRole", Input: map[string]any{"RoleName": name[strings.LastIndexByte(name, '/')+1:]}})
	var refused *awsapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		return invalid("Role %s is invalid or cannot be assumed", role)
	}
	return err
}
