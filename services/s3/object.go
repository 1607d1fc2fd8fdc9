package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/store"
)

const (
	maxKey      = 1024
	maxMetadata = 2 << 10
)

// checkKey refuses what S3 takes for no key.
func checkKey(key string) error {
	switch {
	case key == "":
		return invalid("InvalidArgument", "Object key must not be empty")
	case len(key) > maxKey:
		return withFields(invalid("KeyTooLongError", "Your key is too long"),
			"Size", strconv.Itoa(len(key)), "MaxSizeAllowed", strconv.Itoa(maxKey))
	case !utf8.ValidString(key):
		return withFields(invalid("InvalidURI", "Couldn't parse the specified URI."), "URI", key)
	}
	return nil
}

// checkVersion accepts the one version that an object of a bucket without versioning has.
func checkVersion(id *string) error {
	if id == nil || *id == "null" {
		return nil
	}
	return withFields(invalid("InvalidArgument", "Invalid version id specified"),
		"ArgumentName", "versionId", "ArgumentValue", *id)
}

// unsupported are the members of inputs that would have to change what an operation does.
var unsupported = map[string]string{
	"SSECustomerAlgorithm":           "Server-side encryption with customer-provided keys",
	"SSECustomerKey":                 "Server-side encryption with customer-provided keys",
	"CopySourceSSECustomerAlgorithm": "Server-side encryption with customer-provided keys",
	"ObjectLockMode":                 "Object Lock",
	"ObjectLockRetainUntilDate":      "Object Lock",
	"ObjectLockLegalHoldStatus":      "Object Lock",
	"WriteOffsetBytes":               "Appending to an object",
	"MFA":                            "MFA delete",
	"IfMatchLastModifiedTime":        "A delete conditional on the modification time",
	"IfMatchSize":                    "A delete conditional on the size",
	"IfMatchInitiatedTime":           "An abort conditional on the initiation time",
}

// grants are the members that ask for an access control list.
var grants = []string{"GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP"}

// checkInput refuses the members that we would have to pass over, and access control lists: buckets are made with
// ownership BucketOwnerEnforced, as on AWS since 2023.
func checkInput(in any) error {
	v := reflect.ValueOf(in).Elem()
	given := func(name string) bool {
		f := v.FieldByName(name)
		return f.IsValid() && !f.IsZero()
	}
	for name, what := range unsupported {
		if given(name) {
			return notImplemented(what)
		}
	}
	for _, name := range grants {
		if given(name) {
			return errNoACL
		}
	}
	if given("ACL") {
		acl, _ := v.FieldByName("ACL").Interface().(*string)
		if acl != nil && *acl != "private" && *acl != "bucket-owner-full-control" {
			return errNoACL
		}
	}
	return nil
}

var errNoACL = invalid("AccessControlListNotSupported", "The bucket does not allow ACLs")

// attributesOf collects what an input says about an object.
func attributesOf(in any, tagging *string, b bucket) (attributes, error) {
	var a attributes
	assign(&a, in)
	size := 0
	for k, v := range a.Metadata {
		size += len(k) + len(v)
	}
	if size > maxMetadata {
		return a, withFields(invalid("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size"),
			"Size", strconv.Itoa(size), "MaxSizeAllowed", strconv.Itoa(maxMetadata))
	}
	if a.ContentEncoding != nil { // aws-chunked is how it came, not what it is
		var kept []string
		for e := range strings.SplitSeq(*a.ContentEncoding, ",") {
			if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
				kept = append(kept, e)
			}
		}
		a.ContentEncoding = nil
		if len(kept) > 0 {
			a.ContentEncoding = awsapi.Ptr(strings.Join(kept, ","))
		}
	}
	if a.ContentType == nil {
		a.ContentType = awsapi.Ptr("binary/octet-stream")
	}
	if a.StorageClass != nil {
		switch *a.StorageClass {
		case "STANDARD":
			a.StorageClass = nil
		case "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING":
		default:
			return a, notImplemented("The storage class " + *a.StorageClass)
		}
	}
	if a.ServerSideEncryption == nil {
		a.ServerSideEncryption, a.SSEKMSKeyId = b.encryption()
	}
	if tagging != nil {
		tags, err := parseTagging(*tagging)
		if err != nil {
			return a, err
		}
		a.Tags = tags
	}
	return a, nil
}

// checkWrite is what every making of an object begins with.
func (s *Service) checkWrite(ctx context.Context, in any, bucketName, key string, owner *string) (bucket, error) {
	b, _, err := s.bucket(ctx, bucketName, owner)
	if err == nil {
		err = checkKey(key)
	}
	if err == nil {
		err = checkInput(in)
	}
	return b, err
}

// PutObject keeps the body under the key.
func (s *Service) PutObject(ctx context.Context, in *s3api.PutObjectInput) (*s3api.PutObjectOutput, error) {
	b, err := s.checkWrite(ctx, in, in.Bucket, in.Key, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	attr, err := attributesOf(in, in.Tagging, b)
	if err != nil {
		return nil, err
	}
	claims, err := claimsOf(in, in.ContentLength, in.ContentMD5)
	if err != nil {
		return nil, err
	}
	alg, err := claims.algorithm(in.ChecksumAlgorithm)
	if err != nil {
		return nil, err
	}
	// AWS: a condition that does not hold is told before the body is taken, and again when it is written.
	if old, _, err := s.object(ctx, in.Bucket, in.Key); err != nil {
		return nil, err
	} else if err := checkWrite(old, in.Key, in.IfMatch, in.IfNoneMatch); err != nil {
		return nil, err
	}
	r, err := s.receive(ctx, in.Body, claims, alg)
	if err != nil {
		return nil, err
	}
	o := &object{
		Size: r.Blob.Size, ETag: r.etag(), Modified: s.now(), Parts: []part{{Number: 1, Blob: r.Blob}},
		Checksum: &checksum{alg, r.Sums[alg], fullObject}, attributes: attr,
	}
	out := &s3api.PutObjectOutput{ETag: awsapi.Ptr(quoted(o.ETag))}
	assign(out, &o.attributes)
	showChecksum(out, o.Checksum)
	err = s.swap(ctx, in.Bucket, in.Key, func(old *object, batch *store.Batch) (*object, error) {
		if err := checkWrite(old, in.Key, in.IfMatch, in.IfNoneMatch); err != nil {
			return nil, err
		}
		putBytes(batch, r.Blob, r.Inline)
		return o, awscall.Receipted(ctx, batch, out)
	})
	if err != nil {
		s.disk.drop(r.Blob)
		return nil, err
	}
	return out, nil
}

func (s *Service) now() time.Time { return s.Clock.Now().UTC().Truncate(time.Millisecond) }

// GetObject gives out an object's bytes, or a range of them.
func (s *Service) GetObject(ctx context.Context, in *s3api.GetObjectInput) (*s3api.GetObjectOutput, error) {
	if err := s.checkRead(ctx, in, in.Bucket, in.VersionId, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	o, inline, err := s.pin(ctx, in.Bucket, in.Key)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, noSuchKey(in.Key)
	}
	out := &s3api.GetObjectOutput{}
	want, err := o.show(in, in.Range, in.PartNumber, out)
	if err != nil {
		s.disk.unpin(o.blobs())
		return nil, err
	}
	out.Body = s.reader(o, inline, want)
	return out, nil
}

// HeadObject answers as GetObject, without the bytes.
func (s *Service) HeadObject(ctx context.Context, in *s3api.HeadObjectInput) (*s3api.HeadObjectOutput, error) {
	o, err := s.existing(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &s3api.HeadObjectOutput{}
	if _, err := o.show(in, in.Range, in.PartNumber, out); err != nil {
		return nil, err
	}
	return out, nil
}

// checkRead is what every read of an object begins with.
func (s *Service) checkRead(ctx context.Context, in any, bucketName string, version, owner *string) error {
	if _, _, err := s.bucket(ctx, bucketName, owner); err != nil {
		return err
	}
	if err := checkInput(in); err != nil {
		return err
	}
	return checkVersion(version)
}

// existing is the object that a read is of, without its bytes.
func (s *Service) existing(ctx context.Context, in any) (*object, error) {
	var of struct {
		Bucket, Key                    string
		VersionId, ExpectedBucketOwner *string
	}
	assign(&of, in)
	if err := s.checkRead(ctx, in, of.Bucket, of.VersionId, of.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	o, _, err := s.object(ctx, of.Bucket, of.Key)
	if err == nil && o == nil {
		err = noSuchKey(of.Key)
	}
	return o, err
}

// shown are the members that GetObjectOutput and HeadObjectOutput share, besides attributes and checksums.
type shown struct {
	AcceptRanges, ETag, ContentRange *string
	ContentLength                    *int64
	LastModified                     *time.Time
	TagCount, PartsCount             *int64
}

// responses are the members with which a reader overrides headers of the answer.
type responses struct {
	ResponseCacheControl, ResponseContentDisposition, ResponseContentEncoding *string
	ResponseContentLanguage, ResponseContentType                              *string
	ResponseExpires                                                           *time.Time
}

// show fills the output of a read, and says which bytes it is of.
func (o *object) show(in any, ranged *string, partNumber *int64, out any) (span, error) {
	var cond conditions
	var mode struct{ ChecksumMode *string }
	var over responses
	assign(&cond, in)
	assign(&mode, in)
	assign(&over, in)
	if err := cond.check(o); err != nil {
		return span{}, err
	}
	want, partial := span{0, o.Size}, false
	show := shown{AcceptRanges: awsapi.Ptr("bytes"), ETag: awsapi.Ptr(quoted(o.ETag)), LastModified: &o.Modified}
	switch {
	case ranged != nil && partNumber != nil:
		return span{}, invalid("InvalidRequest", "Cannot specify both Range header and partNumber query parameter.")
	case ranged != nil:
		r, ok, err := parseRange(*ranged, o.Size)
		if err != nil {
			return span{}, err
		}
		if ok {
			want, partial = r, true
		}
	case partNumber != nil:
		r, err := o.span(*partNumber)
		if err != nil {
			return span{}, err
		}
		want, partial = r, o.Size > 0
		if o.Multipart {
			show.PartsCount = awsapi.Ptr(int64(len(o.Parts)))
		}
	}
	if partial {
		show.ContentRange = awsapi.Ptr(want.contentRange(o.Size))
	} else if mode.ChecksumMode != nil {
		showChecksum(out, o.Checksum)
	}
	show.ContentLength = &want.length
	if n := len(o.Tags); n > 0 {
		show.TagCount = awsapi.Ptr(int64(n))
	}
	assign(out, &show)
	assign(out, &o.attributes)
	var expires *string
	if over.ResponseExpires != nil {
		expires = awsapi.Ptr(over.ResponseExpires.UTC().Format(http.TimeFormat))
	}
	assign(out, &attributes{
		CacheControl: over.ResponseCacheControl, ContentDisposition: over.ResponseContentDisposition,
		ContentEncoding: over.ResponseContentEncoding, ContentLanguage: over.ResponseContentLanguage,
		ContentType: over.ResponseContentType, Expires: expires,
	})
	return want, nil
}

// span is where the part with that number lies.
func (o *object) span(number int64) (span, error) {
	if !o.Multipart && number == 1 {
		return span{0, o.Size}, nil
	}
	var offset int64
	for i, p := range o.Parts {
		// AWS: parts are counted anew from 1, whatever numbers they were uploaded under.
		if o.Multipart && int64(i+1) == number {
			return span{offset, p.Blob.Size}, nil
		}
		offset += p.Blob.Size
	}
	return span{}, withFields(awsapi.Errorf(416, "InvalidPartNumber", "The requested partnumber is not satisfiable"),
		"ActualPartCount", strconv.Itoa(len(o.Parts)), "PartNumberRequested", strconv.FormatInt(number, 10))
}

// DeleteObject removes a key; one that is not there is no error.
func (s *Service) DeleteObject(ctx context.Context, in *s3api.DeleteObjectInput) (*s3api.DeleteObjectOutput, error) {
	if err := s.checkRead(ctx, in, in.Bucket, in.VersionId, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	out := &s3api.DeleteObjectOutput{}
	err := s.delete(ctx, in.Bucket, in.Key, in.IfMatch, func(batch *store.Batch) error { return awscall.Receipted(ctx, batch, out) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) delete(ctx context.Context, bucketName, key string, ifMatch *string, more func(*store.Batch) error) error {
	return s.swap(ctx, bucketName, key, func(old *object, batch *store.Batch) (*object, error) {
		if ifMatch != nil {
			if err := checkWrite(old, key, ifMatch, nil); err != nil {
				return nil, err
			}
		}
		if more == nil {
			return nil, nil
		}
		return nil, more(batch)
	})
}

// DeleteObjects removes up to 1000 keys; each has its own outcome. It needs no receipt: a repeated one changes nothing.
func (s *Service) DeleteObjects(ctx context.Context, in *s3api.DeleteObjectsInput) (*s3api.DeleteObjectsOutput, error) {
	if err := s.checkRead(ctx, in, in.Bucket, nil, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	if n := len(in.Delete.Objects); n == 0 || n > 1000 {
		return nil, invalid("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	outcomes := make([]error, len(in.Delete.Objects))
	var together errgroup.Group // so that the commits are grouped
	together.SetLimit(32)
	for i, id := range in.Delete.Objects {
		together.Go(func() error {
			if outcomes[i] = checkVersion(id.VersionId); outcomes[i] == nil {
				outcomes[i] = s.delete(ctx, in.Bucket, id.Key, id.ETag, nil)
			}
			return nil
		})
	}
	together.Wait()
	out := &s3api.DeleteObjectsOutput{}
	for i, id := range in.Delete.Objects {
		var refused *awsapi.Error
		switch err := outcomes[i]; {
		case errors.As(err, &refused):
			out.Errors = append(out.Errors, s3api.Error{Key: &id.Key, VersionId: id.VersionId, Code: &refused.Code, Message: &refused.Message})
		case err != nil:
			return nil, err
		case !awsapi.Val(in.Delete.Quiet):
			out.Deleted = append(out.Deleted, s3api.DeletedObject{Key: &id.Key, VersionId: id.VersionId})
		}
	}
	return out, nil
}

// parseCopySource splits "bucket/key?versionId=…", percent-encoded, with or without a slash in front.
func parseCopySource(source string) (bucket, key string, err error) {
	path, query, _ := strings.Cut(source, "?")
	path, e := url.PathUnescape(strings.TrimPrefix(path, "/"))
	bucket, key, ok := strings.Cut(path, "/")
	if e != nil || !ok || bucket == "" || key == "" || strings.HasPrefix(bucket, "arn:") {
		return "", "", withFields(invalid("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"),
			"ArgumentName", "x-amz-copy-source", "ArgumentValue", source)
	}
	if query != "" {
		q, _ := url.ParseQuery(query)
		if v := q.Get("versionId"); v != "" {
			if err := checkVersion(&v); err != nil {
				return "", "", err
			}
		}
	}
	return bucket, key, nil
}

// copied are the members of an input that say what is copied.
type copied struct {
	CopySource                                                          string
	ExpectedSourceBucketOwner, CopySourceIfMatch, CopySourceIfNoneMatch *string
	CopySourceIfModifiedSince, CopySourceIfUnmodifiedSince              *time.Time
}

// source is the object that in copies from, pinned: close body.
func (s *Service) source(ctx context.Context, in any) (*object, map[string][]byte, *reader, error) {
	var c copied
	assign(&c, in)
	bucketName, key, err := parseCopySource(c.CopySource)
	if err != nil {
		return nil, nil, nil, err
	}
	if _, _, err := s.bucket(ctx, bucketName, c.ExpectedSourceBucketOwner); err != nil {
		return nil, nil, nil, err
	}
	o, inline, err := s.pin(ctx, bucketName, key)
	if err != nil {
		return nil, nil, nil, err
	}
	if o == nil {
		return nil, nil, nil, noSuchKey(key)
	}
	body := s.reader(o, inline, span{0, o.Size})
	if err := (conditions{c.CopySourceIfMatch, c.CopySourceIfNoneMatch, c.CopySourceIfModifiedSince, c.CopySourceIfUnmodifiedSince, true}).check(o); err != nil {
		body.Close()
		return nil, nil, nil, err
	}
	return o, inline, body, nil
}

// CopyObject makes another object of the same bytes, without copying them: files get a second name.
func (s *Service) CopyObject(ctx context.Context, in *s3api.CopyObjectInput) (*s3api.CopyObjectOutput, error) {
	b, err := s.checkWrite(ctx, in, in.Bucket, in.Key, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	from, inline, body, err := s.source(ctx, in)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if from.Size > maxPut {
		return nil, invalid("InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	replace := awsapi.Val(in.MetadataDirective) == "REPLACE"
	if bucketName, key, _ := parseCopySource(in.CopySource); bucketName == in.Bucket && key == in.Key && !replace &&
		in.StorageClass == nil && in.WebsiteRedirectLocation == nil && in.ServerSideEncryption == nil && in.ChecksumAlgorithm == nil {
		return nil, invalid("InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	attr, err := attributesOf(in, in.Tagging, b)
	if err != nil {
		return nil, err
	}
	if !replace { // storage class, encryption and redirect are never copied
		kept := from.attributes
		kept.StorageClass, kept.WebsiteRedirectLocation = attr.StorageClass, attr.WebsiteRedirectLocation
		kept.ServerSideEncryption, kept.SSEKMSKeyId, kept.BucketKeyEnabled = attr.ServerSideEncryption, attr.SSEKMSKeyId, attr.BucketKeyEnabled
		kept.Tags = attr.Tags
		attr = kept
	}
	if awsapi.Val(in.TaggingDirective) != "REPLACE" {
		attr.Tags = from.Tags
	}
	o := &object{Size: from.Size, ETag: from.ETag, Modified: s.now(), Checksum: from.Checksum, attributes: attr}
	if sum := from.Checksum; from.Multipart || sum == nil || in.ChecksumAlgorithm != nil && *in.ChecksumAlgorithm != sum.Algorithm {
		alg := algCRC64NVME
		if in.ChecksumAlgorithm != nil {
			alg = *in.ChecksumAlgorithm
		} else if sum != nil {
			alg = sum.Algorithm
		}
		h := newChecksum(alg)
		if h == nil {
			return nil, notImplemented("The checksum algorithm " + alg)
		}
		if o.ETag, o.Checksum, err = digest(body, alg); err != nil {
			return nil, err
		}
	}
	linked, err := s.link(from.Parts)
	if err != nil {
		return nil, err
	}
	o.Parts = linked
	out := &s3api.CopyObjectOutput{CopyObjectResult: &s3api.CopyObjectResult{ETag: awsapi.Ptr(quoted(o.ETag)), LastModified: &o.Modified}}
	assign(out, &o.attributes)
	showChecksum(out.CopyObjectResult, o.Checksum)
	err = s.swap(ctx, in.Bucket, in.Key, func(old *object, batch *store.Batch) (*object, error) {
		if err := checkWrite(old, in.Key, in.IfMatch, in.IfNoneMatch); err != nil {
			return nil, err
		}
		for i, p := range o.Parts {
			putBytes(batch, p.Blob, inline[from.Parts[i].Blob.Name])
		}
		return o, awscall.Receipted(ctx, batch, out)
	})
	if err != nil {
		s.disk.drop(o.blobs()...)
		return nil, err
	}
	return out, nil
}

// link gives every part's bytes a name of their own.
func (s *Service) link(parts []part) ([]part, error) {
	var linked []part
	for _, p := range parts {
		b := blob{Name: newBlobName(), Size: p.Blob.Size, Row: true}
		if !p.Blob.Row {
			var err error
			if b, err = s.disk.link(p.Blob); err != nil {
				s.disk.drop((&object{Parts: linked}).blobs()...)
				return nil, fmt.Errorf("link object bytes: %w", err)
			}
		}
		linked = append(linked, part{Number: p.Number, Blob: b})
	}
	return linked, nil
}

// GetObjectAttributes tells what is known of an object beside its bytes.
func (s *Service) GetObjectAttributes(ctx context.Context, in *s3api.GetObjectAttributesInput) (*s3api.GetObjectAttributesOutput, error) {
	o, err := s.existing(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &s3api.GetObjectAttributesOutput{LastModified: &o.Modified}
	for _, name := range in.ObjectAttributes {
		switch name {
		case "ETag":
			out.ETag = &o.ETag // AWS: without quotes, here alone
		case "Checksum":
			if o.Checksum != nil {
				out.Checksum = &s3api.Checksum{}
				showChecksum(out.Checksum, o.Checksum)
			}
		case "ObjectSize":
			out.ObjectSize = &o.Size
		case "StorageClass":
			out.StorageClass = awsapi.Ptr(o.storageClass())
		case "ObjectParts":
			if o.Multipart {
				out.ObjectParts = o.listParts(in.PartNumberMarker, in.MaxParts)
			}
		}
	}
	return out, nil
}

func (o *object) storageClass() string {
	if o.StorageClass == nil {
		return "STANDARD"
	}
	return *o.StorageClass
}

func (o *object) listParts(marker, maxParts *int64) *s3api.GetObjectAttributesParts {
	after, limit := awsapi.Val(marker), int64(1000)
	if maxParts != nil {
		limit = min(limit, *maxParts)
	}
	out := &s3api.GetObjectAttributesParts{
		TotalPartsCount: awsapi.Ptr(int64(len(o.Parts))), PartNumberMarker: &after, MaxParts: &limit, IsTruncated: awsapi.Ptr(false),
	}
	for i, p := range o.Parts {
		number := int64(i + 1)
		if number <= after {
			continue
		}
		if int64(len(out.Parts)) == limit {
			out.IsTruncated = awsapi.Ptr(true)
			break
		}
		shown := s3api.ObjectPart{PartNumber: &number, Size: awsapi.Ptr(p.Blob.Size)}
		if o.Checksum != nil && p.Checksum != "" {
			showChecksum(&shown, &checksum{Algorithm: o.Checksum.Algorithm, Value: p.Checksum})
		}
		out.Parts = append(out.Parts, shown)
		out.NextPartNumberMarker = &number
	}
	return out
}
