package resource

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

func apiError(err error) *awsapi.Error {
	var e *awsapi.Error
	errors.As(err, &e)
	return e
}

var s3Bucket = &Type{
	Name:       "AWS::S3::Bucket",
	Properties: "BucketEncryption~ BucketName OwnershipControls~ PublicAccessBlockConfiguration~ Tags~ VersioningConfiguration~",
	Attributes: []string{"Arn", "DomainName", "DualStackDomainName", "RegionalDomainName"},
	NameOf:     "BucketName",
	create: func(ctx context.Context, c *call) error {
		name := strings.ToLower(c.name("BucketName", 63))
		if err := c.freeBucket(ctx, name); err != nil {
			return err
		}
		in := map[string]any{"Bucket": name}
		if c.region != "us-east-1" {
			in["CreateBucketConfiguration"] = map[string]any{"LocationConstraint": c.region}
		}
		if _, err := c.do(ctx, "s3", "CreateBucket", in); err != nil {
			return err
		}
		c.physical = name
		c.attrs = map[string]string{"Arn": "arn:aws:s3:::" + name, "DomainName": name + ".s3.amazonaws.com",
			"RegionalDomainName": fmt.Sprintf("%s.s3.%s.amazonaws.com", name, c.region), "DualStackDomainName": fmt.Sprintf("%s.s3.dualstack.%s.amazonaws.com", name, c.region)}
		return c.bucket(ctx)
	},
	update: func(ctx context.Context, c *call) error { return c.bucket(ctx) },
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "s3", "DeleteBucket", map[string]any{"Bucket": c.physical})
		return gone(err)
	},
}

// freeBucket refuses a bucket that stood there before this command: AWS lets its owner create it a second time in
// us-east-1, and a rollback would then delete what the stack has not made.
func (c *call) freeBucket(ctx context.Context, name string) error {
	if _, err := c.read(ctx, "s3", "HeadBucket", map[string]any{"Bucket": name}); err != nil {
		return gone(err)
	}
	out, err := c.read(ctx, "s3", "ListBuckets", nil)
	if err != nil {
		return err
	}
	for _, b := range list(out["Buckets"]) {
		if made, ok := member(b, "CreationDate").(time.Time); ok && text(member(b, "Name")) == name && !c.before(made) {
			return nil // this command made it, before a crash
		}
	}
	return failf("%s already exists", name)
}

// before says whether something was made before this command.
func (c *call) before(made time.Time) bool {
	grain := time.Millisecond
	if made.Nanosecond() == 0 { // AWS tells seconds
		grain = time.Second
	}
	return made.Before(c.At.Truncate(grain))
}

// bucket makes the bucket's settings what the properties say.
func (c *call) bucket(ctx context.Context) error {
	set := func(property, put, drop, as string, value any) error {
		if !c.changed(property) {
			return nil
		}
		op, in := put, map[string]any{"Bucket": c.physical}
		if value == nil {
			op = drop
		} else {
			in[as] = value
		}
		_, err := c.do(ctx, "s3", op, in)
		return err
	}
	versioning := c.props["VersioningConfiguration"]
	if versioning == nil && c.old["VersioningConfiguration"] != nil {
		versioning = map[string]any{"Status": "Suspended"}
	}
	if err := set("VersioningConfiguration", "PutBucketVersioning", "", "VersioningConfiguration", versioning); err != nil {
		return err
	}
	if err := set("PublicAccessBlockConfiguration", "PutPublicAccessBlock", "DeletePublicAccessBlock", "PublicAccessBlockConfiguration", c.props["PublicAccessBlockConfiguration"]); err != nil {
		return err
	}
	if err := set("OwnershipControls", "PutBucketOwnershipControls", "DeleteBucketOwnershipControls", "OwnershipControls", c.props["OwnershipControls"]); err != nil {
		return err
	}
	var encryption any
	if rules := member(c.props["BucketEncryption"], "ServerSideEncryptionConfiguration"); rules != nil {
		encryption = map[string]any{"Rules": each(rules, func(r any) any {
			return rename(r, map[string]string{"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}, nil)
		})}
	}
	if err := set("BucketEncryption", "PutBucketEncryption", "DeleteBucketEncryption", "ServerSideEncryptionConfiguration", encryption); err != nil {
		return err
	}
	tags := c.tags()
	switch {
	case len(tags) > 0 && (c.changed("Tags") || len(c.old) == 0):
		_, err := c.do(ctx, "s3", "PutBucketTagging", map[string]any{"Bucket": c.physical, "Tagging": map[string]any{"TagSet": tags}})
		return err
	case len(tags) == 0 && c.old["Tags"] != nil:
		_, err := c.do(ctx, "s3", "DeleteBucketTagging", map[string]any{"Bucket": c.physical})
		return err
	}
	return nil
}

var s3BucketPolicy = &Type{
	Name:       "AWS::S3::BucketPolicy",
	Properties: "Bucket! PolicyDocument!~",
	create: func(ctx context.Context, c *call) error {
		if err := c.bucketPolicy(ctx); err != nil {
			return err
		}
		c.physical = c.str("Bucket")
		return nil
	},
	update: func(ctx context.Context, c *call) error { return c.bucketPolicy(ctx) },
	delete: func(ctx context.Context, c *call) error {
		_, err := c.do(ctx, "s3", "DeleteBucketPolicy", map[string]any{"Bucket": c.physical})
		return gone(err)
	},
}

func (c *call) bucketPolicy(ctx context.Context) error {
	_, err := c.do(ctx, "s3", "PutBucketPolicy", map[string]any{"Bucket": c.props["Bucket"], "Policy": c.str("PolicyDocument")})
	return err
}
