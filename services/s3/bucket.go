package s3

import (
	"context"
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/s3api"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/store"
)

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// checkBucketName applies the rules of general purpose buckets.
func checkBucketName(name string) error {
	bad := !bucketName.MatchString(name) || strings.Contains(name, "..") ||
		strings.HasPrefix(name, "xn--") || strings.HasPrefix(name, "sthree-") || strings.HasPrefix(name, "amzn-s3-demo-") ||
		strings.HasSuffix(name, "-s3alias") || strings.HasSuffix(name, "--ol-s3") || strings.HasSuffix(name, ".mrap") ||
		strings.HasSuffix(name, "--x-s3") || strings.HasSuffix(name, "--table-s3")
	if addr, err := netip.ParseAddr(name); err == nil && addr.Is4() {
		bad = true
	}
	if bad {
		return withFields(invalid("InvalidBucketName", "The specified bucket is not valid."), "BucketName", name)
	}
	return nil
}

var regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d$`)

// CreateBucket makes a bucket. A second one of the same owner is no error in us-east-1, as on AWS.
func (s *Service) CreateBucket(ctx context.Context, in *s3api.CreateBucketInput) (*s3api.CreateBucketOutput, error) {
	if err := checkBucketName(in.Bucket); err != nil {
		return nil, err
	}
	if awsapi.Val(in.ObjectLockEnabledForBucket) {
		return nil, notImplemented("Object Lock")
	}
	switch {
	case awsapi.Val(in.ACL) != "" && *in.ACL != "private":
		return nil, invalid("InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
	case awsapi.Val(in.ObjectOwnership) != "" && *in.ObjectOwnership != ownerEnforced:
		return nil, notImplemented("Object ownership " + *in.ObjectOwnership)
	}
	for _, g := range []*string{in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWrite, in.GrantWriteACP} {
		if g != nil {
			return nil, invalid("InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
		}
	}
	account, region := caller(ctx)
	b := bucket{Name: in.Bucket, Account: account, Region: "us-east-1", Created: s.now()}
	asked := ""
	if c := in.CreateBucketConfiguration; c != nil {
		if c.Location != nil || c.Bucket != nil {
			return nil, notImplemented("A directory bucket")
		}
		asked = awsapi.Val(c.LocationConstraint)
		tags, err := checkTags(c.Tags, 50)
		if err != nil {
			return nil, err
		}
		b.Tags = tags
	}
	switch {
	case asked == "EU":
		b.Region = "eu-west-1"
	case asked == "us-east-1" || asked != "" && !regionName.MatchString(asked):
		return nil, withFields(invalid("InvalidLocationConstraint", "The specified location-constraint is not valid"), "LocationConstraint", asked)
	case asked == "" && region != "us-east-1":
		return nil, invalid("IllegalLocationConstraintException", "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.")
	case asked != "" && region != "us-east-1" && asked != region:
		return nil, invalid("IllegalLocationConstraintException", "The %s location constraint is incompatible for the region specific endpoint this request was sent to.", asked)
	case asked != "":
		b.Region = asked
	}
	out := &s3api.CreateBucketOutput{Location: awsapi.Ptr("/" + in.Bucket)}
	var batch store.Batch
	if err := put(&batch, row(kindBucket, in.Bucket), store.Absent, b); err != nil {
		return nil, err
	}
	if err := awscall.Receipted(ctx, &batch, out); err != nil {
		return nil, err
	}
	err := s.commit(ctx, batch)
	if !isConflict(err) {
		return out, err
	}
	old, _, found := s.bucket(ctx, in.Bucket, nil)
	switch {
	case found != nil || s.answered(ctx, batch):
		return nil, err
	case old.Account != account:
		return nil, withFields(awsapi.Errorf(409, "BucketAlreadyExists", "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."), "BucketName", in.Bucket)
	case old.Region == "us-east-1" && b.Region == "us-east-1":
		return out, nil
	}
	return nil, withFields(awsapi.Errorf(409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it."), "BucketName", in.Bucket)
}

// DeleteBucket removes an empty bucket, with its unfinished uploads.
func (s *Service) DeleteBucket(ctx context.Context, in *s3api.DeleteBucketInput) (*s3api.DeleteBucketOutput, error) {
	s.uploads.Lock() // before buckets, as everywhere
	defer s.uploads.Unlock()
	s.buckets.Lock()
	defer s.buckets.Unlock()
	_, version, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	some, err := s.list(ctx, question{kind: kindObject, bucket: in.Bucket, limit: 1})
	if err != nil {
		return nil, err
	}
	if len(some.entries) > 0 {
		return nil, withFields(awsapi.Errorf(409, "BucketNotEmpty", "The bucket you tried to delete is not empty"), "BucketName", in.Bucket)
	}
	out := &s3api.DeleteBucketOutput{}
	var batch store.Batch
	remove(&batch, row(kindBucket, in.Bucket), version)
	uploads, err := s.Store.List(ctx, store.Query{Account: rowAccount, Region: rowRegion, Service: service, Kind: kindUpload, Prefix: in.Bucket + "/"})
	if err != nil {
		return nil, err
	}
	var left []blob
	for _, r := range uploads {
		var u upload
		if err := json.Unmarshal(r.Value, &u); err != nil {
			return nil, err
		}
		remove(&batch, r.Key, r.Version)
		blobs, err := s.removeParts(ctx, &batch, u.ID)
		if err != nil {
			return nil, err
		}
		left = append(left, blobs...)
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

// HeadBucket tells where a bucket is.
func (s *Service) HeadBucket(ctx context.Context, in *s3api.HeadBucketInput) (*s3api.HeadBucketOutput, error) {
	b, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &s3api.HeadBucketOutput{BucketRegion: &b.Region, AccessPointAlias: awsapi.Ptr(false)}, nil
}

// ListBuckets lists the caller's buckets.
func (s *Service) ListBuckets(ctx context.Context, in *s3api.ListBucketsInput) (*s3api.ListBucketsOutput, error) {
	account, _ := caller(ctx)
	limit := int64(10000)
	if in.MaxBuckets != nil {
		limit = *in.MaxBuckets
	}
	q := store.Query{Account: rowAccount, Region: rowRegion, Service: service, Kind: kindBucket, Prefix: awsapi.Val(in.Prefix)}
	if in.ContinuationToken != nil {
		after, err := parseToken(*in.ContinuationToken)
		if err != nil {
			return nil, err
		}
		q.After = at(after.Key)
	}
	rows, err := s.Store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &s3api.ListBucketsOutput{Owner: &s3api.Owner{ID: awsapi.Ptr(ownerID(account))}, Prefix: in.Prefix, Buckets: []s3api.Bucket{}}
	for _, r := range rows {
		var b bucket
		if err := json.Unmarshal(r.Value, &b); err != nil {
			return nil, err
		}
		if b.Account != account || in.BucketRegion != nil && *in.BucketRegion != b.Region {
			continue
		}
		if int64(len(out.Buckets)) == limit {
			out.ContinuationToken = awsapi.Ptr(position{Key: *out.Buckets[len(out.Buckets)-1].Name}.token())
			break
		}
		shown := s3api.Bucket{Name: &b.Name, CreationDate: &b.Created}
		if in.MaxBuckets != nil || in.Prefix != nil || in.BucketRegion != nil {
			shown.BucketRegion = &b.Region
		}
		out.Buckets = append(out.Buckets, shown)
	}
	return out, nil
}

// GetBucketLocation tells a bucket's region; us-east-1 is told by silence.
func (s *Service) GetBucketLocation(ctx context.Context, in *s3api.GetBucketLocationInput) (*s3api.GetBucketLocationOutput, error) {
	b, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	out := &s3api.GetBucketLocationOutput{}
	if b.Region != "us-east-1" {
		out.LocationConstraint = &b.Region
	}
	return out, nil
}

// change rewrites a bucket's row.
func (s *Service) change(ctx context.Context, name string, owner *string, out any, f func(*bucket) error) error {
	for range retries {
		b, version, err := s.bucket(ctx, name, owner)
		if err != nil {
			return err
		}
		if err := f(&b); err != nil {
			return err
		}
		var batch store.Batch
		if err := put(&batch, row(kindBucket, name), version, b); err != nil {
			return err
		}
		if err := awscall.Receipted(ctx, &batch, out); err != nil {
			return err
		}
		err = s.commit(ctx, batch)
		if isConflict(err) && !s.answered(ctx, batch) {
			continue
		}
		return err
	}
	return errBusy
}

// The names of a bucket's settings.
const (
	settingCORS         = "cors"
	settingEncryption   = "encryption"
	settingPublicAccess = "publicAccessBlock"
	settingOwnership    = "ownershipControls"
)

const ownerEnforced = "BucketOwnerEnforced"

// keep stores a setting of a bucket.
func (s *Service) keep(ctx context.Context, name string, owner *string, setting string, value, out any) error {
	return s.change(ctx, name, owner, out, func(b *bucket) error {
		text, err := json.Marshal(value)
		if b.Settings == nil {
			b.Settings = map[string]json.RawMessage{}
		}
		b.Settings[setting] = text
		return err
	})
}

func (s *Service) forget(ctx context.Context, name string, owner *string, setting string, out any) error {
	return s.change(ctx, name, owner, out, func(b *bucket) error {
		delete(b.Settings, setting)
		return nil
	})
}

// setting reads a setting of a bucket; absent is the error that tells that there is none.
func (s *Service) setting(ctx context.Context, name string, owner *string, setting string, into any, absent *awsapi.Error) error {
	b, _, err := s.bucket(ctx, name, owner)
	if err != nil {
		return err
	}
	text, ok := b.Settings[setting]
	if !ok {
		return absent
	}
	return json.Unmarshal(text, into)
}

func absent(bucketName, code, message string) *awsapi.Error {
	return withFields(awsapi.Errorf(404, code, "%s", message), "BucketName", bucketName)
}

// encryption is what new objects of the bucket are marked with. AWS: without a word, AES256.
func (b bucket) encryption() (algorithm, key *string) {
	var c s3api.ServerSideEncryptionConfiguration
	if json.Unmarshal(b.Settings[settingEncryption], &c) == nil {
		for _, r := range c.Rules {
			if d := r.ApplyServerSideEncryptionByDefault; d != nil {
				return &d.SSEAlgorithm, d.KMSMasterKeyID
			}
		}
	}
	return awsapi.Ptr("AES256"), nil
}

// PutBucketPolicy keeps a policy. It is not enforced before IAM is.
func (s *Service) PutBucketPolicy(ctx context.Context, in *s3api.PutBucketPolicyInput) (*s3api.PutBucketPolicyOutput, error) {
	var policy struct{ Statement json.RawMessage }
	if err := json.Unmarshal([]byte(in.Policy), &policy); err != nil || policy.Statement == nil {
		return nil, invalid("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
	}
	if len(in.Policy) > 20<<10 {
		return nil, invalid("MalformedPolicy", "Policy exceeds the maximum allowed document size.")
	}
	out := &s3api.PutBucketPolicyOutput{}
	return out, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, out, func(b *bucket) error {
		b.Policy = in.Policy
		return nil
	})
}

// GetBucketPolicy returns the policy as it was put.
func (s *Service) GetBucketPolicy(ctx context.Context, in *s3api.GetBucketPolicyInput) (*s3api.GetBucketPolicyOutput, error) {
	b, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if b.Policy == "" {
		return nil, absent(in.Bucket, "NoSuchBucketPolicy", "The bucket policy does not exist")
	}
	return &s3api.GetBucketPolicyOutput{Policy: &b.Policy}, nil
}

// DeleteBucketPolicy forgets the policy.
func (s *Service) DeleteBucketPolicy(ctx context.Context, in *s3api.DeleteBucketPolicyInput) (*s3api.DeleteBucketPolicyOutput, error) {
	out := &s3api.DeleteBucketPolicyOutput{}
	return out, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, out, func(b *bucket) error {
		b.Policy = ""
		return nil
	})
}

// PutBucketCors keeps CORS rules.
func (s *Service) PutBucketCors(ctx context.Context, in *s3api.PutBucketCorsInput) (*s3api.PutBucketCorsOutput, error) {
	out := &s3api.PutBucketCorsOutput{}
	return out, s.keep(ctx, in.Bucket, in.ExpectedBucketOwner, settingCORS, in.CORSConfiguration, out)
}

// GetBucketCors returns the CORS rules.
func (s *Service) GetBucketCors(ctx context.Context, in *s3api.GetBucketCorsInput) (*s3api.GetBucketCorsOutput, error) {
	out := &s3api.GetBucketCorsOutput{}
	return out, s.setting(ctx, in.Bucket, in.ExpectedBucketOwner, settingCORS, out,
		absent(in.Bucket, "NoSuchCORSConfiguration", "The CORS configuration does not exist"))
}

// DeleteBucketCors forgets the CORS rules.
func (s *Service) DeleteBucketCors(ctx context.Context, in *s3api.DeleteBucketCorsInput) (*s3api.DeleteBucketCorsOutput, error) {
	out := &s3api.DeleteBucketCorsOutput{}
	return out, s.forget(ctx, in.Bucket, in.ExpectedBucketOwner, settingCORS, out)
}

// PutBucketEncryption keeps what new objects are marked with. Bytes lie on the disk as they came.
func (s *Service) PutBucketEncryption(ctx context.Context, in *s3api.PutBucketEncryptionInput) (*s3api.PutBucketEncryptionOutput, error) {
	out := &s3api.PutBucketEncryptionOutput{}
	return out, s.keep(ctx, in.Bucket, in.ExpectedBucketOwner, settingEncryption, in.ServerSideEncryptionConfiguration, out)
}

// GetBucketEncryption returns the default encryption.
func (s *Service) GetBucketEncryption(ctx context.Context, in *s3api.GetBucketEncryptionInput) (*s3api.GetBucketEncryptionOutput, error) {
	b, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	c := &s3api.ServerSideEncryptionConfiguration{}
	if text := b.Settings[settingEncryption]; text != nil {
		err = json.Unmarshal(text, c)
	} else {
		c.Rules = []s3api.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: &s3api.ServerSideEncryptionByDefault{SSEAlgorithm: "AES256"}, BucketKeyEnabled: awsapi.Ptr(false),
		}}
	}
	return &s3api.GetBucketEncryptionOutput{ServerSideEncryptionConfiguration: c}, err
}

// DeleteBucketEncryption goes back to AWS's default.
func (s *Service) DeleteBucketEncryption(ctx context.Context, in *s3api.DeleteBucketEncryptionInput) (*s3api.DeleteBucketEncryptionOutput, error) {
	out := &s3api.DeleteBucketEncryptionOutput{}
	return out, s.forget(ctx, in.Bucket, in.ExpectedBucketOwner, settingEncryption, out)
}

// PutPublicAccessBlock keeps the block. Nothing here is public.
func (s *Service) PutPublicAccessBlock(ctx context.Context, in *s3api.PutPublicAccessBlockInput) (*s3api.PutPublicAccessBlockOutput, error) {
	c := *in.PublicAccessBlockConfiguration
	for _, p := range []**bool{&c.BlockPublicAcls, &c.IgnorePublicAcls, &c.BlockPublicPolicy, &c.RestrictPublicBuckets} {
		if *p == nil {
			*p = awsapi.Ptr(false)
		}
	}
	out := &s3api.PutPublicAccessBlockOutput{}
	return out, s.keep(ctx, in.Bucket, in.ExpectedBucketOwner, settingPublicAccess, c, out)
}

// GetPublicAccessBlock returns the block; a new bucket has all four parts of it.
func (s *Service) GetPublicAccessBlock(ctx context.Context, in *s3api.GetPublicAccessBlockInput) (*s3api.GetPublicAccessBlockOutput, error) {
	b, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	yes := awsapi.Ptr(true)
	c := &s3api.PublicAccessBlockConfiguration{BlockPublicAcls: yes, IgnorePublicAcls: yes, BlockPublicPolicy: yes, RestrictPublicBuckets: yes}
	switch text := b.Settings[settingPublicAccess]; {
	case string(text) == "null":
		return nil, absent(in.Bucket, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
	case text != nil:
		err = json.Unmarshal(text, c)
	}
	return &s3api.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: c}, err
}

// DeletePublicAccessBlock forgets the block.
func (s *Service) DeletePublicAccessBlock(ctx context.Context, in *s3api.DeletePublicAccessBlockInput) (*s3api.DeletePublicAccessBlockOutput, error) {
	out := &s3api.DeletePublicAccessBlockOutput{}
	return out, s.keep(ctx, in.Bucket, in.ExpectedBucketOwner, settingPublicAccess, nil, out)
}

// PutBucketOwnershipControls accepts the one ownership that we have.
func (s *Service) PutBucketOwnershipControls(ctx context.Context, in *s3api.PutBucketOwnershipControlsInput) (*s3api.PutBucketOwnershipControlsOutput, error) {
	for _, r := range in.OwnershipControls.Rules {
		if r.ObjectOwnership != ownerEnforced {
			return nil, notImplemented("Object ownership " + r.ObjectOwnership)
		}
	}
	out := &s3api.PutBucketOwnershipControlsOutput{}
	return out, s.keep(ctx, in.Bucket, in.ExpectedBucketOwner, settingOwnership, in.OwnershipControls, out)
}

// GetBucketOwnershipControls tells that the bucket's owner owns its objects.
func (s *Service) GetBucketOwnershipControls(ctx context.Context, in *s3api.GetBucketOwnershipControlsInput) (*s3api.GetBucketOwnershipControlsOutput, error) {
	if _, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	return &s3api.GetBucketOwnershipControlsOutput{OwnershipControls: &s3api.OwnershipControls{
		Rules: []s3api.OwnershipControlsRule{{ObjectOwnership: ownerEnforced}}}}, nil
}

// GetBucketVersioning answers with nothing, as AWS does for a bucket that was never versioned.
func (s *Service) GetBucketVersioning(ctx context.Context, in *s3api.GetBucketVersioningInput) (*s3api.GetBucketVersioningOutput, error) {
	_, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3api.GetBucketVersioningOutput{}, err
}

// PutBucketVersioning refuses: a bucket that says it is versioned and is not would lose data that its owner believes safe.
func (s *Service) PutBucketVersioning(ctx context.Context, in *s3api.PutBucketVersioningInput) (*s3api.PutBucketVersioningOutput, error) {
	if _, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	return nil, notImplemented("Bucket versioning")
}

// GetBucketLifecycleConfiguration finds none, ever.
func (s *Service) GetBucketLifecycleConfiguration(ctx context.Context, in *s3api.GetBucketLifecycleConfigurationInput) (*s3api.GetBucketLifecycleConfigurationOutput, error) {
	if _, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	return nil, absent(in.Bucket, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
}

// PutBucketLifecycleConfiguration refuses: nothing here would expire objects.
func (s *Service) PutBucketLifecycleConfiguration(ctx context.Context, in *s3api.PutBucketLifecycleConfigurationInput) (*s3api.PutBucketLifecycleConfigurationOutput, error) {
	if _, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	return nil, notImplemented("Bucket lifecycle configuration")
}

// DeleteBucketLifecycle has nothing to forget.
func (s *Service) DeleteBucketLifecycle(ctx context.Context, in *s3api.DeleteBucketLifecycleInput) (*s3api.DeleteBucketLifecycleOutput, error) {
	_, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3api.DeleteBucketLifecycleOutput{}, err
}

// GetBucketNotificationConfiguration finds no notifications.
func (s *Service) GetBucketNotificationConfiguration(ctx context.Context, in *s3api.GetBucketNotificationConfigurationInput) (*s3api.GetBucketNotificationConfigurationOutput, error) {
	_, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	return &s3api.GetBucketNotificationConfigurationOutput{}, err
}

// PutBucketNotificationConfiguration accepts only an empty one: nothing here would send notifications.
func (s *Service) PutBucketNotificationConfiguration(ctx context.Context, in *s3api.PutBucketNotificationConfigurationInput) (*s3api.PutBucketNotificationConfigurationOutput, error) {
	if _, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	c := in.NotificationConfiguration
	if len(c.TopicConfigurations)+len(c.QueueConfigurations)+len(c.LambdaFunctionConfigurations) > 0 || c.EventBridgeConfiguration != nil {
		return nil, notImplemented("Bucket notification configuration")
	}
	return &s3api.PutBucketNotificationConfigurationOutput{}, nil
}

// DeleteBucketOwnershipControls leaves the one ownership that we have.
func (s *Service) DeleteBucketOwnershipControls(ctx context.Context, in *s3api.DeleteBucketOwnershipControlsInput) (*s3api.DeleteBucketOwnershipControlsOutput, error) {
	out := &s3api.DeleteBucketOwnershipControlsOutput{}
	return out, s.forget(ctx, in.Bucket, in.ExpectedBucketOwner, settingOwnership, out)
}

func ownerGrant(account string) []s3api.Grant {
	return []s3api.Grant{{Grantee: &s3api.Grantee{ID: awsapi.Ptr(ownerID(account)), Type: "CanonicalUser"}, Permission: awsapi.Ptr("FULL_CONTROL")}}
}

// GetBucketAcl shows the owner's full control.
func (s *Service) GetBucketAcl(ctx context.Context, in *s3api.GetBucketAclInput) (*s3api.GetBucketAclOutput, error) {
	b, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &s3api.GetBucketAclOutput{Owner: &s3api.Owner{ID: awsapi.Ptr(ownerID(b.Account))}, Grants: ownerGrant(b.Account)}, nil
}

// PutBucketAcl accepts what changes nothing.
func (s *Service) PutBucketAcl(ctx context.Context, in *s3api.PutBucketAclInput) (*s3api.PutBucketAclOutput, error) {
	if err := s.checkRead(ctx, in, in.Bucket, nil, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	if in.ACL == nil {
		return nil, errNoACL
	}
	return &s3api.PutBucketAclOutput{}, nil
}

// GetObjectAcl shows the owner's full control.
func (s *Service) GetObjectAcl(ctx context.Context, in *s3api.GetObjectAclInput) (*s3api.GetObjectAclOutput, error) {
	b, _, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if _, err := s.existing(ctx, in); err != nil {
		return nil, err
	}
	return &s3api.GetObjectAclOutput{Owner: &s3api.Owner{ID: awsapi.Ptr(ownerID(b.Account))}, Grants: ownerGrant(b.Account)}, nil
}

// PutObjectAcl accepts what changes nothing.
func (s *Service) PutObjectAcl(ctx context.Context, in *s3api.PutObjectAclInput) (*s3api.PutObjectAclOutput, error) {
	if _, err := s.existing(ctx, in); err != nil {
		return nil, err
	}
	if in.ACL == nil {
		return nil, errNoACL
	}
	return &s3api.PutObjectAclOutput{}, nil
}
