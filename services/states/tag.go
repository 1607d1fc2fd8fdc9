package states

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
)

// tag is a tag of a state machine or an activity.
type tag struct {
	Key   string `json:"k"`
	Value string `json:"v"`
}

// merge adds tags, in order; a key that is there already gets the new value.
func (s *Service) merge(tags []tag, more []api.Tag, of string) ([]tag, error) {
	tags = slices.Clone(tags)
	for _, t := range more {
		k, v := awsapi.Val(t.Key), awsapi.Val(t.Value)
		if n := utf8.RuneCountInString(k); n == 0 || n > 128 || utf8.RuneCountInString(v) > 256 || strings.HasPrefix(k, "aws:") {
			return nil, awsapi.Errorf(400, "ValidationException", "Invalid tag: '%s'", k)
		}
		if i := slices.IndexFunc(tags, func(t tag) bool { return t.Key == k }); i >= 0 {
			tags[i].Value = v
			continue
		}
		tags = append(tags, tag{k, v})
	}
	if most := s.limits().Tags; most > 0 && len(tags) > most {
		return nil, &awsapi.Error{Status: 400, Code: "TooManyTags", Message: fmt.Sprintf("You have reached the maximum number of tags (%d) for the resource.", most), Fields: map[string]any{"resourceName": of}}
	}
	return tags, nil
}

// tagged reads the tags of a resource; change, if not nil, returns what they are to become.
func (s *Service) tagged(ctx context.Context, text string, change func([]tag) ([]tag, error), answer any) (tags []tag, err error) {
	r, err := parse(text, machineKind, activityKind)
	if err != nil {
		return nil, err
	}
	missing := awsapi.Errorf(400, "ResourceNotFound", "Resource not found: '%s'", text)
	missing.Fields = map[string]any{"resourceName": text}
	if len(r.names) > 1 {
		return nil, missing
	}
	err = again(func() error {
		var m machine
		var a activity
		var version int64
		var err error
		if r.kind == machineKind {
			m, version, err = load[machine](ctx, s, r.key())
			tags = m.Tags
		} else {
			a, version, err = load[activity](ctx, s, r.key())
			tags = a.Tags
		}
		switch {
		case err != nil:
			return err
		case version == 0, m.Deleting:
			return missing
		case change == nil:
			return nil
		}
		if tags, err = change(tags); err != nil {
			return err
		}
		if r.kind == machineKind {
			m.Tags = tags
			return s.save(ctx, r.key(), m, m.Created, version, answer)
		}
		a.Tags = tags
		return s.save(ctx, r.key(), a, a.Created, version, answer)
	})
	return tags, err
}

// TagResource adds tags to a state machine or an activity.
func (s *Service) TagResource(ctx context.Context, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	out := &api.TagResourceOutput{}
	if _, err := s.tagged(ctx, in.ResourceArn, func(tags []tag) ([]tag, error) { return s.merge(tags, in.Tags, in.ResourceArn) }, out); err != nil {
		return nil, err
	}
	return out, nil
}

// UntagResource removes tags; keys that are not there are no error.
func (s *Service) UntagResource(ctx context.Context, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	out := &api.UntagResourceOutput{}
	_, err := s.tagged(ctx, in.ResourceArn, func(tags []tag) ([]tag, error) {
		return slices.DeleteFunc(slices.Clone(tags), func(t tag) bool { return slices.Contains(in.TagKeys, t.Key) }), nil
	}, out)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListTagsForResource lists tags in the order in which they were given.
func (s *Service) ListTagsForResource(ctx context.Context, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	tags, err := s.tagged(ctx, in.ResourceArn, nil, nil)
	if err != nil {
		return nil, err
	}
	out := &api.ListTagsForResourceOutput{Tags: []api.Tag{}}
	for _, t := range tags {
		out.Tags = append(out.Tags, api.Tag{Key: &t.Key, Value: &t.Value})
	}
	return out, nil
}
