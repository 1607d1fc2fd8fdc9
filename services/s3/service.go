package s3

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store"
)

// Config is what the service stands on.
type Config struct {
	Store   store.Store
	Clock   clock.Clock
	Log     *slog.Logger
	DataDir string // objects are kept in DataDir/s3
	// Fatal is told that the disk cannot be trusted any more; it ends the server with the reason.
	Fatal func(error)
}

// Service is the S3 API. Its methods are the operations, named as AWS names them.
type Service struct {
	Config
	disk *disk
	// buckets is held for reading while something is committed into a bucket, for writing while one is deleted:
	// so nothing is ever put into a bucket that is gone.
	buckets sync.RWMutex
	// uploads is held for reading while a part is committed, for writing while an upload ends; it is taken before buckets.
	uploads sync.RWMutex
}

// New opens the folder of objects and removes the files that no object names.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Fatal == nil {
		cfg.Fatal = func(err error) { panic(err) }
	}
	d, err := openDisk(filepath.Join(cfg.DataDir, "s3"), cfg.Fatal)
	if err != nil {
		return nil, err
	}
	s := &Service{Config: cfg, disk: d}
	named, err := s.named(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the objects: %w", err)
	}
	removed, err := d.sweep(named)
	if err != nil {
		return nil, fmt.Errorf("remove unnamed object files: %w", err)
	}
	if removed > 0 {
		s.Log.InfoContext(ctx, "object files without an object removed", "service", "s3", "count", removed)
	}
	return s, nil
}

// named collects the files that objects and unfinished uploads consist of.
func (s *Service) named(ctx context.Context) (map[string]bool, error) {
	named := map[string]bool{}
	for _, kind := range []string{kindObject, kindPart} {
		after := ""
		for {
			rows, err := s.Store.List(ctx, store.Query{Account: rowAccount, Region: rowRegion, Service: service, Kind: kind, After: after, Limit: 1000})
			if err != nil {
				return nil, err
			}
			for _, r := range rows {
				blobs, err := blobsOf(kind, r.Value)
				if err != nil {
					return nil, fmt.Errorf("row %s: %w", r.Key.ID, err)
				}
				for _, b := range blobs {
					named[b.Name] = true
				}
				after = r.Cursor
			}
			if len(rows) < 1000 {
				break
			}
		}
	}
	return named, nil
}

// API lists the operations that are served.
func (s *Service) API() *awscall.Service {
	svc := awscall.NewService(service)
	awscall.Handle(svc, "AbortMultipartUpload", s.AbortMultipartUpload)
	awscall.Handle(svc, "CompleteMultipartUpload", s.CompleteMultipartUpload)
	awscall.Handle(svc, "CopyObject", s.CopyObject)
	awscall.Handle(svc, "CreateBucket", s.CreateBucket)
	awscall.Handle(svc, "CreateMultipartUpload", s.CreateMultipartUpload)
	awscall.Handle(svc, "DeleteBucket", s.DeleteBucket)
	awscall.Handle(svc, "DeleteBucketCors", s.DeleteBucketCors)
	awscall.Handle(svc, "DeleteBucketEncryption", s.DeleteBucketEncryption)
	awscall.Handle(svc, "DeleteBucketLifecycle", s.DeleteBucketLifecycle)
	awscall.Handle(svc, "DeleteBucketOwnershipControls", s.DeleteBucketOwnershipControls)
	awscall.Handle(svc, "DeleteBucketPolicy", s.DeleteBucketPolicy)
	awscall.Handle(svc, "DeleteBucketTagging", s.DeleteBucketTagging)
	awscall.Handle(svc, "DeleteObject", s.DeleteObject)
	awscall.Handle(svc, "DeleteObjects", s.DeleteObjects)
	awscall.Handle(svc, "DeleteObjectTagging", s.DeleteObjectTagging)
	awscall.Handle(svc, "DeletePublicAccessBlock", s.DeletePublicAccessBlock)
	awscall.Handle(svc, "GetBucketAcl", s.GetBucketAcl)
	awscall.Handle(svc, "GetBucketCors", s.GetBucketCors)
	awscall.Handle(svc, "GetBucketEncryption", s.GetBucketEncryption)
	awscall.Handle(svc, "GetBucketLifecycleConfiguration", s.GetBucketLifecycleConfiguration)
	awscall.Handle(svc, "GetBucketLocation", s.GetBucketLocation)
	awscall.Handle(svc, "GetBucketNotificationConfiguration", s.GetBucketNotificationConfiguration)
	awscall.Handle(svc, "GetBucketOwnershipControls", s.GetBucketOwnershipControls)
	awscall.Handle(svc, "GetBucketPolicy", s.GetBucketPolicy)
	awscall.Handle(svc, "GetBucketTagging", s.GetBucketTagging)
	awscall.Handle(svc, "GetBucketVersioning", s.GetBucketVersioning)
	awscall.Handle(svc, "GetObject", s.GetObject)
	awscall.Handle(svc, "GetObjectAcl", s.GetObjectAcl)
	awscall.Handle(svc, "GetObjectAttributes", s.GetObjectAttributes)
	awscall.Handle(svc, "GetObjectTagging", s.GetObjectTagging)
	awscall.Handle(svc, "GetPublicAccessBlock", s.GetPublicAccessBlock)
	awscall.Handle(svc, "HeadBucket", s.HeadBucket)
	awscall.Handle(svc, "HeadObject", s.HeadObject)
	awscall.Handle(svc, "ListBuckets", s.ListBuckets)
	awscall.Handle(svc, "ListMultipartUploads", s.ListMultipartUploads)
	awscall.Handle(svc, "ListObjects", s.ListObjects)
	awscall.Handle(svc, "ListObjectsV2", s.ListObjectsV2)
	awscall.Handle(svc, "ListObjectVersions", s.ListObjectVersions)
	awscall.Handle(svc, "ListParts", s.ListParts)
	awscall.Handle(svc, "PutBucketAcl", s.PutBucketAcl)
	awscall.Handle(svc, "PutBucketCors", s.PutBucketCors)
	awscall.Handle(svc, "PutBucketEncryption", s.PutBucketEncryption)
	awscall.Handle(svc, "PutBucketLifecycleConfiguration", s.PutBucketLifecycleConfiguration)
	awscall.Handle(svc, "PutBucketNotificationConfiguration", s.PutBucketNotificationConfiguration)
	awscall.Handle(svc, "PutBucketOwnershipControls", s.PutBucketOwnershipControls)
	awscall.Handle(svc, "PutBucketPolicy", s.PutBucketPolicy)
	awscall.Handle(svc, "PutBucketTagging", s.PutBucketTagging)
	awscall.Handle(svc, "PutBucketVersioning", s.PutBucketVersioning)
	awscall.Handle(svc, "PutObject", s.PutObject)
	awscall.Handle(svc, "PutObjectAcl", s.PutObjectAcl)
	awscall.Handle(svc, "PutObjectTagging", s.PutObjectTagging)
	awscall.Handle(svc, "PutPublicAccessBlock", s.PutPublicAccessBlock)
	awscall.Handle(svc, "UploadPart", s.UploadPart)
	awscall.Handle(svc, "UploadPartCopy", s.UploadPartCopy)
	return svc
}

// retries bounds how often a commit is tried again because somebody else was faster.
const retries = 50

var errBusy = awsapi.Errorf(409, "OperationAborted",
	"A conflicting conditional operation is currently in progress against this resource. Please try again.")

// notImplemented refuses what would have to act and does not. AWS's own status is 501; a 4xx is not retried by clients.
func notImplemented(what string) error {
	return awsapi.Errorf(400, "NotImplemented", "%s is not implemented by Mayfly", what)
}

func invalid(code, format string, args ...any) *awsapi.Error {
	return awsapi.Errorf(400, code, format, args...)
}

// withFields adds the elements that S3 puts beside Code and Message.
func withFields(e *awsapi.Error, namesAndValues ...string) *awsapi.Error {
	e.Fields = map[string]any{}
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		e.Fields[namesAndValues[i]] = namesAndValues[i+1]
	}
	return e
}

// ownerID is the canonical user id of an account.
func ownerID(account string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte("mayfly/"+account)))
}

func caller(ctx context.Context) (account, region string) {
	p := identity.From(ctx)
	account, region = p.Account, p.Region
	if account == "" {
		account = "000000000000"
	}
	if region == "" || region == "aws-global" {
		region = "us-east-1"
	}
	return account, region
}

func isConflict(err error) bool { return errors.Is(err, store.ErrConflict) }
