package resource

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

var stateMachine = &Type{
	Name: "AWS::StepFunctions::StateMachine",
	Properties: "Definition~ DefinitionS3Location~ DefinitionString~ DefinitionSubstitutions~ EncryptionConfiguration~ LoggingConfiguration~ RoleArn!~ " +
		"StateMachineName StateMachineType Tags~ TracingConfiguration~",
	Attributes: []string{"Arn", "Name", "StateMachineRevisionId"},
	NameOf:     "StateMachineName",
	create: func(ctx context.Context, c *call) error {
		in, err := c.machine(ctx)
		if err != nil {
			return err
		}
		name := c.name("StateMachineName", 80)
		in["name"] = name
		if t := c.str("StateMachineType"); t != "" {
			in["type"] = t
		}
		if tags := c.tags(); len(tags) > 0 {
			in["tags"] = lowerCamel(tags)
		}
		if err := c.unmade(ctx, "DescribeStateMachine", "stateMachineArn", "stateMachine:"+name); err != nil {
			return err
		}
		out, err := c.do(ctx, "states", "CreateStateMachine", in)
		if err != nil {
			return err
		}
		c.physical = text(out["stateMachineArn"])
		c.attrs = map[string]string{"Arn": c.physical, "Name": name, "StateMachineRevisionId": "INITIAL"}
		return nil
	},
	update: func(ctx context.Context, c *call) error {
		in, err := c.machine(ctx)
		if err != nil {
			return err
		}
		in["stateMachineArn"] = c.physical
		out, err := c.do(ctx, "states", "UpdateStateMachine", in)
		if err != nil {
			return err
		}
		if r := text(out["revisionId"]); r != "" {
			c.attrs["StateMachineRevisionId"] = r
		}
		if dropped := c.droppedTags(); len(dropped) > 0 {
			if _, err := c.do(ctx, "states", "UntagResource", map[string]any{"resourceArn": c.physical, "tagKeys": dropped}); err != nil {
				return err
			}
		}
		if tags := c.tags(); len(tags) > 0 && c.changed("Tags") {
			if _, err := c.do(ctx, "states", "TagResource", map[string]any{"resourceArn": c.physical, "tags": lowerCamel(tags)}); err != nil {
				return err
			}
		}
		return nil
	},
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "states", "DeleteStateMachine", map[string]any{"stateMachineArn": c.physical})
		return gone(err)
	},
}

// unmade refuses a machine or an activity that stood there before this command, as fresh does by tags: here AWS takes none of
// its own.
func (c *call) unmade(ctx context.Context, describe, member, id string) error {
	arn := fmt.Sprintf("arn:aws:states:%s:%s:%s", c.region, c.account, id)
	had, err := c.read(ctx, "states", describe, map[string]any{member: arn})
	if gone(err) != nil {
		return err
	}
	if made, ok := had["creationDate"].(time.Time); ok && c.before(made) {
		return c.exists(arn)
	}
	return nil
}

// machine is what creating and updating a state machine have in common.
func (c *call) machine(ctx context.Context) (map[string]any, error) {
	definition, err := c.definition(ctx)
	if err != nil {
		return nil, err
	}
	in := map[string]any{"definition": definition, "roleArn": c.props["RoleArn"]}
	for _, p := range []string{"LoggingConfiguration", "TracingConfiguration", "EncryptionConfiguration"} {
		if v := c.props[p]; v != nil {
			in[strings.ToLower(p[:1])+p[1:]] = lowerCamel(v)
		}
	}
	return in, nil
}

// maxDefinition is AWS's limit of a definition, in bytes.
const maxDefinition = 1 << 20

// definition is the text of the machine from one of its three sources, with the substitutions in place.
func (c *call) definition(ctx context.Context) (string, error) {
	given := 0
	for _, p := range []string{"Definition", "DefinitionString", "DefinitionS3Location"} {
		if c.props[p] != nil {
			given++
		}
	}
	if given != 1 {
		return "", failf("Exactly one of Definition, DefinitionString and DefinitionS3Location must be given")
	}
	var s string
	switch loc := c.props["DefinitionS3Location"]; {
	case c.props["Definition"] != nil:
		s = text(c.props["Definition"])
	case c.props["DefinitionString"] != nil:
		s = c.str("DefinitionString")
	default:
		in := map[string]any{"Bucket": member(loc, "Bucket"), "Key": member(loc, "Key")}
		if v := member(loc, "Version"); v != nil {
			in["VersionId"] = v
		}
		b, err := c.object(ctx, in, maxDefinition)
		if err != nil {
			return "", err
		}
		if s = string(b); !json.Valid(b) && !strings.Contains(s, "${") {
			return "", failf("the definition s3://%s/%s is not JSON", text(member(loc, "Bucket")), text(member(loc, "Key")))
		}
	}
	subs, _ := c.props["DefinitionSubstitutions"].(map[string]any)
	keys := make([]string, 0, len(subs))
	for k := range subs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var pairs []string
	for _, k := range keys {
		pairs = append(pairs, "${"+k+"}", text(subs[k]))
	}
	return strings.NewReplacer(pairs...).Replace(s), nil
}

// object reads a whole object from S3.
func (c *call) object(ctx context.Context, in map[string]any, limit int64) ([]byte, error) {
	out, err := c.read(ctx, "s3", "GetObject", in)
	if err != nil {
		return nil, err
	}
	switch body := out["Body"].(type) {
	case []byte:
		return body, nil
	case io.Reader:
		if closer, ok := body.(io.Closer); ok {
			defer closer.Close()
		}
		b, err := io.ReadAll(io.LimitReader(body, limit+1))
		if err == nil && int64(len(b)) > limit {
			err = failf("s3://%s/%s is larger than %d bytes", text(in["Bucket"]), text(in["Key"]), limit)
		}
		return b, err
	}
	return nil, failf("GetObject answered no body")
}

// lowerCamel writes member names as Step Functions' API has them.
func lowerCamel(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			if k != "" {
				k = strings.ToLower(k[:1]) + k[1:]
			}
			out[k] = lowerCamel(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = lowerCamel(e)
		}
		return out
	}
	return v
}

var activity = &Type{
	Name:       "AWS::StepFunctions::Activity",
	Properties: "Name! Tags~",
	Attributes: []string{"Arn", "Name"},
	create: func(ctx context.Context, c *call) error {
		in := map[string]any{"name": c.props["Name"]}
		if tags := c.tags(); len(tags) > 0 {
			in["tags"] = lowerCamel(tags)
		}
		if err := c.unmade(ctx, "DescribeActivity", "activityArn", "activity:"+c.str("Name")); err != nil {
			return err
		}
		out, err := c.do(ctx, "states", "CreateActivity", in)
		if err != nil {
			return err
		}
		c.physical = text(out["activityArn"])
		c.attrs = map[string]string{"Arn": c.physical, "Name": c.str("Name")}
		return nil
	},
	update: func(ctx context.Context, c *call) error {
		if dropped := c.droppedTags(); len(dropped) > 0 {
			if _, err := c.do(ctx, "states", "UntagResource", map[string]any{"resourceArn": c.physical, "tagKeys": dropped}); err != nil {
				return err
			}
		}
		tags := c.tags()
		if len(tags) == 0 {
			return nil
		}
		_, err := c.do(ctx, "states", "TagResource", map[string]any{"resourceArn": c.physical, "tags": lowerCamel(tags)})
		return err
	},
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "states", "DeleteActivity", map[string]any{"activityArn": c.physical})
		return gone(err)
	},
}
