package states

import (
	"context"
	"reflect"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/store"
)

// activity is an activity's row.
type activity struct {
	ARN     string    `json:"arn"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Tags    []tag     `json:"tags,omitempty"`

	Encryption *encryption `json:"encryption,omitempty"` // nil: AWS's key
}

// known is the row by which the engine hears of an activity at the start.
func known(arn string) store.Key { return store.Key{Service: service, Kind: knownActivity, ID: arn} }

var ownedKey = &api.EncryptionConfiguration{Type: "AWS_OWNED_KEY"}

// CreateActivity makes an activity, or answers as the first call did.
func (s *Service) CreateActivity(ctx context.Context, in *api.CreateActivityInput) (*api.CreateActivityOutput, error) {
	if err := checkName(in.Name); err != nil {
		return nil, err
	}
	encryption, err := encryptionOf(in.EncryptionConfiguration)
	if err != nil {
		return nil, err
	}
	tags, err := s.merge(nil, in.Tags, "")
	if err != nil {
		return nil, err
	}
	a := activity{ARN: arn(who(ctx), "activity:"+in.Name), Name: in.Name, Created: s.cfg.Clock.Now(), Tags: tags, Encryption: encryption}
	r, err := parse(a.ARN, activityKind)
	if err != nil {
		return nil, err
	}
	out := &api.CreateActivityOutput{ActivityArn: a.ARN}
	err = again(func() error {
		old, version, err := load[activity](ctx, s, r.key())
		if err != nil {
			return err
		}
		if version != 0 {
			if !reflect.DeepEqual(old.Encryption, a.Encryption) { // AWS: it is fixed for the life of an activity
				return awsapi.Errorf(400, "ActivityAlreadyExists", "Activity Already Exists: '%s'", a.ARN)
			}
			out.CreationDate = old.Created
			return nil
		}
		if most := s.limits().Activities; most > 0 && s.census.count(activityKind, r) >= most {
			return awsapi.Errorf(400, "ActivityLimitExceeded", "The maximum number of activities has been reached. Existing activities must be deleted before a new activity can be created.")
		}
		out.CreationDate = a.Created
		return s.save(ctx, r.key(), a, a.Created, 0, out, store.RowChange{Key: known(a.ARN), Value: []byte("{}")})
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Engine.ActivityCreated(a.ARN)
	return out, nil
}

func (s *Service) activityOf(ctx context.Context, text string) (activity, resource, int64, error) {
	r, err := parse(text, activityKind)
	if err != nil {
		return activity{}, r, 0, err
	}
	a, version, err := load[activity](ctx, s, r.key())
	if err == nil && (version == 0 || len(r.names) > 1) {
		err = awsapi.Errorf(400, "ActivityDoesNotExist", "Activity Does Not Exist: '%s'", text)
	}
	return a, r, version, err
}

// DescribeActivity tells of an activity.
func (s *Service) DescribeActivity(ctx context.Context, in *api.DescribeActivityInput) (*api.DescribeActivityOutput, error) {
	a, _, _, err := s.activityOf(ctx, in.ActivityArn)
	if err != nil {
		return nil, err
	}
	return &api.DescribeActivityOutput{ActivityArn: a.ARN, Name: a.Name, CreationDate: a.Created, EncryptionConfiguration: a.Encryption.describe()}, nil
}

// ListActivities lists them, newest first.
func (s *Service) ListActivities(ctx context.Context, in *api.ListActivitiesInput) (*api.ListActivitiesOutput, error) {
	found, next, err := list[activity](ctx, s, activityKind, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.ListActivitiesOutput{Activities: []api.ActivityListItem{}, NextToken: next}
	for _, a := range found {
		out.Activities = append(out.Activities, api.ActivityListItem{ActivityArn: a.ARN, Name: a.Name, CreationDate: a.Created})
	}
	return out, nil
}

// DeleteActivity deletes an activity, if it is there.
func (s *Service) DeleteActivity(ctx context.Context, in *api.DeleteActivityInput) (*api.DeleteActivityOutput, error) {
	r, err := parse(in.ActivityArn, activityKind)
	if err != nil {
		return nil, err
	}
	out := &api.DeleteActivityOutput{}
	if err := s.commit(ctx, store.Batch{Rows: []store.RowChange{{Key: r.key(), Delete: true}, {Key: known(in.ActivityArn), Delete: true}}}, out); err != nil {
		return nil, err
	}
	s.cfg.Engine.ActivityDeleted(in.ActivityArn)
	return out, nil
}

// GetActivityTask waits up to a minute for a task; an empty answer means that there was none.
func (s *Service) GetActivityTask(ctx context.Context, in *api.GetActivityTaskInput) (*api.GetActivityTaskOutput, error) {
	a, _, _, err := s.activityOf(ctx, in.ActivityArn)
	if err != nil {
		return nil, err
	}
	token, input, ok, err := s.cfg.Engine.ActivityTask(ctx, a.ARN, awsapi.Val(in.WorkerName))
	if err != nil || !ok {
		return &api.GetActivityTaskOutput{}, err
	}
	return &api.GetActivityTaskOutput{TaskToken: &token, Input: awsapi.Ptr(input.String())}, nil
}
