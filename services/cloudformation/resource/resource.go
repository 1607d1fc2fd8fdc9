package resource

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/cloudformation/stack"
)

// Type is a resource type.
type Type struct {
	Name string
	// Properties lists the property names; "!" behind one: required; "~": it can be changed in place.
	Properties string
	Attributes []string // for Fn::GetAtt
	IAM        bool     // needs CAPABILITY_IAM
	NameOf     string   // the property that names it; with IAM: needs CAPABILITY_NAMED_IAM

	// within says of a property that cannot be changed in place whether this change of it can. May be nil.
	within func(property string, before, after json.RawMessage) bool
	create func(context.Context, *call) error
	update func(context.Context, *call) error // nil: no property can be changed in place
	delete func(context.Context, *call) error
	poll   func(context.Context, *call) error // nil: never waits
}

type property struct{ required, mutable bool }

func (t *Type) properties() map[string]property {
	out := map[string]property{}
	for _, f := range strings.Fields(t.Properties) {
		out[strings.TrimRight(f, "!~")] = property{strings.Contains(f, "!"), strings.Contains(f, "~")}
	}
	return out
}

// Find is the type of that name, or nil.
func Find(name string) *Type { return byName[name] }

var byName = func() map[string]*Type {
	m := map[string]*Type{}
	for _, t := range types {
		m[t.Name] = t
	}
	return m
}()

// Names lists all types, sorted.
func Names() []string {
	var out []string
	for _, t := range types {
		out = append(out, t.Name)
	}
	slices.Sort(out)
	return out
}

// Check refuses properties that the type does not have, and names the ones that are missing. Values are not looked at.
func (t *Type) Check(logical string, props map[string]any) error {
	known := t.properties()
	var unknown, missing []string
	for name := range props {
		if _, ok := known[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	for name, p := range known {
		if _, ok := props[name]; p.required && !ok {
			missing = append(missing, name)
		}
	}
	slices.Sort(unknown)
	slices.Sort(missing)
	if len(unknown) > 0 {
		return fmt.Errorf("Properties validation failed for resource %s with message: Encountered unsupported property %s", logical, strings.Join(unknown, ", ")) //nolint:staticcheck // AWS's text
	}
	if len(missing) > 0 {
		return fmt.Errorf("Properties validation failed for resource %s with message: #: required key [%s] not found", logical, strings.Join(missing, ", ")) //nolint:staticcheck // AWS's text
	}
	return nil
}

// Rules is what package stack asks of types.
type Rules struct{}

// NameOf is the property that names resources of a type.
func (Rules) NameOf(typ string) string {
	if t := Find(typ); t != nil {
		return t.NameOf
	}
	return ""
}

// Replaces says whether one of the changed properties cannot be changed in place.
func (Rules) Replaces(typ string, changed []string, before, after map[string]json.RawMessage) bool {
	t := Find(typ)
	if t == nil || t.update == nil {
		return true
	}
	props := t.properties()
	return slices.ContainsFunc(changed, func(name string) bool {
		if t.within != nil && after[name] != nil && t.within(name, before[name], after[name]) {
			return false
		}
		return !props[name].mutable
	})
}

// Result of one command.
type result struct {
	physical string
	attrs    map[string]string
	waiting  bool
	handle   string
	wake     string
}

// call is one command on one resource, as its type sees it.
type call struct {
	stack.Command
	result
	props, old map[string]any
	by         identity.Principal
	region     string
	account    string
	calls      awscall.Caller
	key        string
	n          int
}

// failure is why a resource cannot be made, changed or deleted; it becomes the event's reason.
type failure string

func (f failure) Error() string { return string(f) }

func failf(format string, args ...any) error { return failure(fmt.Sprintf(format, args...)) }

// Run carries out one command of a stack. An error means that it should be tried again; what AWS refuses is in Done.
func Run(ctx context.Context, calls awscall.Caller, key string, c stack.Command) (stack.Done, error) {
	k := &call{Command: c, by: c.By, region: c.By.Region, account: c.By.Account, calls: calls, key: key}
	done := stack.Done{Key: c.Key, Seq: c.Seq}
	t := Find(c.Type)
	if t == nil {
		done.Failed = "Unrecognized resource type: " + c.Type
		return done, nil
	}
	var err error
	if k.props, err = object(c.Props); err != nil {
		return done, err
	}
	if k.old, err = object(c.Old); err != nil {
		return done, err
	}
	k.result = result{physical: c.Physical, attrs: c.Attrs}
	f := map[string]func(context.Context, *call) error{"create": t.create, "update": t.update, "delete": t.delete, "poll": t.poll}[c.Verb]
	if f == nil {
		err = failf("%s cannot %s", c.Type, c.Verb)
	} else {
		err = f(ctx, k)
	}
	var refused *awsapi.Error
	var failed failure
	switch {
	case err == nil:
		done.Attrs, done.Waiting, done.Handle, done.Wake = k.attrs, k.waiting, k.handle, k.wake
	case errors.As(err, &failed):
		done.Failed = string(failed)
	case errors.As(err, &refused) && !Transient(err):
		done.Failed = k.reason(refused)
	default:
		return done, err
	}
	done.Physical = k.physical
	return done, nil
}

// Transient says whether a call may go well when it is made again.
func Transient(err error) bool {
	var e *awsapi.Error
	if !errors.As(err, &e) {
		return true
	}
	return e.Status >= 500 || strings.Contains(e.Code, "Throttl") || e.Code == "TooManyRequestsException" || e.Code == "RequestLimitExceeded"
}

// Reason is the text of a failed resource for an error that was met again and again.
func Reason(key string, err error) string {
	var e *awsapi.Error
	if errors.As(err, &e) {
		return (&call{key: key}).reason(e)
	}
	return fmt.Sprintf("Resource handler returned message: %q (RequestToken: %s, HandlerErrorCode: InternalFailure)", err.Error(), token(key))
}

// reason writes an API's error as CloudFormation does.
func (c *call) reason(e *awsapi.Error) string {
	code := "GeneralServiceException"
	switch {
	case strings.Contains(e.Code, "AlreadyExists"), strings.Contains(e.Code, "AlreadyOwned"), strings.Contains(e.Code, "Duplicate"), e.Code == "ResourceConflictException":
		code = "AlreadyExists"
	case notFound(e):
		code = "NotFound"
	case strings.Contains(e.Code, "AccessDenied"), strings.Contains(e.Code, "Unauthorized"):
		code = "AccessDenied"
	case strings.Contains(e.Code, "Throttl"):
		code = "Throttling"
	case e.Status < 500:
		code = "InvalidRequest"
	}
	status := e.Status
	if status == 0 {
		status = 400
	}
	service := c.Type
	if _, rest, ok := strings.Cut(c.Type, "::"); ok {
		service, _, _ = strings.Cut(rest, "::")
	}
	return fmt.Sprintf("Resource handler returned message: \"%s (Service: %s, Status Code: %d, Request ID: %s)\" (RequestToken: %s, HandlerErrorCode: %s)",
		e.Message, service, status, token(c.key+"/request"), token(c.key), code)
}

func token(key string) string {
	h := sha256.Sum256([]byte(key))
	s := hex.EncodeToString(h[:16])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func notFound(err error) bool {
	var e *awsapi.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, s := range []string{"NotFound", "NoSuch", "DoesNotExist", "NonExistent", "InvalidGroup.NotFound"} {
		if strings.Contains(e.Code, s) {
			return true
		}
	}
	return e.Status == 404
}

// gone makes deleting what is not there a success.
func gone(err error) error {
	if notFound(err) {
		return nil
	}
	return err
}

// do makes a changing call.
func (c *call) do(ctx context.Context, service, op string, in map[string]any) (map[string]any, error) {
	c.n++
	return c.invoke(ctx, fmt.Sprintf("%s/%d", c.key, c.n), service, op, in)
}

// read makes a call that changes nothing.
func (c *call) read(ctx context.Context, service, op string, in map[string]any) (map[string]any, error) {
	return c.invoke(ctx, "", service, op, in)
}

func (c *call) invoke(ctx context.Context, key, service, op string, in map[string]any) (map[string]any, error) {
	m := awsapi.Load(service)
	if m == nil || m.Operations[op] == nil {
		return nil, failf("Mayfly has no operation %s of %s", op, service)
	}
	doc := map[string]any{}
	if input := m.Operations[op].Input; input != nil {
		v, err := convert(input.To, drop(in), "")
		if err != nil {
			return nil, err
		}
		doc = v.(map[string]any)
	}
	return c.calls.Invoke(ctx, awscall.Call{Principal: c.by, RequestKey: key, Service: service, Operation: op, Input: doc})
}

// drop leaves out the members that are nil: properties that the template does not give.
func drop(in map[string]any) map[string]any {
	out := make(map[string]any, len(in))
	for k, v := range in {
		if v != nil {
			out[k] = v
		}
	}
	return out
}

// pick takes properties as they are, those that are given.
func (c *call) pick(names ...string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		if v, ok := c.props[n]; ok {
			out[n] = v
		}
	}
	return out
}

func (c *call) str(name string) string { return text(c.props[name]) }

// changed says whether one of the properties is not what it was.
func (c *call) changed(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return text(c.props[n]) != text(c.old[n]) })
}

// name is the property's value, or a name made from stack, logical id and a suffix that no other resource has.
func (c *call) name(property string, limit int) string {
	if s := c.str(property); s != "" {
		return s
	}
	h := sha256.Sum256([]byte(fmt.Sprintf("%s/%s/%d", c.StackID, c.Key, c.Seq)))
	suffix := base32.StdEncoding.EncodeToString(h[:])[:12]
	room := limit - len(suffix) - 2
	stackName, logical := c.StackName, c.Logical
	if over := len(stackName) + len(logical) - room; over > 0 {
		cut := min(over, max(len(logical)-room/2, 0))
		logical = logical[:len(logical)-cut]
		stackName = stackName[:min(len(stackName), room-len(logical))]
	}
	return stackName + "-" + logical + "-" + suffix
}

// tags are the stack's tags and the resource's own, which win.
func (c *call) tags() []any {
	out := []any{}
	for _, kv := range c.tagPairs(c.props) {
		out = append(out, map[string]any{"Key": kv[0], "Value": kv[1]})
	}
	return out
}

// ownTags are the tags that tell what made a resource. AWS: CloudFormation puts them on what it makes.
func (c *call) ownTags() []any {
	return []any{
		map[string]any{"Key": "aws:cloudformation:stack-name", "Value": c.StackName},
		map[string]any{"Key": "aws:cloudformation:stack-id", "Value": c.StackID},
		map[string]any{"Key": "aws:cloudformation:logical-id", "Value": c.Logical},
	}
}

// fresh refuses a resource that stood there before this command, by its tags, or the error of asking for them. Some APIs
// answer the creation of what is there with it, and a rollback would then delete what the stack has not made.
func (c *call) fresh(id string, tags any, err error) error {
	if err != nil {
		return gone(err)
	}
	has := map[string]string{}
	for _, t := range list(tags) {
		has[text(member(t, "Key"))+text(member(t, "key"))] = text(member(t, "Value")) + text(member(t, "value"))
	}
	if m, ok := tags.(map[string]any); ok {
		for k, v := range m {
			has[k] = text(v)
		}
	}
	if has["aws:cloudformation:stack-id"] == c.StackID && has["aws:cloudformation:logical-id"] == c.Logical {
		return nil // this command made it, before a crash
	}
	return c.exists(id)
}

func (c *call) exists(id string) error {
	return failf("Resource of type '%s' with identifier '%s' already exists.", c.Type, id)
}

func (c *call) tagMap() map[string]any {
	out := map[string]any{}
	for _, kv := range c.tagPairs(c.props) {
		out[kv[0]] = kv[1]
	}
	return out
}

func (c *call) tagPairs(props map[string]any) [][2]string {
	var out [][2]string
	add := func(k, v string) {
		if i := slices.IndexFunc(out, func(kv [2]string) bool { return kv[0] == k }); i >= 0 {
			out[i][1] = v
			return
		}
		out = append(out, [2]string{k, v})
	}
	for _, t := range c.Tags {
		add(t.Key, t.Value)
	}
	switch tags := props["Tags"].(type) {
	case []any:
		for _, t := range tags {
			m, _ := t.(map[string]any)
			add(text(m["Key"]), text(m["Value"]))
		}
	case map[string]any:
		keys := make([]string, 0, len(tags))
		for k := range tags {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			add(k, text(tags[k]))
		}
	}
	return out
}

// droppedTags are the keys that the old properties had and the new ones have not.
func (c *call) droppedTags() []any {
	now := c.tagMap()
	var out []any
	for _, kv := range c.tagPairs(c.old) {
		if _, still := now[kv[0]]; !still {
			out = append(out, kv[0])
		}
	}
	return out
}

func object(b json.RawMessage) (map[string]any, error) {
	m := map[string]any{}
	if len(b) == 0 {
		return m, nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	err := dec.Decode(&m)
	return m, err
}

// text is a scalar's text, or the JSON of anything else; "" for nil.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool, json.Number, int, int64, float64:
		return fmt.Sprint(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func list(v any) []any {
	l, ok := v.([]any)
	if !ok && v != nil {
		return []any{v} // AWS: a single value stands for a list of one.
	}
	return l
}

func texts(v any) []string {
	var out []string
	for _, e := range list(v) {
		out = append(out, text(e))
	}
	return out
}

func member(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}
