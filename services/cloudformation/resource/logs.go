package resource

import (
	"context"
	"fmt"
)

var logGroup = &Type{
	Name:       "AWS::Logs::LogGroup",
	Properties: "LogGroupName RetentionInDays~ Tags",
	Attributes: []string{"Arn"},
	NameOf:     "LogGroupName",
	create: func(ctx context.Context, c *call) error {
		name := c.name("LogGroupName", 512)
		in := map[string]any{"logGroupName": name}
		if tags := c.tagMap(); len(tags) > 0 {
			in["tags"] = tags
		}
		if _, err := c.do(ctx, "logs", "CreateLogGroup", in); err != nil {
			return err
		}
		c.physical = name
		c.attrs = map[string]string{"Arn": fmt.Sprintf("arn:aws:logs:%s:%s:log-group:%s:*", c.region, c.account, name)}
		if c.props["RetentionInDays"] == nil {
			return nil
		}
		return c.retention(ctx)
	},
	update: func(ctx context.Context, c *call) error { return c.retention(ctx) },
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "logs", "DeleteLogGroup", map[string]any{"logGroupName": c.physical})
		return gone(err)
	},
}

func (c *call) retention(ctx context.Context) error {
	op, in := "DeleteRetentionPolicy", map[string]any{"logGroupName": c.physical}
	if d := c.props["RetentionInDays"]; d != nil {
		op, in["retentionInDays"] = "PutRetentionPolicy", d
	}
	_, err := c.do(ctx, "logs", op, in)
	return err
}
