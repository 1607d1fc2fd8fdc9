package s3

import (
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// conditions are the headers that make a read depend on what stands there.
type conditions struct {
	IfMatch, IfNoneMatch               *string
	IfModifiedSince, IfUnmodifiedSince *time.Time
	copySource                         bool // of a copy's source: every refusal is a 412
}

func preconditionFailed(condition string) error {
	return withFields(awsapi.Errorf(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
		"Condition", condition)
}

// check follows RFC 9110: a matching ETag outweighs the dates. Dates have no fractions on the wire.
func (c conditions) check(o *object) error {
	modified := o.Modified.Truncate(time.Second)
	prefix := ""
	if c.copySource {
		prefix = "x-amz-copy-source-"
	}
	switch {
	case c.IfMatch != nil:
		if !matches(*c.IfMatch, o.ETag) {
			return preconditionFailed(prefix + "If-Match")
		}
	case c.IfUnmodifiedSince != nil && modified.After(*c.IfUnmodifiedSince):
		return preconditionFailed(prefix + "If-Unmodified-Since")
	}
	fresh := ""
	switch {
	case c.IfNoneMatch != nil:
		if matches(*c.IfNoneMatch, o.ETag) {
			fresh = "If-None-Match"
		}
	case c.IfModifiedSince != nil && !modified.After(*c.IfModifiedSince):
		fresh = "If-Modified-Since"
	}
	switch {
	case fresh == "":
		return nil
	case c.copySource:
		return preconditionFailed(prefix + fresh)
	default:
		return withFields(awsapi.Errorf(304, "NotModified", "Not Modified"), "ETag", quoted(o.ETag))
	}
}

// matches compares with a list of ETags, quoted or not, or "*".
func matches(list, etag string) bool {
	for t := range strings.SplitSeq(list, ",") {
		t = strings.TrimSpace(t)
		if t == "*" || strings.Trim(strings.TrimPrefix(t, "W/"), `"`) == etag {
			return true
		}
	}
	return false
}

// checkWrite decides a conditional write over what stands there (nil: nothing).
func checkWrite(old *object, key string, ifMatch, ifNoneMatch *string) error {
	switch {
	case ifMatch != nil && ifNoneMatch != nil:
		return invalid("InvalidRequest", "If-Match and If-None-Match cannot be used together")
	case ifNoneMatch != nil && *ifNoneMatch != "*":
		return notImplemented("If-None-Match with an ETag on a write")
	case ifNoneMatch != nil && old != nil:
		return preconditionFailed("If-None-Match")
	case ifMatch != nil && old == nil:
		return noSuchKey(key)
	case ifMatch != nil && !matches(*ifMatch, old.ETag):
		return preconditionFailed("If-Match")
	}
	return nil
}

func quoted(etag string) string { return `"` + etag + `"` }
