package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/store"
	"github.com/mayfly-run/mayfly/store/memory"
	"github.com/mayfly-run/mayfly/store/sqlite"
)

type fixedClock struct{ now time.Time }

func (c *fixedClock) Now() time.Time                              { return c.now }
func (c *fixedClock) AfterFunc(time.Duration, func()) clock.Timer { panic("no timers in S3") }

type tt interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func newService(t tt, dir string, st store.Store) *Service {
	t.Helper()
	s, err := New(context.Background(), Config{Store: st, Clock: &fixedClock{time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}, DataDir: dir,
		Fatal: func(err error) { t.Fatal(err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func setup(t *testing.T) (*Service, context.Context) {
	s := newService(t, t.TempDir(), memory.New())
	ctx := context.Background()
	must(t)(s.CreateBucket(ctx, &s3api.CreateBucketInput{Bucket: "bkt"}))
	return s, ctx
}

func must(t tt) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func putText(t tt, s *Service, key, text string) *s3api.PutObjectOutput {
	t.Helper()
	out, err := s.PutObject(context.Background(), &s3api.PutObjectInput{Bucket: "bkt", Key: key, Body: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func getText(t tt, s *Service, in *s3api.GetObjectInput) (string, *s3api.GetObjectOutput) {
	t.Helper()
	in.Bucket = "bkt"
	out, err := s.GetObject(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	if *out.ContentLength != int64(len(b)) {
		t.Fatalf("length %d of %d bytes", *out.ContentLength, len(b))
	}
	return string(b), out
}

func wantCode(t tt, err error, status int, code string) {
	t.Helper()
	var e *awsapi.Error
	if !errors.As(err, &e) || e.Code != code || e.Status != status {
		t.Fatalf("error %v, want %d %s", err, status, code)
	}
}

func files(t tt, dir string) (names []string) {
	filepath.WalkDir(filepath.Join(dir, "s3"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return nil
	})
	return names
}

func TestPutAndGet(t *testing.T) {
	s, ctx := setup(t)
	big := strings.Repeat("0123456789abcdef", 4096) // a file
	for key, text := range map[string]string{"a": "small", "a/b": "below a", "a/": "", "big": big, "ключ ✓/x y+z%": "odd"} {
		out := putText(t, s, key, text)
		if want := fmt.Sprintf(`"%x"`, md5.Sum([]byte(text))); *out.ETag != want {
			t.Errorf("%s: etag %s, want %s", key, *out.ETag, want)
		}
		if got, _ := getText(t, s, &s3api.GetObjectInput{Key: key}); got != text {
			t.Errorf("%s: read %d bytes, want %d", key, len(got), len(text))
		}
	}
	if got, _ := getText(t, s, &s3api.GetObjectInput{Key: "a"}); got != "small" {
		t.Errorf("a is %q after a/b was put", got)
	}
	if n := len(files(t, s.DataDir)); n != 1 {
		t.Errorf("%d files, want one: only the big object has one", n)
	}
	_, err := s.GetObject(ctx, &s3api.GetObjectInput{Bucket: "bkt", Key: "b"})
	wantCode(t, err, 404, "NoSuchKey")
	_, err = s.GetObject(ctx, &s3api.GetObjectInput{Bucket: "other", Key: "a"})
	wantCode(t, err, 404, "NoSuchBucket")
	_, err = s.PutObject(ctx, &s3api.PutObjectInput{Bucket: "bkt", Key: strings.Repeat("k", 1025)})
	wantCode(t, err, 400, "KeyTooLongError")
	putText(t, s, "big", "now small")
	if n := len(files(t, s.DataDir)); n != 0 {
		t.Errorf("%d files, want none: the object was overwritten", n)
	}
}

func TestMetadataAndHeaders(t *testing.T) {
	s, ctx := setup(t)
	p := awsapi.Ptr[string]
	must(t)(s.PutObject(ctx, &s3api.PutObjectInput{Bucket: "bkt", Key: "k", Body: strings.NewReader("x"),
		ContentType: p("text/csv"), ContentEncoding: p("gzip,aws-chunked"), CacheControl: p("no-cache"), Expires: p("tomorrow"),
		Metadata: map[string]string{"color": "blue"}, Tagging: p("a=1&b=x%20y"), ServerSideEncryption: p("aws:kms")}))
	head, err := s.HeadObject(ctx, &s3api.HeadObjectInput{Bucket: "bkt", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	want := &s3api.HeadObjectOutput{
		AcceptRanges: p("bytes"), ContentLength: awsapi.Ptr(int64(1)), ETag: p(`"9dd4e461268c8034f5c8564e155c67a6"`), LastModified: awsapi.Ptr(s.now()),
		ContentType: p("text/csv"), ContentEncoding: p("gzip"), CacheControl: p("no-cache"), Expires: p("tomorrow"),
		Metadata: map[string]string{"color": "blue"}, TagCount: awsapi.Ptr(int64(2)), ServerSideEncryption: p("aws:kms"),
	}
	if d := cmp.Diff(want, head); d != "" {
		t.Error(d)
	}
	_, out := getText(t, s, &s3api.GetObjectInput{Key: "k", ResponseContentType: p("text/plain"), ResponseExpires: awsapi.Ptr(s.now())})
	if *out.ContentType != "text/plain" || *out.Expires != "Sun, 22 Nov 2026 10:00:00 GMT" || *out.CacheControl != "no-cache" {
		t.Errorf("overridden headers: %v", out)
	}
	_, err = s.PutObject(ctx, &s3api.PutObjectInput{Bucket: "bkt", Key: "m", Metadata: map[string]string{"x": strings.Repeat("y", 2048)}})
	wantCode(t, err, 400, "MetadataTooLarge")
	for _, in := range []*s3api.PutObjectInput{
		{SSECustomerAlgorithm: p("AES256")}, {ObjectLockMode: p("GOVERNANCE")}, {StorageClass: p("GLACIER")},
	} {
		in.Bucket, in.Key = "bkt", "refused"
		_, err := s.PutObject(ctx, in)
		wantCode(t, err, 400, "NotImplemented")
	}
	_, err = s.PutObject(ctx, &s3api.PutObjectInput{Bucket: "bkt", Key: "acl", ACL: p("public-read")})
	wantCode(t, err, 400, "AccessControlListNotSupported")
}

func TestRanges(t *testing.T) {
	const size = 10
	for _, c := range []struct {
		header string
		want   span
		ok     bool
		status int
	}{
		{"bytes=0-3", span{0, 4}, true, 0}, {"bytes=9-", span{9, 1}, true, 0}, {"bytes=-4", span{6, 4}, true, 0},
		{"bytes=-40", span{0, 10}, true, 0}, {"bytes=8-40", span{8, 2}, true, 0}, {"bytes=10-", span{}, false, 416},
		{"bytes=-0", span{}, false, 416}, {"bytes=5-4", span{}, false, 0}, {"bytes=0-1,3-4", span{}, false, 0},
		{"lines=1-2", span{}, false, 0}, {"bytes=x-y", span{}, false, 0}, {"bytes=", span{}, false, 0},
	} {
		got, ok, err := parseRange(c.header, size)
		if got != c.want || ok != c.ok || (err != nil) != (c.status != 0) {
			t.Errorf("%s: %v %v %v", c.header, got, ok, err)
		}
	}
	s, ctx := setup(t)
	putText(t, s, "k", "0123456789")
	text, out := getText(t, s, &s3api.GetObjectInput{Key: "k", Range: awsapi.Ptr("bytes=2-5"), IfMatch: awsapi.Ptr(`"781e5e245d69b566979b86e28d23f2c7"`)})
	if text != "2345" || *out.ContentRange != "bytes 2-5/10" {
		t.Errorf("range: %q %s", text, *out.ContentRange)
	}
	head, err := s.HeadObject(ctx, &s3api.HeadObjectInput{Bucket: "bkt", Key: "k", Range: awsapi.Ptr("bytes=-1")})
	if err != nil || *head.ContentLength != 1 || *head.ContentRange != "bytes 9-9/10" {
		t.Errorf("head with range: %v %v", head, err)
	}
	_, err = s.GetObject(ctx, &s3api.GetObjectInput{Bucket: "bkt", Key: "k", Range: awsapi.Ptr("bytes=10-")})
	wantCode(t, err, 416, "InvalidRange")
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-3", int64(10))
	f.Add("bytes=-3", int64(0))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		r, ok, err := parseRange(header, size)
		if ok && (err != nil || r.offset < 0 || r.length <= 0 || r.offset+r.length > size) {
			t.Fatalf("%q of %d: %v", header, size, r)
		}
	})
}

func FuzzCopySource(f *testing.F) {
	for _, s := range []string{"/b/k", "b/a%20b?versionId=null", "b/%zz", "arn:aws:s3:x/y", "b/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if bucket, key, err := parseCopySource(source); err == nil {
			again := "/" + bucket + "/" + percentEncode(key)
			if b, k, err := parseCopySource(again); b != bucket || k != key || err != nil {
				t.Fatalf("%q is %q %q, which is written %q and read %q %q (%v)", source, bucket, key, again, b, k, err)
			}
		}
	})
}

func FuzzTagging(f *testing.F) {
	for _, s := range []string{"a=b&c=d", "a", "=", "%zz=1", "a=1&a=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tags, err := parseTagging(header)
		if err == nil && len(tags) > maxObjectTags {
			t.Fatal(tags)
		}
		for _, x := range tags {
			if x.Key == "" {
				t.Fatalf("%q: an empty key", header)
			}
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add(position{Key: "a"}.token())
	f.Add("%")
	f.Fuzz(func(t *testing.T, token string) {
		if p, err := parseToken(token); err == nil {
			if q, err := parseToken(p.token()); err != nil {
				t.Fatal(p, q, err)
			}
		}
	})
}

func TestConditions(t *testing.T) {
	s, ctx := setup(t)
	etag := *putText(t, s, "k", "one").ETag
	p := awsapi.Ptr[string]
	at := func(d time.Duration) *time.Time { return awsapi.Ptr(s.now().Add(d)) }
	for name, c := range map[string]struct {
		in     s3api.GetObjectInput
		status int
		code   string
	}{
		"same":                      {s3api.GetObjectInput{IfMatch: &etag}, 0, ""},
		"star":                      {s3api.GetObjectInput{IfMatch: p("*")}, 0, ""},
		"other":                     {s3api.GetObjectInput{IfMatch: p(`"x"`)}, 412, "PreconditionFailed"},
		"known":                     {s3api.GetObjectInput{IfNoneMatch: p(`"x", ` + etag)}, 304, "NotModified"},
		"unknown":                   {s3api.GetObjectInput{IfNoneMatch: p(`"x"`)}, 0, ""},
		"not modified":              {s3api.GetObjectInput{IfModifiedSince: at(0)}, 304, "NotModified"},
		"modified":                  {s3api.GetObjectInput{IfModifiedSince: at(-time.Second)}, 0, ""},
		"modified after":            {s3api.GetObjectInput{IfUnmodifiedSince: at(-time.Second)}, 412, "PreconditionFailed"},
		"match outweighs date":      {s3api.GetObjectInput{IfMatch: &etag, IfUnmodifiedSince: at(-time.Second)}, 0, ""},
		"none match outweighs date": {s3api.GetObjectInput{IfNoneMatch: p(`"x"`), IfModifiedSince: at(time.Second)}, 0, ""},
	} {
		c.in.Bucket, c.in.Key = "bkt", "k"
		out, err := s.GetObject(ctx, &c.in)
		if c.status == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				out.Body.Close()
			}
			continue
		}
		wantCode(t, err, c.status, c.code)
	}
	write := func(key string, ifMatch, ifNoneMatch *string) error {
		_, err := s.PutObject(ctx, &s3api.PutObjectInput{Bucket: "bkt", Key: key, Body: strings.NewReader("two"), IfMatch: ifMatch, IfNoneMatch: ifNoneMatch})
		return err
	}
	wantCode(t, write("k", nil, p("*")), 412, "PreconditionFailed")
	wantCode(t, write("k", p(`"x"`), nil), 412, "PreconditionFailed")
	wantCode(t, write("new", p(`"x"`), nil), 404, "NoSuchKey")
	wantCode(t, write("k", nil, p(`"x"`)), 400, "NotImplemented")
	if err := write("new", nil, p("*")); err != nil {
		t.Error(err)
	}
	if err := write("k", &etag, nil); err != nil {
		t.Error(err)
	}
	// Of many who create the same key, one does.
	var wins, losses int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			err := write("contended", nil, p("*"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				wins++
			} else if awscall.Code(err) == "PreconditionFailed" {
				losses++
			}
		})
	}
	all.Wait()
	if wins != 1 || losses != 19 {
		t.Errorf("%d created it, %d were refused", wins, losses)
	}
}

func TestChecksums(t *testing.T) {
	// The check values of the algorithms: of "123456789".
	const text = "123456789"
	want := map[string]string{
		algCRC32: "y/Q5Jg==", algCRC32C: "4waSgw==", algCRC64NVME: "rosUhgp5mIg=",
		algSHA1: "98O8HYCOBHMq32eZZczDTKeuNEE=", algSHA256: "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
	}
	s, ctx := setup(t)
	for alg, sum := range want {
		in := &s3api.PutObjectInput{Bucket: "bkt", Key: alg, Body: strings.NewReader(text), ChecksumAlgorithm: &alg}
		out, err := s.PutObject(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		claimed := &s3api.PutObjectInput{Bucket: "bkt", Key: alg, Body: strings.NewReader(text)}
		assign(claimed, out) // sends back what was answered
		claimed.ServerSideEncryption = nil
		if c, err := claimsOf(claimed, nil, nil); err != nil || c.Sums[alg] != sum {
			t.Errorf("%s: %v, want %s", alg, c.Sums, sum)
		}
		if _, err := s.PutObject(ctx, claimed); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		claimed.Body = strings.NewReader(text + "!")
		_, err = s.PutObject(ctx, claimed)
		wantCode(t, err, 400, "BadDigest")
		_, got := getText(t, s, &s3api.GetObjectInput{Key: alg, ChecksumMode: awsapi.Ptr("ENABLED")})
		if c, _ := claimsOf(got, nil, nil); c.Sums[alg] != sum || *got.ChecksumType != fullObject {
			t.Errorf("%s: read back %v", alg, c.Sums)
		}
	}
	put := func(in *s3api.PutObjectInput) error {
		in.Bucket, in.Key, in.Body = "bkt", "bad", strings.NewReader(text)
		_, err := s.PutObject(ctx, in)
		return err
	}
	p := awsapi.Ptr[string]
	sum := md5.Sum([]byte(text))
	if err := put(&s3api.PutObjectInput{ContentMD5: p(base64.StdEncoding.EncodeToString(sum[:]))}); err != nil {
		t.Error(err)
	}
	wantCode(t, put(&s3api.PutObjectInput{ContentMD5: p("AAAAAAAAAAAAAAAAAAAAAA==")}), 400, "BadDigest")
	wantCode(t, put(&s3api.PutObjectInput{ContentMD5: p("short")}), 400, "InvalidDigest")
	wantCode(t, put(&s3api.PutObjectInput{ChecksumCRC32: p("x")}), 400, "InvalidRequest")
	wantCode(t, put(&s3api.PutObjectInput{ChecksumCRC32: p("y/Q5Jg=="), ChecksumCRC32C: p("4waSgw==")}), 400, "InvalidRequest")
	wantCode(t, put(&s3api.PutObjectInput{ContentLength: awsapi.Ptr(int64(10))}), 400, "IncompleteBody")
	if n := len(files(t, s.DataDir)); n != 0 {
		t.Errorf("refused puts left %d files", n)
	}
}

func TestCombinedChecksums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alg := rapid.SampledFrom([]string{algCRC32, algCRC32C, algCRC64NVME}).Draw(t, "algorithm")
		var parts []part
		whole := newChecksum(alg)
		for _, b := range rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 5).Draw(t, "parts") {
			h := newChecksum(alg)
			h.Write(b)
			whole.Write(b)
			parts = append(parts, part{Blob: blob{Size: int64(len(b))}, Checksum: base64.StdEncoding.EncodeToString(h.Sum(nil))})
		}
		if got, want := combineChecksums(alg, parts), base64.StdEncoding.EncodeToString(whole.Sum(nil)); got != want {
			t.Fatalf("%s of %d parts: %s, want %s", alg, len(parts), got, want)
		}
	})
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	r.Read(b)
	return b
}

func TestMultipart(t *testing.T) {
	s, ctx := setup(t)
	one, two, three := random(minPart), random(minPart+7), []byte("the end")
	start := func(in *s3api.CreateMultipartUploadInput) string {
		in.Bucket, in.Key = "bkt", "m"
		out, err := s.CreateMultipartUpload(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		return *out.UploadId
	}
	upload := func(id string, n int64, b []byte) string {
		out, err := s.UploadPart(ctx, &s3api.UploadPartInput{Bucket: "bkt", Key: "m", UploadId: id, PartNumber: n, Body: bytes.NewReader(b)})
		if err != nil {
			t.Fatal(err)
		}
		return *out.ETag
	}
	complete := func(id string, numbers []int64, etags []string) (*s3api.CompleteMultipartUploadOutput, error) {
		list := &s3api.CompletedMultipartUpload{}
		for i, n := range numbers {
			list.Parts = append(list.Parts, s3api.CompletedPart{PartNumber: &n, ETag: &etags[i]})
		}
		return s.CompleteMultipartUpload(ctx, &s3api.CompleteMultipartUploadInput{Bucket: "bkt", Key: "m", UploadId: id, MultipartUpload: list})
	}
	putText(t, s, "m", strings.Repeat("old", 10000))
	id := start(&s3api.CreateMultipartUploadInput{ContentType: awsapi.Ptr("text/plain"), Metadata: map[string]string{"a": "b"}})
	upload(id, 5, []byte("replaced below"))
	e3, e1, e2 := upload(id, 5, three), upload(id, 1, one), upload(id, 2, two)
	upload(id, 7, random(minPart)) // uploaded and not used
	listed, err := s.ListParts(ctx, &s3api.ListPartsInput{Bucket: "bkt", Key: "m", UploadId: id, MaxParts: awsapi.Ptr(int64(2))})
	if err != nil || len(listed.Parts) != 2 || !*listed.IsTruncated || *listed.NextPartNumberMarker != 2 || *listed.Parts[1].ETag != e2 {
		t.Errorf("parts: %v %v", listed, err)
	}
	_, err = complete(id, []int64{2, 1}, []string{e2, e1})
	wantCode(t, err, 400, "InvalidPartOrder")
	_, err = complete(id, []int64{1, 3}, []string{e1, e3})
	wantCode(t, err, 400, "InvalidPart")
	_, err = complete(id, []int64{1, 2}, []string{e1, e1})
	wantCode(t, err, 400, "InvalidPart")
	_, err = complete(id, []int64{1, 5, 7}, []string{e1, e3, e1})
	wantCode(t, err, 400, "EntityTooSmall")
	out, err := complete(id, []int64{1, 2, 5}, []string{e1, e2, e3})
	if err != nil {
		t.Fatal(err)
	}
	h := md5.New()
	for _, b := range [][]byte{one, two, three} {
		d := md5.Sum(b)
		h.Write(d[:])
	}
	if want := fmt.Sprintf(`"%x-3"`, h.Sum(nil)); *out.ETag != want {
		t.Errorf("etag %s, want %s", *out.ETag, want)
	}
	whole := slices.Concat(one, two, three)
	sum := newChecksum(algCRC64NVME)
	sum.Write(whole)
	if want := base64.StdEncoding.EncodeToString(sum.Sum(nil)); *out.ChecksumCRC64NVME != want || *out.ChecksumType != fullObject {
		t.Errorf("checksum %s, want %s", *out.ChecksumCRC64NVME, want)
	}
	again, err := complete(id, []int64{1, 2, 5}, []string{e1, e2, e3})
	if err != nil || *again.ETag != *out.ETag {
		t.Errorf("repeated complete: %v %v", again, err)
	}
	text, got := getText(t, s, &s3api.GetObjectInput{Key: "m"})
	if text != string(whole) || *got.ContentType != "text/plain" || got.Metadata["a"] != "b" {
		t.Error("the object is not the sum of its parts")
	}
	for _, r := range []span{{minPart - 3, 10}, {2*minPart + 5, 9}, {0, 1}, {minPart, minPart + 7}} {
		text, _ := getText(t, s, &s3api.GetObjectInput{Key: "m", Range: awsapi.Ptr(fmt.Sprintf("bytes=%d-%d", r.offset, r.offset+r.length-1))})
		if text != string(whole[r.offset:r.offset+r.length]) {
			t.Errorf("range %v differs", r)
		}
	}
	text, got = getText(t, s, &s3api.GetObjectInput{Key: "m", PartNumber: awsapi.Ptr(int64(3))})
	if text != string(three) || *got.PartsCount != 3 {
		t.Errorf("part 3: %d bytes of %d parts", len(text), *got.PartsCount)
	}
	if n := len(files(t, s.DataDir)); n != 2 { // the third part is a row
		t.Errorf("%d files, want 2", n)
	}

	// A copy is one object again, with the ETag of its bytes.
	copied, err := s.CopyObject(ctx, &s3api.CopyObjectInput{Bucket: "bkt", Key: "copy", CopySource: "/bkt/m"})
	if want := fmt.Sprintf(`"%x"`, md5.Sum(whole)); err != nil || *copied.CopyObjectResult.ETag != want {
		t.Fatalf("copy: %v %v, want %s", copied, err, want)
	}
	must(t)(s.DeleteObject(ctx, &s3api.DeleteObjectInput{Bucket: "bkt", Key: "m"}))
	if text, _ := getText(t, s, &s3api.GetObjectInput{Key: "copy"}); text != string(whole) {
		t.Error("the copy went with its source")
	}

	id = start(&s3api.CreateMultipartUploadInput{ChecksumAlgorithm: awsapi.Ptr(algSHA256)})
	must(t)(s.UploadPartCopy(ctx, &s3api.UploadPartCopyInput{Bucket: "bkt", Key: "m", UploadId: id, PartNumber: 1, CopySource: "bkt/copy", CopySourceRange: awsapi.Ptr("bytes=5-14")}))
	_, err = s.UploadPart(ctx, &s3api.UploadPartInput{Bucket: "bkt", Key: "m", UploadId: id, PartNumber: 1, ChecksumCRC32: awsapi.Ptr("y/Q5Jg==")})
	wantCode(t, err, 400, "InvalidRequest")
	out, err = complete(id, []int64{1}, []string{fmt.Sprintf("%x", md5.Sum(whole[5:15]))})
	if err != nil || !strings.HasSuffix(*out.ChecksumSHA256, "=-1") || *out.ChecksumType != composite {
		t.Errorf("composite: %v %v", out, err)
	}

	id = start(&s3api.CreateMultipartUploadInput{})
	upload(id, 1, one)
	before := len(files(t, s.DataDir))
	ups, err := s.ListMultipartUploads(ctx, &s3api.ListMultipartUploadsInput{Bucket: "bkt"})
	if err != nil || len(ups.Uploads) != 1 || *ups.Uploads[0].UploadId != id {
		t.Errorf("uploads: %v %v", ups, err)
	}
	must(t)(s.AbortMultipartUpload(ctx, &s3api.AbortMultipartUploadInput{Bucket: "bkt", Key: "m", UploadId: id}))
	if n := len(files(t, s.DataDir)); n != before-1 {
		t.Errorf("abort left its part: %d files before, %d after", before, n)
	}
	_, err = complete(id, []int64{1}, []string{e1})
	wantCode(t, err, 404, "NoSuchUpload")
}

func TestCopy(t *testing.T) {
	s, ctx := setup(t)
	p := awsapi.Ptr[string]
	must(t)(s.PutObject(ctx, &s3api.PutObjectInput{Bucket: "bkt", Key: "a b/ü", Body: strings.NewReader("text"), ContentType: p("text/plain"),
		Metadata: map[string]string{"k": "v"}, Tagging: p("t=1")}))
	for name, c := range map[string]struct {
		in   s3api.CopyObjectInput
		kind string
		meta map[string]string
		tags int
	}{
		"as it is": {s3api.CopyObjectInput{}, "text/plain", map[string]string{"k": "v"}, 1},
		"replaced": {s3api.CopyObjectInput{MetadataDirective: p("REPLACE"), ContentType: p("x/y"), Metadata: map[string]string{"n": "w"}}, "x/y", map[string]string{"n": "w"}, 1},
		"new tags": {s3api.CopyObjectInput{TaggingDirective: p("REPLACE"), Tagging: p("a=1&b=2")}, "text/plain", map[string]string{"k": "v"}, 2},
	} {
		c.in.Bucket, c.in.Key, c.in.CopySource = "bkt", "copy "+name, "bkt/a%20b/%C3%BC"
		must(t)(s.CopyObject(ctx, &c.in))
		text, got := getText(t, s, &s3api.GetObjectInput{Key: c.in.Key})
		if text != "text" || *got.ContentType != c.kind || !cmp.Equal(got.Metadata, c.meta) || *got.TagCount != int64(c.tags) {
			t.Errorf("%s: %q %v", name, text, got)
		}
	}
	try := func(in s3api.CopyObjectInput) error {
		in.Bucket, in.Key = "bkt", "k"
		_, err := s.CopyObject(ctx, &in)
		return err
	}
	putText(t, s, "k", "here")
	wantCode(t, try(s3api.CopyObjectInput{CopySource: "bkt/k"}), 400, "InvalidRequest")
	wantCode(t, try(s3api.CopyObjectInput{CopySource: "bkt"}), 400, "InvalidArgument")
	wantCode(t, try(s3api.CopyObjectInput{CopySource: "bkt/none"}), 404, "NoSuchKey")
	wantCode(t, try(s3api.CopyObjectInput{CopySource: "none/k"}), 404, "NoSuchBucket")
	wantCode(t, try(s3api.CopyObjectInput{CopySource: "bkt/a b/ü", CopySourceIfMatch: p("x")}), 412, "PreconditionFailed")
	wantCode(t, try(s3api.CopyObjectInput{CopySource: "bkt/a b/ü", CopySourceIfModifiedSince: awsapi.Ptr(s.now())}), 412, "PreconditionFailed")
	wantCode(t, try(s3api.CopyObjectInput{CopySource: "bkt/a b/ü", IfNoneMatch: p("*")}), 412, "PreconditionFailed")
	if err := try(s3api.CopyObjectInput{CopySource: "bkt/k", MetadataDirective: p("REPLACE"), ContentType: p("new")}); err != nil {
		t.Error(err)
	}
	if text, got := getText(t, s, &s3api.GetObjectInput{Key: "k"}); text != "here" || *got.ContentType != "new" {
		t.Errorf("copied onto itself: %q %v", text, got)
	}
}

// TestDeleteBucketBesideUploads: what deletes a bucket and what ends an upload in it wait for each other, and not for ever.
func TestDeleteBucketBesideUploads(t *testing.T) {
	s, ctx := setup(t)
	for range 50 {
		must(t)(s.CreateBucket(ctx, &s3api.CreateBucketInput{Bucket: "bkt"}))
		id, err := s.CreateMultipartUpload(ctx, &s3api.CreateMultipartUploadInput{Bucket: "bkt", Key: "m"})
		must(t)(id, err)
		p, err := s.UploadPart(ctx, &s3api.UploadPartInput{Bucket: "bkt", Key: "m", UploadId: *id.UploadId, PartNumber: 1, Body: strings.NewReader("x")})
		must(t)(p, err)
		var all sync.WaitGroup
		all.Go(func() {
			s.CompleteMultipartUpload(ctx, &s3api.CompleteMultipartUploadInput{Bucket: "bkt", Key: "m", UploadId: *id.UploadId,
				MultipartUpload: &s3api.CompletedMultipartUpload{Parts: []s3api.CompletedPart{{PartNumber: awsapi.Ptr(int64(1)), ETag: p.ETag}}}})
		})
		all.Go(func() { s.DeleteBucket(ctx, &s3api.DeleteBucketInput{Bucket: "bkt"}) })
		all.Wait()
		if _, err := s.DeleteObject(ctx, &s3api.DeleteObjectInput{Bucket: "bkt", Key: "m"}); err == nil {
			must(t)(s.DeleteBucket(ctx, &s3api.DeleteBucketInput{Bucket: "bkt"}))
		}
		for _, kind := range []string{kindObject, kindBytes, kindPart, kindUpload, kindBucket} {
			rows, err := s.Store.List(ctx, store.Query{Service: service, Kind: kind})
			if err != nil || len(rows) != 0 {
				t.Fatalf("%d rows of kind %s are left (%v)", len(rows), kind, err)
			}
		}
	}
}

// TestReaderKeepsItsFile: an overwritten or deleted object can be read to its end by who has begun, and is gone then.
func TestReaderKeepsItsFile(t *testing.T) {
	s, ctx := setup(t)
	text := strings.Repeat("x", inlineLimit+1)
	putText(t, s, "k", text)
	out, err := s.GetObject(ctx, &s3api.GetObjectInput{Bucket: "bkt", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	must(t)(s.DeleteObject(ctx, &s3api.DeleteObjectInput{Bucket: "bkt", Key: "k"}))
	if n := len(files(t, s.DataDir)); n != 1 {
		t.Errorf("%d files while it is read", n)
	}
	if b, err := io.ReadAll(out.Body); err != nil || string(b) != text {
		t.Errorf("read %d bytes: %v", len(b), err)
	}
	out.Body.Close()
	out.Body.Close()
	if n := len(files(t, s.DataDir)); n != 0 {
		t.Errorf("%d files after it was read", n)
	}
}

func TestBuckets(t *testing.T) {
	s, ctx := setup(t)
	p := awsapi.Ptr[string]
	for _, name := range []string{"ab", "Upper", "a..b", "192.168.0.1", "-a", "a-", "xn--a", "a_b", strings.Repeat("a", 64), "x-s3alias"} {
		_, err := s.CreateBucket(ctx, &s3api.CreateBucketInput{Bucket: name})
		wantCode(t, err, 400, "InvalidBucketName")
	}
	must(t)(s.CreateBucket(ctx, &s3api.CreateBucketInput{Bucket: "bkt"})) // AWS: no error in us-east-1
	must(t)(s.CreateBucket(ctx, &s3api.CreateBucketInput{Bucket: "eu.bucket", CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: p("eu-west-1")}}))
	_, err := s.CreateBucket(ctx, &s3api.CreateBucketInput{Bucket: "eu.bucket", CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: p("eu-west-1")}})
	wantCode(t, err, 409, "BucketAlreadyOwnedByYou")
	_, err = s.CreateBucket(ctx, &s3api.CreateBucketInput{Bucket: "nowhere", CreateBucketConfiguration: &s3api.CreateBucketConfiguration{LocationConstraint: p("nowhere")}})
	wantCode(t, err, 400, "InvalidLocationConstraint")
	where, err := s.GetBucketLocation(ctx, &s3api.GetBucketLocationInput{Bucket: "eu.bucket"})
	if err != nil || *where.LocationConstraint != "eu-west-1" {
		t.Errorf("location: %v %v", where, err)
	}
	all, err := s.ListBuckets(ctx, &s3api.ListBucketsInput{})
	if err != nil || len(all.Buckets) != 2 || *all.Buckets[0].Name != "bkt" {
		t.Errorf("buckets: %v %v", all, err)
	}
	putText(t, s, "k", "x")
	_, err = s.DeleteBucket(ctx, &s3api.DeleteBucketInput{Bucket: "bkt"})
	wantCode(t, err, 409, "BucketNotEmpty")
	must(t)(s.DeleteObjects(ctx, &s3api.DeleteObjectsInput{Bucket: "bkt", Delete: &s3api.Delete{Objects: []s3api.ObjectIdentifier{{Key: "k"}, {Key: "none"}}}}))
	id, err := s.CreateMultipartUpload(ctx, &s3api.CreateMultipartUploadInput{Bucket: "bkt", Key: "m"})
	must(t)(id, err)
	must(t)(s.UploadPart(ctx, &s3api.UploadPartInput{Bucket: "bkt", Key: "m", UploadId: *id.UploadId, PartNumber: 1, Body: bytes.NewReader(random(inlineLimit * 2))}))
	must(t)(s.DeleteBucket(ctx, &s3api.DeleteBucketInput{Bucket: "bkt"}))
	if n := len(files(t, s.DataDir)); n != 0 {
		t.Errorf("%d files outlived their bucket", n)
	}
	_, err = s.PutObject(ctx, &s3api.PutObjectInput{Bucket: "bkt", Key: "k"})
	wantCode(t, err, 404, "NoSuchBucket")
	_, err = s.HeadBucket(ctx, &s3api.HeadBucketInput{Bucket: "eu.bucket", ExpectedBucketOwner: p("111111111111")})
	wantCode(t, err, 403, "AccessDenied")
}

func TestSettings(t *testing.T) {
	s, ctx := setup(t)
	p := awsapi.Ptr[string]
	_, err := s.GetBucketPolicy(ctx, &s3api.GetBucketPolicyInput{Bucket: "bkt"})
	wantCode(t, err, 404, "NoSuchBucketPolicy")
	_, err = s.PutBucketPolicy(ctx, &s3api.PutBucketPolicyInput{Bucket: "bkt", Policy: "{}"})
	wantCode(t, err, 400, "MalformedPolicy")
	policy := `{"Version": "2012-10-17", "Statement": []}`
	must(t)(s.PutBucketPolicy(ctx, &s3api.PutBucketPolicyInput{Bucket: "bkt", Policy: policy}))
	if got, err := s.GetBucketPolicy(ctx, &s3api.GetBucketPolicyInput{Bucket: "bkt"}); err != nil || *got.Policy != policy {
		t.Errorf("policy: %v %v", got, err)
	}
	rules := []s3api.CORSRule{{AllowedMethods: []string{"GET"}, AllowedOrigins: []string{"*"}}}
	must(t)(s.PutBucketCors(ctx, &s3api.PutBucketCorsInput{Bucket: "bkt", CORSConfiguration: &s3api.CORSConfiguration{CORSRules: rules}}))
	if got, err := s.GetBucketCors(ctx, &s3api.GetBucketCorsInput{Bucket: "bkt"}); err != nil || !cmp.Equal(got.CORSRules, rules) {
		t.Errorf("cors: %v %v", got, err)
	}
	must(t)(s.DeleteBucketCors(ctx, &s3api.DeleteBucketCorsInput{Bucket: "bkt"}))
	_, err = s.GetBucketCors(ctx, &s3api.GetBucketCorsInput{Bucket: "bkt"})
	wantCode(t, err, 404, "NoSuchCORSConfiguration")
	must(t)(s.PutBucketEncryption(ctx, &s3api.PutBucketEncryptionInput{Bucket: "bkt", ServerSideEncryptionConfiguration: &s3api.ServerSideEncryptionConfiguration{
		Rules: []s3api.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &s3api.ServerSideEncryptionByDefault{SSEAlgorithm: "aws:kms", KMSMasterKeyID: p("key")}}}}}))
	if out := putText(t, s, "k", "x"); *out.ServerSideEncryption != "aws:kms" || *out.SSEKMSKeyId != "key" {
		t.Errorf("default encryption: %v", out)
	}
	if got, err := s.GetPublicAccessBlock(ctx, &s3api.GetPublicAccessBlockInput{Bucket: "bkt"}); err != nil || !*got.PublicAccessBlockConfiguration.BlockPublicPolicy {
		t.Errorf("public access block: %v %v", got, err)
	}
	must(t)(s.DeletePublicAccessBlock(ctx, &s3api.DeletePublicAccessBlockInput{Bucket: "bkt"}))
	_, err = s.GetPublicAccessBlock(ctx, &s3api.GetPublicAccessBlockInput{Bucket: "bkt"})
	wantCode(t, err, 404, "NoSuchPublicAccessBlockConfiguration")
	must(t)(s.PutBucketTagging(ctx, &s3api.PutBucketTaggingInput{Bucket: "bkt", Tagging: &s3api.Tagging{TagSet: []s3api.Tag{{Key: "a", Value: "b"}}}}))
	if got, err := s.GetBucketTagging(ctx, &s3api.GetBucketTaggingInput{Bucket: "bkt"}); err != nil || len(got.TagSet) != 1 {
		t.Errorf("bucket tags: %v %v", got, err)
	}
	_, err = s.PutObjectTagging(ctx, &s3api.PutObjectTaggingInput{Bucket: "bkt", Key: "k", Tagging: &s3api.Tagging{TagSet: []s3api.Tag{{Key: "a"}, {Key: "a"}}}})
	wantCode(t, err, 400, "InvalidTag")
	must(t)(s.PutObjectTagging(ctx, &s3api.PutObjectTaggingInput{Bucket: "bkt", Key: "k", Tagging: &s3api.Tagging{TagSet: []s3api.Tag{{Key: "z", Value: "1"}, {Key: "a", Value: "2"}}}}))
	if got, err := s.GetObjectTagging(ctx, &s3api.GetObjectTaggingInput{Bucket: "bkt", Key: "k"}); err != nil || len(got.TagSet) != 2 || got.TagSet[0].Key != "z" {
		t.Errorf("object tags: %v %v", got, err)
	}
	if text, _ := getText(t, s, &s3api.GetObjectInput{Key: "k"}); text != "x" {
		t.Errorf("tagging changed the bytes: %q", text)
	}
	_, err = s.PutBucketVersioning(ctx, &s3api.PutBucketVersioningInput{Bucket: "bkt", VersioningConfiguration: &s3api.VersioningConfiguration{Status: p("Enabled")}})
	wantCode(t, err, 400, "NotImplemented")
	_, err = s.PutBucketNotificationConfiguration(ctx, &s3api.PutBucketNotificationConfigurationInput{Bucket: "bkt", NotificationConfiguration: &s3api.NotificationConfiguration{EventBridgeConfiguration: &s3api.EventBridgeConfiguration{}}})
	wantCode(t, err, 400, "NotImplemented")
}

// TestListing compares every listing, in pages of any size, with a plain model of what S3 answers.
func TestListing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Service{Config: Config{Store: memory.New(), Clock: &fixedClock{}}}
		ctx := context.Background()
		keys := rapid.SliceOfNDistinct(rapid.StringMatching(`[ab/!0~é]{1,5}`), 0, 40, rapid.ID).Draw(t, "keys")
		var batch store.Batch
		for _, b := range []string{"bkt", "bkt2"} {
			put(&batch, row(kindBucket, b), store.Absent, bucket{Name: b})
		}
		for _, k := range keys {
			put(&batch, row(kindObject, objectID("bkt", k)), store.Absent, object{})
		}
		put(&batch, row(kindObject, objectID("bkt2", "a")), store.Absent, object{})
		must(t)(nil, s.Store.Commit(ctx, batch))
		slices.Sort(keys)

		prefix := rapid.StringMatching(`[ab/]{0,2}`).Draw(t, "prefix")
		delimiter := rapid.SampledFrom([]string{"", "/", "a", "b/"}).Draw(t, "delimiter")
		limit := rapid.Int64Range(1, 7).Draw(t, "limit")
		var want []string
		for _, k := range keys {
			rest, ok := strings.CutPrefix(k, prefix)
			if !ok {
				continue
			}
			if i := strings.Index(rest, delimiter); delimiter != "" && i >= 0 {
				k = "p:" + prefix + rest[:i+len(delimiter)]
			} else {
				k = "k:" + k
			}
			if len(want) == 0 || want[len(want)-1] != k {
				want = append(want, k)
			}
		}
		order := func(items []string) []string {
			slices.SortFunc(items, func(a, b string) int { return strings.Compare(a[2:], b[2:]) })
			return items
		}

		var v2 []string
		in := &s3api.ListObjectsV2Input{Bucket: "bkt", Prefix: &prefix, MaxKeys: &limit}
		if delimiter != "" {
			in.Delimiter = &delimiter
		}
		for {
			out, err := s.ListObjectsV2(ctx, in)
			must(t)(out, err)
			var page []string
			for _, o := range out.Contents {
				page = append(page, "k:"+*o.Key)
			}
			for _, p := range out.CommonPrefixes {
				page = append(page, "p:"+*p.Prefix)
			}
			if int64(len(page)) > limit || *out.KeyCount != int64(len(page)) {
				t.Fatalf("%d in a page of %d", len(page), limit)
			}
			v2 = append(v2, order(page)...)
			if !*out.IsTruncated {
				break
			}
			in.ContinuationToken = out.NextContinuationToken
		}
		if d := cmp.Diff(want, v2); d != "" {
			t.Fatalf("version 2: %s", d)
		}

		var v1 []string
		old := &s3api.ListObjectsInput{Bucket: "bkt", Prefix: &prefix, MaxKeys: &limit, Delimiter: in.Delimiter}
		for {
			out, err := s.ListObjects(ctx, old)
			must(t)(out, err)
			var page []string
			for _, o := range out.Contents {
				page = append(page, "k:"+*o.Key)
			}
			for _, p := range out.CommonPrefixes {
				page = append(page, "p:"+*p.Prefix)
			}
			v1 = append(v1, order(page)...)
			if !*out.IsTruncated {
				break
			}
			if old.Marker = out.NextMarker; old.Marker == nil {
				old.Marker = out.Contents[len(out.Contents)-1].Key
			}
		}
		if d := cmp.Diff(want, v1); d != "" {
			t.Fatalf("version 1: %s", d)
		}
	})
}

func TestListDetails(t *testing.T) {
	s, ctx := setup(t)
	for _, k := range []string{"a b", "a+b", "d/1", "d/2", "e"} {
		putText(t, s, k, "x")
	}
	out, err := s.ListObjectsV2(ctx, &s3api.ListObjectsV2Input{Bucket: "bkt", EncodingType: awsapi.Ptr("url"), MaxKeys: awsapi.Ptr(int64(5000)), StartAfter: awsapi.Ptr("a")})
	if err != nil || *out.MaxKeys != 1000 || *out.Contents[0].Key != "a%20b" || *out.Contents[1].Key != "a%2Bb" || *out.Contents[2].Key != "d/1" {
		t.Errorf("%v %v", out, err)
	}
	out, err = s.ListObjectsV2(ctx, &s3api.ListObjectsV2Input{Bucket: "bkt", MaxKeys: awsapi.Ptr(int64(0))})
	if err != nil || len(out.Contents) != 0 || *out.IsTruncated {
		t.Errorf("no keys asked: %v %v", out, err)
	}
	_, err = s.ListObjectsV2(ctx, &s3api.ListObjectsV2Input{Bucket: "bkt", ContinuationToken: awsapi.Ptr("%")})
	wantCode(t, err, 400, "InvalidArgument")
	v, err := s.ListObjectVersions(ctx, &s3api.ListObjectVersionsInput{Bucket: "bkt"})
	if err != nil || len(v.Versions) != 5 || *v.Versions[0].VersionId != "null" || *v.Versions[0].Size != 1 {
		t.Errorf("versions: %v %v", v, err)
	}
}

// TestModel sends random operations to the service and to a map, and starts it anew now and then: what the index says and
// what lies on the disk stay in step.
func TestModel(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		st, home := memory.New(), filepath.Join(dir, fmt.Sprint(run))
		s := newService(t, home, st)
		ctx := context.Background()
		must(t)(s.CreateBucket(ctx, &s3api.CreateBucketInput{Bucket: "bkt"}))
		model := map[string]string{}
		key := rapid.SampledFrom([]string{"a", "a/", "a/b", "b"})
		size := rapid.SampledFrom([]int{0, 1, inlineLimit, inlineLimit + 1, 3 * inlineLimit})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, text := key.Draw(t, "key"), strings.Repeat(rapid.StringN(1, 1, 1).Draw(t, "letter"), size.Draw(t, "size"))
				putText(t, s, k, text)
				model[k] = text
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				must(t)(s.DeleteObject(ctx, &s3api.DeleteObjectInput{Bucket: "bkt", Key: k}))
				delete(model, k)
			},
			"copy": func(t *rapid.T) {
				from, to := key.Draw(t, "from"), key.Draw(t, "to")
				_, err := s.CopyObject(ctx, &s3api.CopyObjectInput{Bucket: "bkt", Key: to, CopySource: "bkt/" + from, MetadataDirective: awsapi.Ptr("REPLACE")})
				if text, ok := model[from]; ok {
					must(t)(nil, err)
					model[to] = text
				} else {
					wantCode(t, err, 404, "NoSuchKey")
				}
			},
			"restart": func(t *rapid.T) { s = newService(t, home, st) },
			"": func(t *rapid.T) {
				big := 0
				for k, text := range model {
					if got, _ := getText(t, s, &s3api.GetObjectInput{Key: k}); got != text {
						t.Fatalf("%s has %d bytes, want %d", k, len(got), len(text))
					}
					if len(text) > inlineLimit {
						big++
					}
				}
				out, err := s.ListObjectsV2(ctx, &s3api.ListObjectsV2Input{Bucket: "bkt"})
				if err != nil || len(out.Contents) != len(model) {
					t.Fatalf("%d keys, want %d (%v)", len(out.Contents), len(model), err)
				}
				if n := len(files(t, home)); n != big {
					t.Fatalf("%d files for %d big objects", n, big)
				}
				rows, err := st.List(ctx, store.Query{Service: service, Kind: kindBytes})
				if err != nil || len(rows) != len(model)-big {
					t.Fatalf("%d rows of bytes for %d small objects (%v)", len(rows), len(model)-big, err)
				}
			},
		})
	})
}

// TestFailedCommit: bytes whose row could not be committed do not stay.
func TestFailedCommit(t *testing.T) {
	st := &failing{Store: memory.New()}
	s := newService(t, t.TempDir(), st)
	ctx := context.Background()
	must(t)(s.CreateBucket(ctx, &s3api.CreateBucketInput{Bucket: "bkt"}))
	putText(t, s, "k", strings.Repeat("o", inlineLimit+1))
	st.err = errors.New("disk full")
	_, err := s.PutObject(ctx, &s3api.PutObjectInput{Bucket: "bkt", Key: "k", Body: bytes.NewReader(random(inlineLimit + 1))})
	if !errors.Is(err, st.err) {
		t.Fatal(err)
	}
	_, err = s.DeleteObject(ctx, &s3api.DeleteObjectInput{Bucket: "bkt", Key: "k"})
	if !errors.Is(err, st.err) {
		t.Fatal(err)
	}
	if n := len(files(t, s.DataDir)); n != 1 {
		t.Errorf("%d files, want the old one", n)
	}
	if text, _ := getText(t, s, &s3api.GetObjectInput{Key: "k"}); text[0] != 'o' {
		t.Error("the old object is gone")
	}
}

type failing struct {
	store.Store
	err error
}

func (f *failing) Commit(ctx context.Context, b store.Batch) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.Commit(ctx, b)
}

// TestReceipts: a repeated call finds its receipt in the store, committed with the change.
func TestReceipts(t *testing.T) {
	s, ctx := setup(t)
	c := awscall.Call{Service: service, Operation: "PutObject", RequestKey: "execution/x/1/0"}
	out, err := s.PutObject(awscall.WithCall(ctx, c, s.now()), &s3api.PutObjectInput{Bucket: "bkt", Key: "k", Body: strings.NewReader("x")})
	must(t)(out, err)
	r, err := s.Store.Receipt(ctx, awscall.ReceiptKey(c))
	if err != nil || !strings.Contains(string(r.Answer), strings.Trim(*out.ETag, `"`)) {
		t.Errorf("receipt %s: %v", r.Answer, err)
	}
	_, err = s.PutObject(awscall.WithCall(ctx, c, s.now()), &s3api.PutObjectInput{Bucket: "bkt", Key: "k", Body: strings.NewReader("y")})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("a repetition past the receipt: %v", err)
	}
	if text, _ := getText(t, s, &s3api.GetObjectInput{Key: "k"}); text != "x" {
		t.Errorf("the repetition wrote %q", text)
	}
}

// TestKilled: a put that was interrupted, at whatever point, leaves nothing after the next start, and the object is as before.
func TestKilled(t *testing.T) {
	st, dir := memory.New(), t.TempDir()
	s := newService(t, dir, st)
	ctx := context.Background()
	must(t)(s.CreateBucket(ctx, &s3api.CreateBucketInput{Bucket: "bkt"}))
	old := strings.Repeat("old", inlineLimit)
	putText(t, s, "k", old)
	id, err := s.CreateMultipartUpload(ctx, &s3api.CreateMultipartUploadInput{Bucket: "bkt", Key: "m"})
	must(t)(id, err)
	part, err := s.UploadPart(ctx, &s3api.UploadPartInput{Bucket: "bkt", Key: "m", UploadId: *id.UploadId, PartNumber: 1, Body: bytes.NewReader(random(inlineLimit * 2))})
	must(t)(part, err)

	half := s.disk.create() // killed while the bytes arrive
	half.Write(random(inlineLimit + 1))
	whole := s.disk.create() // killed between the rename and the commit
	whole.Write(random(inlineLimit + 1))
	if _, err := whole.finish(); err != nil {
		t.Fatal(err)
	}
	if n := len(files(t, dir)); n != 4 {
		t.Fatalf("%d files before the restart, want 4", n)
	}
	s = newService(t, dir, st)
	if n := len(files(t, dir)); n != 2 {
		t.Errorf("%d files after the restart, want the object and the part", n)
	}
	if text, _ := getText(t, s, &s3api.GetObjectInput{Key: "k"}); text != old {
		t.Error("the object is not as before")
	}
	must(t)(s.CompleteMultipartUpload(ctx, &s3api.CompleteMultipartUploadInput{Bucket: "bkt", Key: "m", UploadId: *id.UploadId,
		MultipartUpload: &s3api.CompletedMultipartUpload{Parts: []s3api.CompletedPart{{PartNumber: awsapi.Ptr(int64(1)), ETag: part.ETag}}}}))
}

// TestBrokenBody: a body that ends early leaves nothing.
func TestBrokenBody(t *testing.T) {
	s, ctx := setup(t)
	for _, cause := range []error{io.ErrUnexpectedEOF, errors.New("reset by peer")} {
		_, err := s.PutObject(ctx, &s3api.PutObjectInput{Bucket: "bkt", Key: "k", Body: io.MultiReader(bytes.NewReader(random(inlineLimit*2)), iotest.ErrReader(cause))})
		if err == nil {
			t.Fatal("a broken body was kept")
		}
		if n := len(files(t, s.DataDir)); n != 0 {
			t.Errorf("%v left %d files", cause, n)
		}
	}
}

func BenchmarkPut1KiB(b *testing.B) {
	s := benchService(b)
	body := random(1 << 10)
	b.SetBytes(1 << 10)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.PutObject(context.Background(), &s3api.PutObjectInput{Bucket: "bkt", Key: fmt.Sprint("k", n.Add(1)), Body: bytes.NewReader(body)}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkUploadPart64MiB(b *testing.B) {
	s := benchService(b)
	id, err := s.CreateMultipartUpload(context.Background(), &s3api.CreateMultipartUploadInput{Bucket: "bkt", Key: "m"})
	must(b)(id, err)
	body := random(64 << 20)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := s.UploadPart(context.Background(), &s3api.UploadPartInput{Bucket: "bkt", Key: "m", UploadId: *id.UploadId, PartNumber: 1, Body: bytes.NewReader(body)}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList1000Of100000(b *testing.B) {
	s := benchService(b)
	for i := range 100 {
		var batch store.Batch
		for j := range 1000 {
			put(&batch, row(kindObject, objectID("bkt", fmt.Sprintf("dir%02d/key%04d", i, j))), store.Absent, object{ETag: strings.Repeat("e", 32)})
		}
		must(b)(nil, s.Store.Commit(context.Background(), batch))
	}
	for name, in := range map[string]*s3api.ListObjectsV2Input{
		"page":     {Bucket: "bkt", Prefix: awsapi.Ptr("dir50/")},
		"prefixes": {Bucket: "bkt", Delimiter: awsapi.Ptr("/")},
		"probe":    {Bucket: "bkt", Prefix: awsapi.Ptr("dir77/"), Delimiter: awsapi.Ptr("/"), MaxKeys: awsapi.Ptr(int64(2))},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				out, err := s.ListObjectsV2(context.Background(), in)
				if err != nil || *out.KeyCount == 0 {
					b.Fatal(out, err)
				}
			}
		})
	}
}

func benchService(b *testing.B) *Service {
	st, err := sqlite.Open(context.Background(), filepath.Join(b.TempDir(), "store.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { st.Close() })
	s := newService(b, b.TempDir(), st)
	must(b)(s.CreateBucket(context.Background(), &s3api.CreateBucketInput{Bucket: "bkt"}))
	return s
}

// TestFailedSync: when the disk does not take the bytes, the put is refused and the server is told to end.
func TestFailedSync(t *testing.T) {
	s, _ := setup(t)
	var reason error
	s.disk.fatal = func(err error) { reason = err }
	w := s.disk.create()
	w.Write(random(inlineLimit + 1))
	w.file.Close() // so that it cannot be synced
	if _, err := w.finish(); err == nil || reason == nil || !strings.Contains(reason.Error(), "sync ") {
		t.Errorf("finished with %v; the server ends for %v", err, reason)
	}
	if n := len(files(t, s.DataDir)); n != 0 {
		t.Errorf("%d files are left", n)
	}
}
