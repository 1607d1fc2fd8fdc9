package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// location is an object, or a prefix of objects, in S3.
type location struct{ Bucket, Key string }

func (l location) String() string { return "s3://" + l.Bucket + "/" + l.Key }

// url is the place as CloudFormation takes a template's.
func (l location) url() string {
	u := url.URL{Scheme: "https", Host: "s3.amazonaws.com", Path: "/" + l.Bucket + "/" + l.Key}
	return u.String()
}

var (
	bucketName  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	pathHost    = regexp.MustCompile(`^s3([.-]dualstack)?([.-][a-z0-9-]+)?\.amazonaws\.com(\.cn)?$`)
	virtualHost = regexp.MustCompile(`^(.+)\.s3([.-]dualstack)?([.-][a-z0-9-]+)?\.amazonaws\.com(\.cn)?$`)
)

// parseLocation reads all forms in which people write a place in S3: s3://, s3a:// and s3n://, HTTPS with the bucket in the
// path or in the host, with or without a region, a local endpoint, and BUCKET/KEY.
func parseLocation(s string) (location, error) {
	bad := func(why string) (location, error) { return location{}, fmt.Errorf("%q is no place in S3: %s", s, why) }
	if strings.TrimSpace(s) != s || s == "" {
		return bad("it is empty or has blanks around it")
	}
	scheme, rest, ok := strings.Cut(s, "://")
	var path string
	switch {
	case !ok:
		path = s
	case scheme == "s3" || scheme == "s3a" || scheme == "s3n":
		path = rest
	case scheme == "http" || scheme == "https":
		u, err := url.Parse(s)
		if err != nil {
			return bad("it is no URL")
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return bad("it has a query or a fragment")
		}
		host := u.Hostname()
		path = strings.TrimPrefix(u.Path, "/")
		if m := virtualHost.FindStringSubmatch(host); m != nil {
			path = m[1] + "/" + path
		} else if !pathHost.MatchString(host) && net.ParseIP(host) == nil && host != "localhost" {
			return bad("its host is not S3's")
		}
	default:
		return bad("its scheme is neither s3 nor https")
	}
	l := location{}
	l.Bucket, l.Key, _ = strings.Cut(path, "/")
	if !bucketName.MatchString(l.Bucket) {
		return bad(fmt.Sprintf("%q is no bucket's name", l.Bucket))
	}
	return l, nil
}

// limit on what the functions read of one object; templates and parameter files are small.
const maxObject = 1 << 20

// errMissing says that there is no such object or bucket.
var errMissing = errors.New("does not exist")

func missing(err error) bool {
	var api *awsapi.Error
	if !errors.As(err, &api) {
		return false
	}
	return api.Status == 404 || api.Code == "NoSuchKey" || api.Code == "NoSuchBucket" || api.Code == "NotFound"
}

func (a *app) get(ctx context.Context, l location) ([]byte, error) { return a.read(ctx, l, maxObject) }

func (a *app) read(ctx context.Context, l location, limit int64) ([]byte, error) {
	out, err := a.call(ctx, "s3", "GetObject", map[string]any{"Bucket": l.Bucket, "Key": l.Key})
	if missing(err) {
		return nil, fmt.Errorf("%s %w", l, errMissing)
	}
	if err != nil {
		return nil, err
	}
	var body []byte
	switch b := out["Body"].(type) {
	case io.ReadCloser:
		defer b.Close()
		if body, err = io.ReadAll(io.LimitReader(b, limit+1)); err != nil {
			return nil, fmt.Errorf("read %s: %w", l, err)
		}
	case []byte:
		body = b
	}
	if int64(len(body)) > limit {
		return nil, failf("Input.TooLarge", "%s is larger than %d bytes", l, limit)
	}
	return body, nil
}

func (a *app) put(ctx context.Context, l location, contentType string, body []byte) error {
	_, err := a.call(ctx, "s3", "PutObject", map[string]any{"Bucket": l.Bucket, "Key": l.Key, "ContentType": contentType,
		"Body": body})
	return err
}
