package s3

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/store"
)

const service = "s3"

// Bucket names are unique in all of AWS, so every row stands under the partition and not under an account and a region.
const (
	rowAccount = "aws"
	rowRegion  = "global"
)

// The kinds of rows.
const (
	kindBucket = "bucket" // ID: name
	kindObject = "object" // ID: bucket/key: listing by ID is listing by key, and no bucket's name holds a slash
	kindBytes  = "bytes"  // ID: blob name; the bytes themselves
	kindUpload = "upload" // ID: bucket/key, 0x01, upload id
	kindPart   = "part"   // ID: upload id/part number with five digits
)

func row(kind, id string) store.Key {
	return store.Key{Account: rowAccount, Region: rowRegion, Service: service, Kind: kind, ID: id}
}

func objectID(bucket, key string) string            { return bucket + "/" + key }
func uploadRowID(bucket, key, upload string) string { return bucket + "/" + key + "\x01" + upload }

// bucket is the row of a bucket.
type bucket struct {
	Name    string    `json:"name"`
	Account string    `json:"account"`
	Region  string    `json:"region"`
	Created time.Time `json:"created"`
	Tags    []tag     `json:"tags,omitempty"`
	Policy  string    `json:"policy,omitempty"`
	// Settings are the bucket's sub-resources, as they were put.
	Settings map[string]json.RawMessage `json:"settings,omitempty"`
}

// object is the index row of a key: what S3 knows of the object beside its bytes.
type object struct {
	Size      int64     `json:"size"`
	ETag      string    `json:"etag"` // without quotes
	Modified  time.Time `json:"modified"`
	Parts     []part    `json:"parts"` // in order; one for an object that was put whole
	Multipart bool      `json:"multipart,omitempty"`
	UploadID  string    `json:"uploadId,omitempty"` // of a multipart object: a repeated Complete is answered by it
	Checksum  *checksum `json:"checksum,omitempty"`
	attributes
}

// attributes are what a caller says about an object. The names are those of the API, see assign.
type attributes struct {
	CacheControl            *string           `json:",omitempty"`
	ContentDisposition      *string           `json:",omitempty"`
	ContentEncoding         *string           `json:",omitempty"`
	ContentLanguage         *string           `json:",omitempty"`
	ContentType             *string           `json:",omitempty"`
	Expires                 *string           `json:",omitempty"`
	WebsiteRedirectLocation *string           `json:",omitempty"`
	Metadata                map[string]string `json:",omitempty"`
	StorageClass            *string           `json:",omitempty"`
	ServerSideEncryption    *string           `json:",omitempty"`
	SSEKMSKeyId             *string           `json:",omitempty"`
	BucketKeyEnabled        *bool             `json:",omitempty"`
	Tags                    []tag             `json:",omitempty"`
}

type tag struct {
	Key   string `json:"k"`
	Value string `json:"v"`
}

// part is a run of bytes of an object.
type part struct {
	Number   int32     `json:"n"`
	Blob     blob      `json:"blob"`
	ETag     string    `json:"etag,omitempty"`
	Checksum string    `json:"sum,omitempty"` // by the upload's algorithm
	Modified time.Time `json:"modified,omitzero"`
}

// upload is an unfinished multipart upload.
type upload struct {
	ID           string    `json:"id"`
	Bucket       string    `json:"bucket"`
	Key          string    `json:"key"`
	Account      string    `json:"account"`
	Started      time.Time `json:"started"`
	Algorithm    string    `json:"algorithm"`
	ChecksumType string    `json:"checksumType"`
	Asked        bool      `json:"asked,omitempty"` // the caller named the algorithm; otherwise S3's own default
	attributes   `json:"attributes"`
}

func (o *object) blobs() []blob {
	out := make([]blob, len(o.Parts))
	for i, p := range o.Parts {
		out[i] = p.Blob
	}
	return out
}

func blobsOf(kind string, value []byte) ([]blob, error) {
	if kind == kindPart {
		var p part
		err := json.Unmarshal(value, &p)
		return []blob{p.Blob}, err
	}
	var o object
	err := json.Unmarshal(value, &o)
	return o.blobs(), err
}

// read decodes a row; found is false when there is none.
func (s *Service) read(ctx context.Context, key store.Key, into any) (version int64, found bool, err error) {
	r, err := s.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return r.Version, true, json.Unmarshal(r.Value, into)
}

// bucket finds a bucket and checks that it belongs to the account that the caller expects.
func (s *Service) bucket(ctx context.Context, name string, owner *string) (bucket, int64, error) {
	var b bucket
	version, found, err := s.read(ctx, row(kindBucket, name), &b)
	if err != nil {
		return b, 0, err
	}
	if !found {
		return b, 0, withFields(awsapi.Errorf(404, "NoSuchBucket", "The specified bucket does not exist"), "BucketName", name)
	}
	if owner != nil && *owner != b.Account {
		return b, 0, awsapi.Errorf(403, "AccessDenied", "Access Denied")
	}
	return b, version, nil
}

// object finds a key's object; nil when there is none.
func (s *Service) object(ctx context.Context, bucket, key string) (*object, int64, error) {
	var o object
	version, found, err := s.read(ctx, row(kindObject, objectID(bucket, key)), &o)
	if err != nil || !found {
		return nil, 0, err
	}
	return &o, version, nil
}

func noSuchKey(key string) error {
	return withFields(awsapi.Errorf(404, "NoSuchKey", "The specified key does not exist."), "Key", key)
}

// put adds the row to the batch, to be written if it still has that version (store.Absent: if it is still not there).
func put(batch *store.Batch, key store.Key, version int64, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	batch.Rows = append(batch.Rows, store.RowChange{Key: key, Value: b, IfVersion: version})
	return nil
}

func putBytes(batch *store.Batch, b blob, data []byte) {
	if b.Row {
		batch.Rows = append(batch.Rows, store.RowChange{Key: row(kindBytes, b.Name), Value: data})
	}
}

// remove adds the deletion of a row to the batch.
func remove(batch *store.Batch, key store.Key, version int64) {
	batch.Rows = append(batch.Rows, store.RowChange{Key: key, Delete: true, IfVersion: version})
}

func removeBytes(batch *store.Batch, blobs []blob) {
	for _, b := range blobs {
		if b.Row {
			remove(batch, row(kindBytes, b.Name), store.AnyVersion)
		}
	}
}

// swap replaces the object of a key in one step: next sees the present object (nil: none) and returns the one to stand
// there (nil: none), and adds to the batch what belongs to the change. When somebody else was faster, next is asked again.
func (s *Service) swap(ctx context.Context, bucketName, key string, next func(old *object, batch *store.Batch) (*object, error)) error {
	s.buckets.RLock()
	defer s.buckets.RUnlock()
	if _, _, err := s.bucket(ctx, bucketName, nil); err != nil {
		return err
	}
	id := row(kindObject, objectID(bucketName, key))
	for range retries {
		old, version, err := s.object(ctx, bucketName, key)
		if err != nil {
			return err
		}
		var batch store.Batch
		o, err := next(old, &batch)
		if err != nil {
			return err
		}
		var unused []blob
		if old != nil {
			unused = old.blobs()
			if o != nil {
				unused = without(unused, o.blobs())
			}
		}
		switch {
		case o != nil:
			if old == nil {
				version = store.Absent
			}
			if err := put(&batch, id, version, o); err != nil {
				return err
			}
		case old != nil:
			remove(&batch, id, version)
		}
		removeBytes(&batch, unused)
		err = s.commit(ctx, batch)
		if isConflict(err) && !s.answered(ctx, batch) {
			continue
		}
		if err != nil {
			return err
		}
		s.disk.drop(unused...)
		return nil
	}
	return errBusy
}

func (s *Service) commit(ctx context.Context, b store.Batch) error {
	if len(b.Rows) == 0 && len(b.Receipts) == 0 {
		return nil
	}
	// The commit happens or not whether or not the caller still listens: a cancelled context must not leave us guessing.
	return s.Store.Commit(context.WithoutCancel(ctx), b)
}

// answered reports whether a conflict is one of receipts: a repetition of the call was faster, and its answer counts.
func (s *Service) answered(ctx context.Context, b store.Batch) bool {
	for _, r := range b.Receipts {
		if _, err := s.Store.Receipt(ctx, r.Key); err == nil {
			return true
		}
	}
	return false
}

func without(blobs, kept []blob) []blob {
	names := map[string]bool{}
	for _, b := range kept {
		names[b.Name] = true
	}
	var out []blob
	for _, b := range blobs {
		if !names[b.Name] {
			out = append(out, b)
		}
	}
	return out
}

// beyond is a cursor behind every key that begins with prefix: no key is longer than 1024 bytes.
func beyond(prefix string) string { return prefix + strings.Repeat("\U0010FFFF", 256) }

// at is the cursor of the row with that ID, whether or not there is one.
func at(id string) string { return store.JoinCursor(rowAccount, rowRegion, "", id) }
