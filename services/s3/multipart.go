package s3

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/store"
)

const (
	minPart  = 5 << 20 // bytes in a part that is not the last
	maxParts = 10000
)

func partRow(upload string, number int32) store.Key {
	return row(kindPart, fmt.Sprintf("%s/%05d", upload, number))
}

// upload finds an unfinished upload.
func (s *Service) upload(ctx context.Context, bucketName, key, id string, owner *string) (upload, int64, error) {
	var u upload
	if _, _, err := s.bucket(ctx, bucketName, owner); err != nil {
		return u, 0, err
	}
	version, found, err := s.read(ctx, row(kindUpload, uploadRowID(bucketName, key, id)), &u)
	if err == nil && !found {
		err = noSuchUpload(id)
	}
	return u, version, err
}

// encrypted is what a part's answer says of its upload's encryption.
func (u *upload) encrypted() *attributes {
	return &attributes{ServerSideEncryption: u.ServerSideEncryption, SSEKMSKeyId: u.SSEKMSKeyId, BucketKeyEnabled: u.BucketKeyEnabled}
}

func noSuchUpload(id string) error {
	return withFields(awsapi.Errorf(404, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."),
		"UploadId", id)
}

// CreateMultipartUpload begins an object that comes in parts.
func (s *Service) CreateMultipartUpload(ctx context.Context, in *s3api.CreateMultipartUploadInput) (*s3api.CreateMultipartUploadOutput, error) {
	b, err := s.checkWrite(ctx, in, in.Bucket, in.Key, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	attr, err := attributesOf(in, in.Tagging, b)
	if err != nil {
		return nil, err
	}
	alg, err := claims{}.algorithm(in.ChecksumAlgorithm)
	if err != nil {
		return nil, err
	}
	kind := composite
	if alg == algCRC64NVME {
		kind = fullObject
	}
	if in.ChecksumType != nil {
		kind = *in.ChecksumType
	}
	if kind == fullObject && !isCRC(alg) || kind == composite && alg == algCRC64NVME {
		return nil, invalid("InvalidRequest", "The %s checksum type cannot be used with the %s checksum algorithm.", kind, strings.ToLower(alg))
	}
	account, _ := caller(ctx)
	u := upload{Bucket: in.Bucket, Key: in.Key, Account: account, Started: s.now(), Algorithm: alg, ChecksumType: kind,
		Asked: in.ChecksumAlgorithm != nil, attributes: attr}
	var random [20]byte
	rand.Read(random[:])
	u.ID = fmt.Sprintf("%012x%x", u.Started.UnixMilli(), random) // in order of their beginning
	out := &s3api.CreateMultipartUploadOutput{Bucket: &in.Bucket, Key: &in.Key, UploadId: &u.ID}
	assign(out, &u.attributes)
	if u.Asked {
		out.ChecksumAlgorithm, out.ChecksumType = &u.Algorithm, &u.ChecksumType
	}
	var batch store.Batch
	if err := put(&batch, row(kindUpload, uploadRowID(in.Bucket, in.Key, u.ID)), store.Absent, u); err != nil {
		return nil, err
	}
	if err := awscall.Receipted(ctx, &batch, out); err != nil {
		return nil, err
	}
	s.buckets.RLock()
	defer s.buckets.RUnlock()
	if _, _, err := s.bucket(ctx, in.Bucket, nil); err != nil {
		return nil, err
	}
	if err := s.commit(ctx, batch); err != nil {
		return nil, err
	}
	return out, nil
}

// partOf finds the upload of a part that is to be kept, and checks what all parts need.
func (s *Service) partOf(ctx context.Context, in any) (upload, error) {
	var of struct {
		Bucket, Key, UploadId string
		PartNumber            int64
		ExpectedBucketOwner   *string
	}
	assign(&of, in)
	u, _, err := s.upload(ctx, of.Bucket, of.Key, of.UploadId, of.ExpectedBucketOwner)
	if n := of.PartNumber; err == nil && (n < 1 || n > maxParts) {
		err = withFields(invalid("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive"),
			"ArgumentName", "partNumber", "ArgumentValue", strconv.FormatInt(n, 10))
	}
	if err == nil {
		err = checkInput(in)
	}
	return u, err
}

// UploadPart keeps the body as a part; it replaces an earlier one of the same number.
func (s *Service) UploadPart(ctx context.Context, in *s3api.UploadPartInput) (*s3api.UploadPartOutput, error) {
	u, err := s.partOf(ctx, in)
	if err != nil {
		return nil, err
	}
	claims, err := claimsOf(in, in.ContentLength, in.ContentMD5)
	if err != nil {
		return nil, err
	}
	for alg := range claims.Sums {
		if u.Asked && alg != u.Algorithm {
			return nil, invalid("InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s",
				strings.ToLower(u.Algorithm), strings.ToLower(alg))
		}
	}
	r, err := s.receive(ctx, in.Body, claims, u.Algorithm)
	if err != nil {
		return nil, err
	}
	shown := u.Algorithm
	for alg := range claims.Sums {
		shown = alg
	}
	out := &s3api.UploadPartOutput{ETag: awsapi.Ptr(quoted(r.etag()))}
	assign(out, u.encrypted())
	showChecksum(out, &checksum{Algorithm: shown, Value: r.Sums[shown]})
	if err := s.keepPart(ctx, u, int32(in.PartNumber), r, out); err != nil {
		return nil, err
	}
	return out, nil
}

// keepPart commits a part's row, unless its upload has ended meanwhile.
func (s *Service) keepPart(ctx context.Context, u upload, number int32, r received, out any) (err error) {
	defer func() {
		if err != nil {
			s.disk.drop(r.Blob)
		}
	}()
	p := part{Number: number, Blob: r.Blob, ETag: r.etag(), Checksum: r.Sums[u.Algorithm], Modified: s.now()}
	uploadRow := row(kindUpload, uploadRowID(u.Bucket, u.Key, u.ID))
	for range retries {
		var batch store.Batch
		var old part
		version, found, err := s.read(ctx, partRow(u.ID, number), &old)
		if err != nil {
			return err
		}
		if !found {
			version = store.Absent
		}
		if err := put(&batch, partRow(u.ID, number), version, p); err != nil {
			return err
		}
		putBytes(&batch, r.Blob, r.Inline)
		removeBytes(&batch, []blob{old.Blob})
		if err := awscall.Receipted(ctx, &batch, out); err != nil {
			return err
		}
		err = func() error {
			s.uploads.RLock() // nobody ends an upload between the look and the commit
			defer s.uploads.RUnlock()
			if _, found, err := s.read(ctx, uploadRow, &upload{}); err != nil {
				return err
			} else if !found {
				return noSuchUpload(u.ID)
			}
			return s.commit(ctx, batch)
		}()
		if isConflict(err) && !s.answered(ctx, batch) {
			continue
		}
		if err == nil {
			s.disk.drop(old.Blob)
		}
		return err
	}
	return errBusy
}

var copyRange = regexp.MustCompile(`^bytes=(\d{1,18})-(\d{1,18})$`)

// UploadPartCopy makes a part of another object's bytes.
func (s *Service) UploadPartCopy(ctx context.Context, in *s3api.UploadPartCopyInput) (*s3api.UploadPartCopyOutput, error) {
	u, err := s.partOf(ctx, in)
	if err != nil {
		return nil, err
	}
	from, inline, body, err := s.source(ctx, in)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	want := span{0, from.Size}
	if in.CopySourceRange != nil {
		m := copyRange.FindStringSubmatch(*in.CopySourceRange)
		if m == nil {
			return nil, withFields(invalid("InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"),
				"ArgumentName", "x-amz-copy-source-range", "ArgumentValue", *in.CopySourceRange)
		}
		first, _ := strconv.ParseInt(m[1], 10, 64)
		last, _ := strconv.ParseInt(m[2], 10, 64)
		if last < first || last >= from.Size {
			return nil, withFields(invalid("InvalidArgument", "Range specified is not valid for source object of size: %d", from.Size),
				"ArgumentName", "x-amz-copy-source-range", "ArgumentValue", *in.CopySourceRange)
		}
		want = span{first, last - first + 1}
	}
	if want.length > maxPut {
		return nil, tooLarge(want.length)
	}
	again := s.reader(from, inline, want) // body holds the pin
	r, err := s.receive(ctx, again, claims{Length: &want.length}, u.Algorithm)
	if again.file != nil {
		again.file.Close()
	}
	if err != nil {
		return nil, err
	}
	out := &s3api.UploadPartCopyOutput{CopyPartResult: &s3api.CopyPartResult{ETag: awsapi.Ptr(quoted(r.etag())), LastModified: awsapi.Ptr(s.now())}}
	assign(out, u.encrypted())
	if u.Asked {
		showChecksum(out.CopyPartResult, &checksum{Algorithm: u.Algorithm, Value: r.Sums[u.Algorithm]})
	}
	if err := s.keepPart(ctx, u, int32(in.PartNumber), r, out); err != nil {
		return nil, err
	}
	return out, nil
}

// parts reads all parts of an upload, by number.
func (s *Service) parts(ctx context.Context, upload string) ([]part, error) {
	rows, err := s.Store.List(ctx, store.Query{Account: rowAccount, Region: rowRegion, Service: service, Kind: kindPart, Prefix: upload + "/"})
	if err != nil {
		return nil, err
	}
	parts := make([]part, len(rows))
	for i, r := range rows {
		if err := json.Unmarshal(r.Value, &parts[i]); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// CompleteMultipartUpload makes an object of the parts that the caller lists: their files are its bytes.
func (s *Service) CompleteMultipartUpload(ctx context.Context, in *s3api.CompleteMultipartUploadInput) (*s3api.CompleteMultipartUploadOutput, error) {
	if err := checkInput(in); err != nil {
		return nil, err
	}
	b, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	s.uploads.Lock()
	defer s.uploads.Unlock()
	u, version, err := s.upload(ctx, in.Bucket, in.Key, in.UploadId, nil)
	if err != nil {
		// AWS: a Complete whose answer was lost may be repeated.
		if o, _, e := s.object(ctx, in.Bucket, in.Key); e == nil && o != nil && o.UploadID == in.UploadId {
			return completed(in.Bucket, in.Key, b.Region, o), nil
		}
		return nil, err
	}
	claims, err := claimsOf(in, nil, nil)
	if err != nil {
		return nil, err
	}
	all, err := s.parts(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	o, err := assemble(u, all, in.MultipartUpload)
	if err != nil {
		return nil, err
	}
	o.Modified = s.now()
	for alg, v := range claims.Sums {
		if alg != u.Algorithm || v != o.Checksum.Value && v+fmt.Sprintf("-%d", len(o.Parts)) != o.Checksum.Value {
			return nil, badChecksum(alg)
		}
	}
	if in.MpuObjectSize != nil && *in.MpuObjectSize != o.Size {
		return nil, invalid("InvalidRequest", "The provided 'x-amz-mp-object-size' header value %d does not match what was computed: %d", *in.MpuObjectSize, o.Size)
	}
	out := completed(in.Bucket, in.Key, b.Region, o)
	var left []blob
	err = s.swap(ctx, in.Bucket, in.Key, func(old *object, batch *store.Batch) (*object, error) {
		if err := checkWrite(old, in.Key, in.IfMatch, in.IfNoneMatch); err != nil {
			return nil, err
		}
		remove(batch, row(kindUpload, uploadRowID(u.Bucket, u.Key, u.ID)), version)
		left = nil
		for _, p := range all {
			remove(batch, partRow(u.ID, p.Number), store.AnyVersion)
			left = append(left, p.Blob)
		}
		left = without(left, o.blobs())
		removeBytes(batch, left)
		return o, awscall.Receipted(ctx, batch, out)
	})
	if err != nil {
		return nil, err
	}
	s.disk.drop(left...)
	return out, nil
}

// assemble checks the caller's list against the parts that have arrived.
func assemble(u upload, all []part, list *s3api.CompletedMultipartUpload) (*object, error) {
	if list == nil || len(list.Parts) == 0 {
		return nil, invalid("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	have := map[int64]part{}
	for _, p := range all {
		have[int64(p.Number)] = p
	}
	o := &object{Multipart: true, UploadID: u.ID, attributes: u.attributes}
	sum := md5.New()
	for i, want := range list.Parts[1:] {
		if awsapi.Val(want.PartNumber) <= awsapi.Val(list.Parts[i].PartNumber) {
			return nil, invalid("InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
	}
	for i, want := range list.Parts {
		number := awsapi.Val(want.PartNumber)
		p, ok := have[number]
		if !ok || want.ETag == nil || !matches(*want.ETag, p.ETag) || !sameChecksum(u, p, want) {
			return nil, withFields(invalid("InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."),
				"UploadId", u.ID, "PartNumber", strconv.FormatInt(number, 10), "ETag", strings.Trim(awsapi.Val(want.ETag), `"`))
		}
		if p.Blob.Size < minPart && i < len(list.Parts)-1 {
			return nil, withFields(invalid("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"),
				"ProposedSize", strconv.FormatInt(p.Blob.Size, 10), "MinSizeAllowed", strconv.Itoa(minPart), "PartNumber", strconv.FormatInt(number, 10), "ETag", p.ETag)
		}
		digest, err := hex.DecodeString(p.ETag)
		if err != nil {
			return nil, fmt.Errorf("part %d of upload %s: %w", number, u.ID, err)
		}
		sum.Write(digest)
		o.Size += p.Blob.Size
		o.Parts = append(o.Parts, p)
	}
	n := len(o.Parts)
	o.ETag = fmt.Sprintf("%x-%d", sum.Sum(nil), n)
	o.Checksum = &checksum{Algorithm: u.Algorithm, Type: u.ChecksumType}
	if u.ChecksumType == composite {
		o.Checksum.Value = fmt.Sprintf("%s-%d", compositeChecksum(u.Algorithm, o.Parts), n)
	} else {
		o.Checksum.Value = combineChecksums(u.Algorithm, o.Parts)
	}
	return o, nil
}

// sameChecksum compares the checksums that the caller lists with those of the part, where it lists some.
func sameChecksum(u upload, p part, want s3api.CompletedPart) bool {
	c, err := claimsOf(&want, nil, nil)
	if err != nil {
		return false
	}
	for alg, v := range c.Sums {
		if alg == u.Algorithm && v != p.Checksum {
			return false
		}
	}
	return true
}

func completed(bucketName, key, region string, o *object) *s3api.CompleteMultipartUploadOutput {
	out := &s3api.CompleteMultipartUploadOutput{
		Location: awsapi.Ptr("https://" + bucketName + ".s3." + region + ".amazonaws.com/" + url.PathEscape(key)),
		Bucket:   &bucketName, Key: &key, ETag: awsapi.Ptr(quoted(o.ETag)),
	}
	assign(out, &o.attributes)
	showChecksum(out, o.Checksum)
	return out
}

// AbortMultipartUpload forgets an upload and its parts.
func (s *Service) AbortMultipartUpload(ctx context.Context, in *s3api.AbortMultipartUploadInput) (*s3api.AbortMultipartUploadOutput, error) {
	if err := checkInput(in); err != nil {
		return nil, err
	}
	s.uploads.Lock()
	defer s.uploads.Unlock()
	u, version, err := s.upload(ctx, in.Bucket, in.Key, in.UploadId, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	out := &s3api.AbortMultipartUploadOutput{}
	var batch store.Batch
	remove(&batch, row(kindUpload, uploadRowID(u.Bucket, u.Key, u.ID)), version)
	left, err := s.removeParts(ctx, &batch, u.ID)
	if err != nil {
		return nil, err
	}
	if err := awscall.Receipted(ctx, &batch, out); err != nil {
		return nil, err
	}
	if err := s.commit(ctx, batch); err != nil {
		return nil, err
	}
	s.disk.drop(left...)
	return out, nil
}

func (s *Service) removeParts(ctx context.Context, batch *store.Batch, upload string) (left []blob, err error) {
	parts, err := s.parts(ctx, upload)
	for _, p := range parts {
		remove(batch, partRow(upload, p.Number), store.AnyVersion)
		left = append(left, p.Blob)
	}
	removeBytes(batch, left)
	return left, err
}

// ListParts lists what has arrived of an upload.
func (s *Service) ListParts(ctx context.Context, in *s3api.ListPartsInput) (*s3api.ListPartsOutput, error) {
	u, _, err := s.upload(ctx, in.Bucket, in.Key, in.UploadId, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	limit, err := limitOf("max-parts", in.MaxParts)
	if err != nil {
		return nil, err
	}
	parts, err := s.parts(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	after := awsapi.Val(in.PartNumberMarker)
	owner := s3api.Owner{ID: awsapi.Ptr(ownerID(u.Account))}
	out := &s3api.ListPartsOutput{
		Bucket: &in.Bucket, Key: &in.Key, UploadId: &in.UploadId, PartNumberMarker: &after, MaxParts: &limit,
		IsTruncated: awsapi.Ptr(false), StorageClass: awsapi.Ptr((&object{attributes: u.attributes}).storageClass()),
		Owner: &owner, Initiator: &s3api.Initiator{ID: owner.ID}, NextPartNumberMarker: awsapi.Ptr(int64(0)),
	}
	if u.Asked {
		out.ChecksumAlgorithm, out.ChecksumType = &u.Algorithm, &u.ChecksumType
	}
	for _, p := range parts {
		if int64(p.Number) <= after {
			continue
		}
		if int64(len(out.Parts)) == limit {
			out.IsTruncated = awsapi.Ptr(true)
			break
		}
		shown := s3api.Part{PartNumber: awsapi.Ptr(int64(p.Number)), ETag: awsapi.Ptr(quoted(p.ETag)), Size: awsapi.Ptr(p.Blob.Size), LastModified: &p.Modified}
		if u.Asked {
			showChecksum(&shown, &checksum{Algorithm: u.Algorithm, Value: p.Checksum})
		}
		out.Parts = append(out.Parts, shown)
		out.NextPartNumberMarker = shown.PartNumber
	}
	return out, nil
}
