package s3

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/store"
)

const maxList = 1000

// question is what all listings ask.
type question struct {
	kind, bucket, prefix, delimiter string
	after                           position
	limit                           int64
}

// position is a place in the order of keys: behind a key, or behind all keys with a prefix.
type position struct {
	Key    string `json:"k,omitempty"`
	Prefix string `json:"p,omitempty"`
}

func (p position) token() string {
	b, _ := json.Marshal(p)
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseToken(token string) (position, error) {
	var p position
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return p, withFields(invalid("InvalidArgument", "The continuation token provided is incorrect"), "ArgumentName", "continuation-token")
	}
	return p, nil
}

// behind is the position of a marker. A marker that is itself a common prefix stands for all of its keys.
func (q question) behind(marker string) position {
	if q.rolled(marker) == marker && marker != "" {
		return position{Prefix: marker}
	}
	return position{Key: marker}
}

// rolled is the common prefix that stands for a key in the listing, or "" when the key is listed itself.
func (q question) rolled(key string) string {
	rest, ok := strings.CutPrefix(key, q.prefix)
	if !ok || q.delimiter == "" {
		return ""
	}
	i := strings.Index(rest, q.delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(q.prefix)+i+len(q.delimiter)]
}

// answer is a page of a listing.
type answer struct {
	entries   []store.Found
	prefixes  []string
	truncated bool
	last      position // of the last entry or prefix
}

// keyOf is the key of an index row of a bucket.
func keyOf(q question, id string) string {
	key := id[len(q.bucket)+1:]
	if q.kind == kindUpload {
		key = key[:strings.LastIndexByte(key, '\x01')]
	}
	return key
}

// list walks the keys in order. Keys that share a prefix up to the delimiter count as one, and are passed over in one
// step: the work is bounded by what is answered, not by what the bucket holds.
func (s *Service) list(ctx context.Context, q question) (a answer, err error) {
	if q.limit == 0 {
		return a, nil
	}
	page := min(int(q.limit)+1, maxList+1)
	if q.delimiter != "" {
		page = min(page, 100)
	}
	cursor := ""
	switch {
	case q.after.Prefix != "":
		cursor = at(beyond(objectID(q.bucket, q.after.Prefix)))
	case q.after.Key != "":
		cursor = at(objectID(q.bucket, q.after.Key))
	}
	for {
		rows, err := s.Store.List(ctx, store.Query{Account: rowAccount, Region: rowRegion, Service: service, Kind: q.kind,
			Prefix: objectID(q.bucket, q.prefix), After: cursor, Limit: page})
		if err != nil {
			return a, err
		}
		rolled := ""
		for _, r := range rows {
			key := keyOf(q, r.Key.ID)
			cursor = r.Cursor
			rolled = q.rolled(key)
			if rolled != "" && (rolled == q.after.Prefix || len(a.prefixes) > 0 && a.prefixes[len(a.prefixes)-1] == rolled) {
				continue
			}
			if int64(len(a.entries)+len(a.prefixes)) == q.limit {
				a.truncated = true
				return a, nil
			}
			if rolled != "" {
				a.prefixes = append(a.prefixes, rolled)
				a.last = position{Prefix: rolled}
			} else {
				a.entries = append(a.entries, r)
				a.last = position{Key: strings.TrimPrefix(r.Key.ID, q.bucket+"/")}
			}
		}
		if len(rows) < page {
			return a, nil
		}
		if rolled != "" {
			cursor = at(beyond(objectID(q.bucket, rolled)))
		}
	}
}

// limitOf reads max-keys and its like.
func limitOf(name string, n *int64) (int64, error) {
	switch {
	case n == nil:
		return maxList, nil
	case *n < 0:
		return 0, withFields(invalid("InvalidArgument", "Argument %s must be an integer between 0 and 2147483647", name), "ArgumentName", name)
	}
	return min(*n, maxList), nil
}

// encoder writes keys as the caller wants them: as they are, or percent-encoded.
func encoder(encoding *string) (func(string) string, error) {
	switch {
	case encoding == nil:
		return func(s string) string { return s }, nil
	case *encoding == "url":
		return percentEncode, nil
	}
	return nil, withFields(invalid("InvalidArgument", "Invalid Encoding Method specified in Request"),
		"ArgumentName", "encoding-type", "ArgumentValue", *encoding)
}

func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~*/", c) >= 0:
			b.WriteByte(c)
		default:
			const hex = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// present writes an optional text as the encoder does; absent stays absent.
func present(encode func(string) string, s *string) *string {
	if s == nil {
		return nil
	}
	return awsapi.Ptr(encode(*s))
}

// listing is what all listings of a bucket have in common: the members of their inputs, what they mean, and a page.
type listing struct {
	Prefix, Delimiter, EncodingType, ExpectedBucketOwner *string
	Bucket                                               string

	bucket bucket
	q      question
	encode func(string) string
}

// listing reads a listing's input; limit is its bound, called name in the query.
func (s *Service) listing(ctx context.Context, kind string, in any, name string, limit *int64) (*listing, error) {
	l := &listing{}
	assign(l, in)
	var err error
	if l.bucket, _, err = s.bucket(ctx, l.Bucket, l.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	l.q = question{kind: kind, bucket: l.Bucket, prefix: awsapi.Val(l.Prefix), delimiter: awsapi.Val(l.Delimiter)}
	if l.q.limit, err = limitOf(name, limit); err != nil {
		return nil, err
	}
	l.encode, err = encoder(l.EncodingType)
	return l, err
}

// show fills the members that the outputs of listings share.
func (l *listing) show(out any, a *answer) {
	var prefixes []s3api.CommonPrefix
	for _, p := range a.prefixes {
		prefixes = append(prefixes, s3api.CommonPrefix{Prefix: awsapi.Ptr(l.encode(p))})
	}
	assign(out, &struct {
		Name, Bucket, Prefix, Delimiter, EncodingType *string
		MaxKeys, MaxUploads                           *int64
		IsTruncated                                   *bool
		CommonPrefixes                                []s3api.CommonPrefix
	}{&l.bucket.Name, &l.bucket.Name, awsapi.Ptr(l.encode(l.q.prefix)), present(l.encode, l.Delimiter), l.EncodingType, &l.q.limit, &l.q.limit, &a.truncated, prefixes})
}

// objects writes the entries of a page.
func (l *listing) objects(a *answer, owned bool) ([]s3api.Object, error) {
	var owner *s3api.Owner
	if owned {
		owner = &s3api.Owner{ID: awsapi.Ptr(ownerID(l.bucket.Account))}
	}
	out := make([]s3api.Object, len(a.entries))
	for i, r := range a.entries {
		var o object
		if err := json.Unmarshal(r.Value, &o); err != nil {
			return nil, err
		}
		out[i] = s3api.Object{
			Key: awsapi.Ptr(l.encode(keyOf(l.q, r.Key.ID))), LastModified: &o.Modified, ETag: awsapi.Ptr(quoted(o.ETag)),
			Size: &o.Size, StorageClass: awsapi.Ptr(o.storageClass()), Owner: owner,
		}
		if o.Checksum != nil {
			out[i].ChecksumAlgorithm, out[i].ChecksumType = []string{o.Checksum.Algorithm}, &o.Checksum.Type
		}
	}
	return out, nil
}

// ListObjectsV2 lists a bucket by key.
func (s *Service) ListObjectsV2(ctx context.Context, in *s3api.ListObjectsV2Input) (*s3api.ListObjectsV2Output, error) {
	l, err := s.listing(ctx, kindObject, in, "max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	if in.ContinuationToken != nil {
		if l.q.after, err = parseToken(*in.ContinuationToken); err != nil {
			return nil, err
		}
	} else if in.StartAfter != nil {
		l.q.after = l.q.behind(*in.StartAfter)
	}
	a, err := s.list(ctx, l.q)
	if err != nil {
		return nil, err
	}
	out := &s3api.ListObjectsV2Output{KeyCount: awsapi.Ptr(int64(len(a.entries) + len(a.prefixes))),
		ContinuationToken: in.ContinuationToken, StartAfter: present(l.encode, in.StartAfter)}
	l.show(out, &a)
	if a.truncated {
		out.NextContinuationToken = awsapi.Ptr(a.last.token())
	}
	out.Contents, err = l.objects(&a, awsapi.Val(in.FetchOwner))
	return out, err
}

// ListObjects lists a bucket by key, in the older form.
func (s *Service) ListObjects(ctx context.Context, in *s3api.ListObjectsInput) (*s3api.ListObjectsOutput, error) {
	l, err := s.listing(ctx, kindObject, in, "max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	marker := awsapi.Val(in.Marker)
	l.q.after = l.q.behind(marker)
	a, err := s.list(ctx, l.q)
	if err != nil {
		return nil, err
	}
	out := &s3api.ListObjectsOutput{Marker: awsapi.Ptr(l.encode(marker))}
	l.show(out, &a)
	if a.truncated && l.q.delimiter != "" { // AWS: without a delimiter the last key is the next marker
		out.NextMarker = awsapi.Ptr(l.encode(a.last.Key + a.last.Prefix))
	}
	out.Contents, err = l.objects(&a, true)
	return out, err
}

// ListObjectVersions lists the one version, "null", of each key: buckets are not versioned.
func (s *Service) ListObjectVersions(ctx context.Context, in *s3api.ListObjectVersionsInput) (*s3api.ListObjectVersionsOutput, error) {
	l, err := s.listing(ctx, kindObject, in, "max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	marker := awsapi.Val(in.KeyMarker)
	l.q.after = l.q.behind(marker)
	a, err := s.list(ctx, l.q)
	if err != nil {
		return nil, err
	}
	out := &s3api.ListObjectVersionsOutput{KeyMarker: awsapi.Ptr(l.encode(marker)), VersionIdMarker: awsapi.Ptr(awsapi.Val(in.VersionIdMarker))}
	l.show(out, &a)
	objects, err := l.objects(&a, true)
	for _, o := range objects {
		v := s3api.ObjectVersion{VersionId: awsapi.Ptr("null"), IsLatest: awsapi.Ptr(true)}
		assign(&v, &o)
		out.Versions = append(out.Versions, v)
	}
	if a.truncated {
		out.NextKeyMarker, out.NextVersionIdMarker = awsapi.Ptr(l.encode(a.last.Key+a.last.Prefix)), awsapi.Ptr("null")
	}
	return out, err
}

// ListMultipartUploads lists the unfinished uploads, by key and then by their beginning.
func (s *Service) ListMultipartUploads(ctx context.Context, in *s3api.ListMultipartUploadsInput) (*s3api.ListMultipartUploadsOutput, error) {
	l, err := s.listing(ctx, kindUpload, in, "max-uploads", in.MaxUploads)
	if err != nil {
		return nil, err
	}
	if in.KeyMarker != nil && *in.KeyMarker != "" {
		// Behind all uploads of the marker's key, or behind the one that is named.
		l.q.after = l.q.behind(*in.KeyMarker)
		if l.q.after.Key != "" && awsapi.Val(in.UploadIdMarker) != "" {
			l.q.after.Key += "\x01" + *in.UploadIdMarker
		} else if l.q.after.Key != "" {
			l.q.after.Key += "\x02"
		}
	}
	a, err := s.list(ctx, l.q)
	if err != nil {
		return nil, err
	}
	out := &s3api.ListMultipartUploadsOutput{KeyMarker: awsapi.Ptr(l.encode(awsapi.Val(in.KeyMarker))), UploadIdMarker: awsapi.Ptr(awsapi.Val(in.UploadIdMarker))}
	l.show(out, &a)
	for _, r := range a.entries {
		var u upload
		if err := json.Unmarshal(r.Value, &u); err != nil {
			return nil, err
		}
		owner := s3api.Owner{ID: awsapi.Ptr(ownerID(u.Account))}
		shown := s3api.MultipartUpload{
			Key: awsapi.Ptr(l.encode(u.Key)), UploadId: &u.ID, Initiated: &u.Started, Owner: &owner, Initiator: &s3api.Initiator{ID: owner.ID},
			StorageClass: awsapi.Ptr((&object{attributes: u.attributes}).storageClass()),
		}
		if u.Asked {
			shown.ChecksumAlgorithm, shown.ChecksumType = &u.Algorithm, &u.ChecksumType
		}
		out.Uploads = append(out.Uploads, shown)
	}
	if a.truncated {
		key, id, _ := strings.Cut(a.last.Key, "\x01")
		out.NextKeyMarker, out.NextUploadIdMarker = awsapi.Ptr(l.encode(key+a.last.Prefix)), awsapi.Ptr(id)
	}
	return out, nil
}
