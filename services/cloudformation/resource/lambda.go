package resource

import (
	"archive/zip"
	"bytes"
	"context"
	"strings"
)

var functionSettings = []string{"DeadLetterConfig", "Description", "Environment", "EphemeralStorage", "Handler", "KmsKeyArn", "Layers", "LoggingConfig",
	"MemorySize", "Role", "Runtime", "SnapStart", "Timeout", "TracingConfig", "VpcConfig"}

var lambdaFunction = &Type{
	Name: "AWS::Lambda::Function",
	Properties: "Architectures~ Code!~ DeadLetterConfig~ Description~ Environment~ EphemeralStorage~ FunctionName Handler~ KmsKeyArn~ Layers~ LoggingConfig~ " +
		"MemorySize~ PackageType ReservedConcurrentExecutions~ Role!~ Runtime~ SnapStart~ Tags~ Timeout~ TracingConfig~ VpcConfig~",
	Attributes: []string{"Arn"},
	NameOf:     "FunctionName",
	create: func(ctx context.Context, c *call) error {
		in := c.pick(append([]string{"Architectures", "PackageType"}, functionSettings...)...)
		in["FunctionName"] = c.name("FunctionName", 64)
		code, err := c.code()
		if err != nil {
			return err
		}
		in["Code"] = code
		if tags := c.tagMap(); len(tags) > 0 {
			in["Tags"] = tags
		}
		out, err := c.do(ctx, "lambda", "CreateFunction", in)
		if err != nil {
			return err
		}
		c.physical = text(in["FunctionName"])
		c.attrs = map[string]string{"Arn": text(out["FunctionArn"])}
		if c.props["ReservedConcurrentExecutions"] != nil {
			if err := c.reserve(ctx); err != nil {
				return err
			}
		}
		c.waiting, c.wake = text(out["State"]) == "Pending", c.attrs["Arn"]
		return nil
	},
	update: func(ctx context.Context, c *call) error {
		if c.changed("Code", "Architectures") {
			in, err := c.code()
			if err != nil {
				return err
			}
			in["FunctionName"] = c.physical
			if a := c.props["Architectures"]; a != nil {
				in["Architectures"] = a
			}
			if _, err := c.do(ctx, "lambda", "UpdateFunctionCode", in); err != nil {
				return err
			}
		}
		if c.changed(functionSettings...) {
			in := c.pick(functionSettings...)
			in["FunctionName"] = c.physical
			if _, err := c.do(ctx, "lambda", "UpdateFunctionConfiguration", in); err != nil {
				return err
			}
		}
		if c.changed("ReservedConcurrentExecutions") {
			if err := c.reserve(ctx); err != nil {
				return err
			}
		}
		arn := c.attrs["Arn"]
		if dropped := c.droppedTags(); len(dropped) > 0 {
			if _, err := c.do(ctx, "lambda", "UntagResource", map[string]any{"Resource": arn, "TagKeys": dropped}); err != nil {
				return err
			}
		}
		if tags := c.tagMap(); len(tags) > 0 && c.changed("Tags") {
			if _, err := c.do(ctx, "lambda", "TagResource", map[string]any{"Resource": arn, "Tags": tags}); err != nil {
				return err
			}
		}
		return c.function(ctx)
	},
	poll: func(ctx context.Context, c *call) error { return c.function(ctx) },
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "lambda", "DeleteFunction", map[string]any{"FunctionName": c.physical})
		return gone(err)
	},
}

// function looks whether the function can be used.
func (c *call) function(ctx context.Context) error {
	out, err := c.read(ctx, "lambda", "GetFunction", map[string]any{"FunctionName": c.physical})
	if err != nil {
		return err
	}
	f, _ := out["Configuration"].(map[string]any)
	switch {
	case text(f["State"]) == "Failed" || text(f["LastUpdateStatus"]) == "Failed":
		return failf("Function %s: %s%s", c.physical, text(f["StateReason"]), text(f["LastUpdateStatusReason"]))
	case text(f["State"]) == "Pending" || text(f["LastUpdateStatus"]) == "InProgress":
		c.waiting, c.wake = true, c.attrs["Arn"]
	}
	return nil
}

func (c *call) reserve(ctx context.Context) error {
	op, in := "DeleteFunctionConcurrency", map[string]any{"FunctionName": c.physical}
	if n := c.props["ReservedConcurrentExecutions"]; n != nil {
		op, in["ReservedConcurrentExecutions"] = "PutFunctionConcurrency", n
	}
	_, err := c.do(ctx, "lambda", op, in)
	return err
}

// code is where the API finds the program; inline source becomes a zip file with one module, "index".
func (c *call) code() (map[string]any, error) {
	code, _ := c.props["Code"].(map[string]any)
	out := map[string]any{}
	for k, v := range code {
		out[k] = v
	}
	source, inline := out["ZipFile"]
	if !inline {
		return out, nil
	}
	ext := ""
	switch runtime := c.str("Runtime"); {
	case strings.HasPrefix(runtime, "python"):
		ext = ".py"
	case strings.HasPrefix(runtime, "nodejs"):
		ext = ".js"
	default:
		return nil, failf("ZipFile can only be used when Runtime is set to either of nodejs or python runtimes; it is %q", runtime)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateHeader(&zip.FileHeader{Name: "index" + ext, Method: zip.Deflate}) // without a time: the same source gives the same bytes
	if err != nil {
		return nil, err
	}
	if _, err := f.Write([]byte(text(source))); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	out["ZipFile"] = b.Bytes()
	return out, nil
}

var lambdaPermission = &Type{
	Name:       "AWS::Lambda::Permission",
	Properties: "Action! EventSourceToken FunctionName! FunctionUrlAuthType Principal! PrincipalOrgID SourceAccount SourceArn",
	Attributes: []string{"Id"},
	create: func(ctx context.Context, c *call) error {
		in := c.pick("Action", "EventSourceToken", "FunctionName", "FunctionUrlAuthType", "Principal", "PrincipalOrgID", "SourceAccount", "SourceArn")
		id := c.name("", 100)
		in["StatementId"] = id
		if _, err := c.do(ctx, "lambda", "AddPermission", in); err != nil {
			return err
		}
		c.physical = id
		c.attrs = map[string]string{"Id": id}
		return nil
	},
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "lambda", "RemovePermission", map[string]any{"FunctionName": c.props["FunctionName"], "StatementId": c.physical})
		return gone(err)
	},
}
