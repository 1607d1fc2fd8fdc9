package s3

import (
	"context"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/store"
)

const maxObjectTags = 10

// checkTags applies S3's rules to a set of tags.
func checkTags(set []s3api.Tag, limit int) ([]tag, error) {
	if len(set) > limit {
		if limit == maxObjectTags {
			return nil, invalid("BadRequest", "Object tags cannot be greater than 10")
		}
		return nil, invalid("BadRequest", "Bucket tag count cannot be greater than %d", limit)
	}
	var tags []tag
	seen := map[string]bool{}
	for _, t := range set {
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > 128:
			return nil, withFields(invalid("InvalidTag", "The TagKey you have provided is invalid"), "TagKey", t.Key)
		case utf8.RuneCountInString(t.Value) > 256:
			return nil, withFields(invalid("InvalidTag", "The TagValue you have provided is invalid"), "TagKey", t.Key, "TagValue", t.Value)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:") && limit == maxObjectTags:
			return nil, withFields(invalid("InvalidTag", "Your TagKey cannot be prefixed with aws:"), "TagKey", t.Key)
		case seen[t.Key]:
			return nil, withFields(invalid("InvalidTag", "Cannot provide multiple Tags with the same key"), "TagKey", t.Key)
		}
		seen[t.Key] = true
		tags = append(tags, tag(t))
	}
	return tags, nil
}

// parseTagging reads the x-amz-tagging header: URL query parameters, in their order.
func parseTagging(header string) ([]tag, error) {
	var set []s3api.Tag
	for pair := range strings.SplitSeq(header, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err != nil || err2 != nil {
			return nil, withFields(invalid("InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."),
				"ArgumentName", "x-amz-tagging", "ArgumentValue", header)
		}
		set = append(set, s3api.Tag{Key: key, Value: value})
	}
	return checkTags(set, maxObjectTags)
}

func showTags(tags []tag) []s3api.Tag {
	out := make([]s3api.Tag, len(tags))
	for i, t := range tags {
		out[i] = s3api.Tag(t)
	}
	return out
}

// PutObjectTagging replaces an object's tags.
func (s *Service) PutObjectTagging(ctx context.Context, in *s3api.PutObjectTaggingInput) (*s3api.PutObjectTaggingOutput, error) {
	tags, err := checkTags(in.Tagging.TagSet, maxObjectTags)
	if err != nil {
		return nil, err
	}
	if err := s.checkRead(ctx, in, in.Bucket, in.VersionId, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	out := &s3api.PutObjectTaggingOutput{}
	return out, s.retag(ctx, in.Bucket, in.Key, tags, out)
}

func (s *Service) retag(ctx context.Context, bucketName, key string, tags []tag, out any) error {
	return s.swap(ctx, bucketName, key, func(old *object, batch *store.Batch) (*object, error) {
		if old == nil {
			return nil, noSuchKey(key)
		}
		o := *old
		o.Tags = tags
		return &o, awscall.Receipted(ctx, batch, out)
	})
}

// GetObjectTagging shows an object's tags.
func (s *Service) GetObjectTagging(ctx context.Context, in *s3api.GetObjectTaggingInput) (*s3api.GetObjectTaggingOutput, error) {
	o, err := s.existing(ctx, in)
	if err != nil {
		return nil, err
	}
	return &s3api.GetObjectTaggingOutput{TagSet: showTags(o.Tags)}, nil
}

// DeleteObjectTagging removes an object's tags.
func (s *Service) DeleteObjectTagging(ctx context.Context, in *s3api.DeleteObjectTaggingInput) (*s3api.DeleteObjectTaggingOutput, error) {
	if err := s.checkRead(ctx, in, in.Bucket, in.VersionId, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	out := &s3api.DeleteObjectTaggingOutput{}
	return out, s.retag(ctx, in.Bucket, in.Key, nil, out)
}

// PutBucketTagging replaces a bucket's tags.
func (s *Service) PutBucketTagging(ctx context.Context, in *s3api.PutBucketTaggingInput) (*s3api.PutBucketTaggingOutput, error) {
	tags, err := checkTags(in.Tagging.TagSet, 50)
	if err != nil {
		return nil, err
	}
	out := &s3api.PutBucketTaggingOutput{}
	return out, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, out, func(b *bucket) error {
		b.Tags = tags
		return nil
	})
}

// GetBucketTagging shows a bucket's tags.
func (s *Service) GetBucketTagging(ctx context.Context, in *s3api.GetBucketTaggingInput) (*s3api.GetBucketTaggingOutput, error) {
	b, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if len(b.Tags) == 0 {
		return nil, absent(in.Bucket, "NoSuchTagSet", "The TagSet does not exist")
	}
	return &s3api.GetBucketTaggingOutput{TagSet: showTags(b.Tags)}, nil
}

// DeleteBucketTagging removes a bucket's tags.
func (s *Service) DeleteBucketTagging(ctx context.Context, in *s3api.DeleteBucketTaggingInput) (*s3api.DeleteBucketTaggingOutput, error) {
	out := &s3api.DeleteBucketTaggingOutput{}
	return out, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, out, func(b *bucket) error {
		b.Tags = nil
		return nil
	})
}
