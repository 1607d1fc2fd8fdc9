package resource

import (
	"context"
	"strings"
)

// connectionProperties are those of AWS::Events::Connection that the API takes under the same names.
var connectionProperties = []string{"AuthorizationType", "AuthParameters", "Description", "InvocationConnectivityParameters", "KmsKeyIdentifier"}

var eventsConnection = &Type{
	Name:       "AWS::Events::Connection",
	Properties: "AuthorizationType!~ AuthParameters!~ Description~ InvocationConnectivityParameters~ KmsKeyIdentifier~ Name",
	Attributes: []string{"Arn", "ArnForPolicy", "SecretArn"},
	NameOf:     "Name",
	create: func(ctx context.Context, c *call) error {
		return c.connection(ctx, "CreateConnection", c.name("Name", 64))
	},
	update: func(ctx context.Context, c *call) error { return c.connection(ctx, "UpdateConnection", c.physical) },
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "events", "DeleteConnection", map[string]any{"Name": c.physical})
		return gone(err)
	},
}

// connection creates or updates one. One that could not be authorized has failed, as on AWS.
func (c *call) connection(ctx context.Context, op, name string) error {
	in := map[string]any{"Name": name}
	for _, p := range connectionProperties {
		if v, ok := c.props[p]; ok {
			in[p] = v
		}
	}
	if _, err := c.do(ctx, "events", op, in); err != nil {
		return err
	}
	c.physical = name
	d, err := c.read(ctx, "events", "DescribeConnection", map[string]any{"Name": name})
	if err != nil {
		return err
	}
	if state := text(d["ConnectionState"]); state != "AUTHORIZED" {
		return failf("Connection %s is in state %s: %s", name, state, text(d["StateReason"]))
	}
	arn := text(d["ConnectionArn"])
	c.attrs = map[string]string{"Arn": arn, "ArnForPolicy": arn[:strings.LastIndexByte(arn, '/')], "SecretArn": text(d["SecretArn"])}
	return nil
}
