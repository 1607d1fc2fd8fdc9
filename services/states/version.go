package states

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	api "github.com/mayfly-run/mayfly/internal/awsapi/statesapi"
	"github.com/mayfly-run/mayfly/store"
)

const (
	versionKind = "stateMachineVersion"
	ofMachine   = "of" // index: versions and aliases by what they belong to
)

// version is a published snapshot of a state machine: it never changes.
type version struct {
	Machine     machine   `json:"machine"` // as it was
	Number      int64     `json:"number"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
}

func (v *version) arn() string { return v.Machine.ARN + ":" + strconv.FormatInt(v.Number, 10) }

// versionNumber reads the qualifier of a version's ARN; 0 is an alias's, which has a letter or a sign in it.
func versionNumber(qualifier string) int64 {
	n, err := strconv.ParseUint(qualifier, 10, 63)
	if err != nil {
		return 0
	}
	return int64(n)
}

// qualified is the row of a version or an alias.
func (r resource) qualified(kind string) store.Key {
	k := r.key()
	k.Kind, k.ID = kind, r.names[0]+":"+r.names[1]
	return k
}

// machineARN is the ARN without version or alias.
func (r resource) machineARN() string {
	return strings.Join(strings.Split(r.arn, ":")[:7], ":")
}

// publish gives the current revision a version, if it has none yet. AWS: numbers grow and are not used again; a second
// version of the same revision is not made (API model, PublishStateMachineVersion).
func (m *machine) publish(r resource, most int, description *string, now time.Time) (arn string, rows []store.RowChange, err error) {
	if m.Published == 0 {
		if most > 0 && m.Versions >= most {
			return "", nil, awsapi.Errorf(402, "ServiceQuotaExceededException", "The state machine has %d versions, the most that it can have: delete some with DeleteStateMachineVersion.", m.Versions)
		}
		m.Versions++
		m.LastVersion++
		m.Published = m.LastVersion
		v := version{Machine: *m, Number: m.Published, Description: awsapi.Val(description), Created: now}
		v.Machine.Tags = nil
		value, err := json.Marshal(v)
		if err != nil {
			return "", nil, fmt.Errorf("write version %s: %w", v.arn(), err)
		}
		key := r.key()
		key.Kind, key.ID = versionKind, m.Name+":"+strconv.FormatInt(v.Number, 10)
		rows = append(rows, store.RowChange{Key: key, Value: value, IfVersion: store.Absent,
			Index: []store.IndexEntry{{Name: ofMachine, Sort: fmt.Sprintf("%s %020d", m.ARN, v.Number)}}}, logRow(v.arn(), m, r))
	}
	return m.ARN + ":" + strconv.FormatInt(m.Published, 10), rows, nil
}

// target is what the ARN of a state machine stands for when something is to be run or described.
type target struct {
	machine           // the current revision, or what the version was made of
	version  *version // nil: the ARN has no qualifier
	aliasARN string   // "" unless an alias led here
	testCase string   // of mocked results
}

func (t *target) versionARN() string {
	if t.version == nil {
		return ""
	}
	return t.version.arn()
}

// find reads what an ARN stands for. An alias leads to one of its versions, by the seed.
func (s *Service) find(ctx context.Context, text, seed string) (t target, err error) {
	r, err := parse(text, machineKind)
	if err == nil {
		err = r.unlabelled()
	}
	if err != nil {
		return t, err
	}
	missing := awsapi.Errorf(400, "StateMachineDoesNotExist", "State Machine Does Not Exist: '%s'", text)
	if len(r.names) == 1 {
		t.machine, _, _, err = s.machineOf(ctx, text)
		return t, err
	}
	if len(r.names) > 2 {
		return t, missing
	}
	if versionNumber(r.names[1]) == 0 {
		a, found, err := load[alias](ctx, s, r.qualified(aliasKind))
		if err != nil {
			return t, err
		}
		if found == 0 {
			return t, missing
		}
		t.aliasARN = a.ARN
		if r, err = parse(route(a.Routing, seed), machineKind); err != nil {
			return t, err
		}
	}
	v, found, err := load[version](ctx, s, r.qualified(versionKind))
	if err != nil {
		return t, err
	}
	if found == 0 {
		return t, missing
	}
	t.machine, t.version = v.Machine, &v
	return t, nil
}

// route chooses a version by the weights, which add up to 100.
func route(routing []api.RoutingConfigurationListItem, seed string) string {
	sum := sha256.Sum256([]byte(seed))
	draw := int64(binary.BigEndian.Uint64(sum[:]) % 100)
	for _, to := range routing {
		if draw -= to.Weight; draw < 0 {
			return to.StateMachineVersionArn
		}
	}
	return routing[len(routing)-1].StateMachineVersionArn
}

// PublishStateMachineVersion makes a version of the current revision, or answers with the one that there is.
func (s *Service) PublishStateMachineVersion(ctx context.Context, in *api.PublishStateMachineVersionInput) (*api.PublishStateMachineVersionOutput, error) {
	var out *api.PublishStateMachineVersionOutput
	err := again(func() error {
		m, r, at, err := s.machineOf(ctx, in.StateMachineArn)
		if err != nil {
			return err
		}
		current := m.Revision
		if current == "" {
			current = "INITIAL"
		}
		if in.RevisionId != nil && *in.RevisionId != current {
			return awsapi.Errorf(409, "ConflictException", "Failed to publish the State Machine version for revision %s. The current State Machine revision is %s.", *in.RevisionId, current)
		}
		if m.Deleting {
			return deleting(m.ARN)
		}
		now := s.cfg.Clock.Now()
		arn, rows, err := m.publish(r, s.limits().Versions, in.Description, now)
		if err != nil {
			return err
		}
		out = &api.PublishStateMachineVersionOutput{StateMachineVersionArn: arn, CreationDate: now}
		if rows == nil {
			t, err := s.find(ctx, arn, "")
			if err == nil {
				out.CreationDate = t.version.Created
			}
			return err
		}
		if err := s.save(ctx, r.key(), m, m.Created, at, out, rows...); err != nil {
			return err
		}
		s.setLogging(arn, &m, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListStateMachineVersions lists them, newest first; of a state machine that is not there it lists none.
func (s *Service) ListStateMachineVersions(ctx context.Context, in *api.ListStateMachineVersionsInput) (*api.ListStateMachineVersionsOutput, error) {
	r, err := parse(in.StateMachineArn, machineKind)
	if err != nil {
		return nil, err
	}
	q := store.Query{Account: r.account, Region: r.region, Kind: versionKind, Index: ofMachine, SortPrefix: in.StateMachineArn + " ", Descending: true}
	found, next, err := page[version](ctx, s, q, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &api.ListStateMachineVersionsOutput{StateMachineVersions: []api.StateMachineVersionListItem{}, NextToken: next}
	for _, v := range found {
		out.StateMachineVersions = append(out.StateMachineVersions, api.StateMachineVersionListItem{StateMachineVersionArn: v.arn(), CreationDate: v.Created})
	}
	return out, nil
}

// DeleteStateMachineVersion deletes a version, if it is there and no alias leads to it. Executions go on.
func (s *Service) DeleteStateMachineVersion(ctx context.Context, in *api.DeleteStateMachineVersionInput) (*api.DeleteStateMachineVersionOutput, error) {
	r, err := parse(in.StateMachineVersionArn, machineKind)
	if err != nil {
		return nil, err
	}
	if len(r.names) != 2 || versionNumber(r.names[1]) == 0 {
		return nil, invalidARN("Invalid ARN: %s", in.StateMachineVersionArn)
	}
	out := &api.DeleteStateMachineVersionOutput{}
	err = again(func() error {
		m, base, at, err := s.machineOf(ctx, r.machineARN())
		switch {
		case missingMachine(err), err == nil && m.Deleting:
			return nil
		case err != nil:
			return err
		}
		_, found, err := load[version](ctx, s, r.qualified(versionKind))
		if err != nil || found == 0 {
			return err
		}
		aliases, err := s.aliasesOf(ctx, r, in.StateMachineVersionArn)
		if err != nil {
			return err
		}
		if len(aliases) > 0 {
			return awsapi.Errorf(409, "ConflictException", "Version to be deleted must not be referenced by an alias. Current list of aliases referencing this version: [%s]", strings.Join(aliases, ", "))
		}
		m.Versions--
		if m.Published == versionNumber(r.names[1]) {
			m.Published = 0
		}
		return s.save(ctx, base.key(), m, m.Created, at, out, store.RowChange{Key: r.qualified(versionKind), Delete: true},
			store.RowChange{Key: loggedKey(in.StateMachineVersionArn), Delete: true})
	})
	if err != nil {
		return nil, err
	}
	s.setLogging(in.StateMachineVersionArn, &machine{}, r)
	return out, nil
}
