package stack

import (
	"maps"
	"slices"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// NoChanges is why an empty change set has failed; clients look for this text.
const NoChanges = "The submitted information didn't contain changes. Submit different information to create a change set."

// Reviewed is the reply to Review.
type Reviewed struct{ ID, StackID string }

// review makes a change set. AWS takes a moment for it; here it is ready with the answer.
func (t *turn) review(in *Review) {
	s := t.s
	switch known := s.ChangeSets[in.ChangeSet]; {
	case known != nil && in.Token != "" && known.Token == in.Token, known != nil && known.ID == in.ID:
		t.d.Reply = Reviewed{known.ID, s.ID}
		return
	case known != nil:
		t.refuse("AlreadyExistsException", "ChangeSet %s already exists", in.ChangeSet)
		return
	case s.ID == "":
		t.fact(Fact{Born: &Born{ID: in.StackID, Name: in.Name, Account: in.Account, Region: in.Region, By: t.by, At: t.now.UTC(), Review: true}})
		t.status(ReviewInProgress, "User Initiated")
	case in.Type == "CREATE" && s.Status != ReviewInProgress:
		t.refuse("ValidationError", "Stack [%s] already exists and cannot be created again with the changeSet [%s].", s.Name, in.ChangeSet)
		return
	case in.Type != "CREATE" && !Updatable(s.Status):
		t.refuse("ValidationError", "Stack:%s is in %s state and can not be updated.", s.ID, s.Status)
		return
	}
	c := ChangeSet{ID: in.ID, Name: in.ChangeSet, Description: in.Description, Type: in.Type, Token: in.Token, Created: t.now.UTC(),
		Status: "CREATE_COMPLETE", Execution: "AVAILABLE", Def: in.Def, OnFailure: in.OnFailure, By: t.by}
	changes, other, err := t.compare(&in.Def)
	switch {
	case err != nil:
		c.Status, c.Execution, c.Reason = "FAILED", "UNAVAILABLE", err.Error()
	case len(changes) == 0 && !other:
		c.Status, c.Execution, c.Reason = "FAILED", "UNAVAILABLE", NoChanges
	}
	c.Changes = changes
	t.fact(Fact{ChangeSet: &c})
	t.d.Reply = Reviewed{c.ID, s.ID}
}

func (t *turn) found(name string) *ChangeSet {
	if c := t.s.ChangeSets[name]; c != nil {
		return c
	}
	t.d.Err = awsapi.Errorf(404, "ChangeSetNotFound", "ChangeSet [%s] does not exist", name)
	return nil
}

func (t *turn) execute(in *Execute) {
	s := t.s
	found := t.found(in.ChangeSet)
	if found == nil {
		return
	}
	c := *found
	switch {
	case c.Execution == "EXECUTE_IN_PROGRESS" && in.Token != "" && s.Op != nil && s.Op.Token == in.Token:
		return
	case c.Execution != "AVAILABLE":
		status := c.Status
		if c.Status != "FAILED" {
			status = c.Execution
		}
		t.refuse("InvalidChangeSetStatus", "ChangeSet [%s] cannot be executed in its current status of [%s]", c.ID, status)
		return
	case c.Type == "CREATE" && s.Status != ReviewInProgress, c.Type != "CREATE" && !Updatable(s.Status):
		t.refuse("ValidationError", "Stack:%s is in %s state and can not be updated.", s.ID, s.Status)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(s.ChangeSets)) {
		if other := *s.ChangeSets[name]; name != c.Name && other.Execution == "AVAILABLE" {
			other.Execution = "OBSOLETE"
			t.fact(Fact{ChangeSet: &other})
		}
	}
	c.Execution = "EXECUTE_IN_PROGRESS"
	t.fact(Fact{ChangeSet: &c})
	onFailure := c.OnFailure
	if in.DisableRollback {
		onFailure = "DO_NOTHING"
	}
	if c.Type == "CREATE" {
		t.startCreate(c.Def, in.Token, onFailure, c.Name)
	} else {
		t.startUpdate(c.Def, in.Token, onFailure == "DO_NOTHING", c.Name)
	}
}

// discard deletes a change set. AWS: one that is not there is a success where its stack is.
func (t *turn) discard(name string) {
	c := t.s.ChangeSets[name]
	if c == nil {
		return
	}
	if c.Execution == "EXECUTE_IN_PROGRESS" {
		t.refuse("InvalidChangeSetStatus", "ChangeSet [%s] cannot be deleted in its current status of [%s]", c.ID, c.Execution)
		return
	}
	t.fact(Fact{ChangeSetGone: name})
}
