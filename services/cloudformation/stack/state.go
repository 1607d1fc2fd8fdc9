package stack

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/cloudformation/template"
)

// Statuses of stacks that the core itself compares. The others are composed: CREATE_IN_PROGRESS …
const (
	ReviewInProgress = "REVIEW_IN_PROGRESS"
	DeleteComplete   = "DELETE_COMPLETE"
	DeleteFailed     = "DELETE_FAILED"
)

// StackType is the resource type of the stack itself in events.
const StackType = "AWS::CloudFormation::Stack"

// Parameter is a parameter with its text.
type Parameter struct {
	Key, Value string
	NoEcho     bool `json:",omitempty"`
}

// Tag is a key with a value.
type Tag struct{ Key, Value string }

// Definition is what a stack is to be.
type Definition struct {
	Template         string
	Description      string            `json:",omitempty"`
	Parameters       []Parameter       `json:",omitempty"`
	Tags             []Tag             `json:",omitempty"`
	Capabilities     []string          `json:",omitempty"`
	NotificationARNs []string          `json:",omitempty"`
	RoleARN          string            `json:",omitempty"`
	Imports          map[string]string `json:",omitempty"` // the exports that the template imports, with their values
}

// State is a stack.
type State struct {
	ID, Name        string
	Account, Region string
	Status, Reason  string
	// By is who made the stack: a cluster in it belongs to By.Execution.
	By                        identity.Principal
	CreateToken               string
	Created, Updated, Deleted time.Time
	OnFailure                 string
	Timeout                   int // minutes
	Protected                 bool
	Def                       Definition
	Resources                 map[string]*Resource
	Order                     []string // the keys of Resources, as they came
	Outputs                   []Output
	Op                        *Operation
	Operations                int // how many have begun
	Seq                       int // of commands
	ChangeSets                map[string]*ChangeSet
	Events                    int // how many there were
	LastEvent                 time.Time
	Unsent                    []Event // to be published
	Sending                   bool

	parsed map[string]*template.Template
}

// Resource is a resource of a stack.
type Resource struct {
	Key                                 string // the logical id; with "#n" behind it when operation n replaced or dropped it
	Logical, Type, Physical             string
	Status, Reason                      string
	Changed                             time.Time
	Props                               json.RawMessage   `json:",omitempty"` // evaluated
	Attrs                               map[string]string `json:",omitempty"` // for Fn::GetAtt
	Needs                               []string          `json:",omitempty"` // keys that were made before it
	DeletionPolicy, UpdateReplacePolicy string            `json:",omitempty"`
	Work                                *Work             `json:",omitempty"` // what is under way
	Operation                           int               // the last operation that has looked at it
	Made                                bool              `json:",omitempty"` // Operation made it
	Was                                 *Former           `json:",omitempty"` // how it was before Operation updated it
	Undone                              bool              `json:",omitempty"` // the update back was begun
	Replaces                            string            `json:",omitempty"` // key of the resource in whose place Operation made it
	Leftover                            bool              `json:",omitempty"` // to be deleted in the clean-up
}

// Former is what an undone update restores.
type Former struct {
	Props                               json.RawMessage
	Attrs                               map[string]string
	Needs                               []string
	DeletionPolicy, UpdateReplacePolicy string
}

// Work is an unfinished creation, update or deletion.
type Work struct {
	Verb      string // create, update or delete
	Seq       int    // of the command that is out, or was the last
	Out       bool   // a command is out
	Waiting   bool   // begun, and to be polled
	Handle    string `json:",omitempty"`
	Wake      string `json:",omitempty"`
	Again     bool   `json:",omitempty"` // a wake-up came while a poll was out
	Cancelled bool   `json:",omitempty"`
	Undo      bool   `json:",omitempty"` // it restores what was before
}

// Output is an output with its value.
type Output = template.Evaluated

// Operation is what a stack is doing.
type Operation struct {
	Number    int
	Kind      string // create, update or delete
	Phase     string // work, rollback, remove, cleanup, undo, undo-cleanup, failing
	Token     string `json:",omitempty"`
	By        identity.Principal
	Next      *Definition `json:",omitempty"`
	OnFailure string      `json:",omitempty"` // ROLLBACK, DELETE or DO_NOTHING
	Retain    []string    `json:",omitempty"`
	ChangeSet string      `json:",omitempty"`
}

// Event is one stack event.
type Event struct {
	Seq                     int
	ID                      string
	Time                    time.Time
	Logical, Physical, Type string
	Status, Reason          string          `json:",omitempty"`
	Props                   json.RawMessage `json:",omitempty"`
	Token                   string          `json:",omitempty"`
	Principal               string          `json:",omitempty"`
}

// ChangeSet is a change set with what it would do.
type ChangeSet struct {
	ID, Name, Description, Type string
	Token                       string `json:",omitempty"`
	Created                     time.Time
	Status, Reason, Execution   string
	Def                         Definition
	OnFailure                   string `json:",omitempty"`
	Changes                     []Change
	By                          identity.Principal
}

// Change is what a change set would do to one resource.
type Change struct {
	Action, Logical, Physical, Type string
	Replacement                     string `json:",omitempty"` // True, False or Conditional; empty for Add and Remove
	Properties                      []string
	Scope                           []string
}

// Fact is one thing that is so from now on: exactly one field is set.
type Fact struct {
	Born          *Born       `json:",omitempty"`
	Event         *Event      `json:",omitempty"`
	Put           *Resource   `json:",omitempty"`
	Gone          string      `json:",omitempty"`
	Began         *Operation  `json:",omitempty"`
	Phase         string      `json:",omitempty"`
	Ended         bool        `json:",omitempty"`
	Defined       *Definition `json:",omitempty"`
	Outputs       *[]Output   `json:",omitempty"`
	ChangeSet     *ChangeSet  `json:",omitempty"`
	ChangeSetGone string      `json:",omitempty"`
	Protected     *bool       `json:",omitempty"`
	Command       int         `json:",omitempty"` // the number of a command that was given
	Sending       int         `json:",omitempty"` // so many unsent events are being published
	Sent          bool        `json:",omitempty"`
}

// Born is the first fact of a stack.
type Born struct {
	ID, Name, Account, Region string
	By                        identity.Principal
	Token                     string `json:",omitempty"`
	At                        time.Time
	OnFailure                 string `json:",omitempty"`
	Timeout                   int    `json:",omitempty"`
	Protected                 bool   `json:",omitempty"`
	Review                    bool   `json:",omitempty"` // by a change set
}

// Apply folds one fact.
func (Core) Apply(s *State, f Fact) {
	switch {
	case f.Born != nil:
		b := f.Born
		s.ID, s.Name, s.Account, s.Region, s.By, s.CreateToken, s.Created = b.ID, b.Name, b.Account, b.Region, b.By, b.Token, b.At
		s.OnFailure, s.Timeout, s.Protected = b.OnFailure, b.Timeout, b.Protected
		s.Resources, s.ChangeSets = map[string]*Resource{}, map[string]*ChangeSet{}
	case f.Event != nil:
		s.applyEvent(f.Event)
	case f.Put != nil:
		r := *f.Put
		if _, known := s.Resources[r.Key]; !known {
			s.Order = append(s.Order, r.Key)
		}
		s.Resources[r.Key] = &r
	case f.Gone != "":
		delete(s.Resources, f.Gone)
		s.Order = slices.DeleteFunc(s.Order, func(k string) bool { return k == f.Gone })
	case f.Began != nil:
		op := *f.Began
		s.Op, s.Operations = &op, op.Number
	case f.Phase != "":
		if s.Op != nil {
			op := *s.Op
			op.Phase = f.Phase
			s.Op = &op
		}
	case f.Ended:
		s.Op = nil
	case f.Defined != nil:
		s.Def = *f.Defined
	case f.Outputs != nil:
		s.Outputs = *f.Outputs
	case f.ChangeSet != nil:
		c := *f.ChangeSet
		s.ChangeSets[c.Name] = &c
	case f.ChangeSetGone != "":
		delete(s.ChangeSets, f.ChangeSetGone)
	case f.Protected != nil:
		s.Protected = *f.Protected
	case f.Command != 0:
		s.Seq = f.Command
	case f.Sending != 0:
		s.Unsent, s.Sending = slices.Clone(s.Unsent[min(f.Sending, len(s.Unsent)):]), true
	case f.Sent:
		s.Sending = false
	}
}

func (s *State) applyEvent(e *Event) {
	s.Events, s.LastEvent = e.Seq, e.Time
	if len(s.topics()) > 0 {
		s.Unsent = append(s.Unsent, *e)
	}
	if e.Type == StackType && e.Logical == s.Name && e.Physical == s.ID {
		s.Status, s.Reason = e.Status, e.Reason
		switch e.Status {
		case "UPDATE_IN_PROGRESS":
			s.Updated = e.Time
		case "DELETE_IN_PROGRESS":
			s.Deleted = e.Time
		}
	}
}

// topics are the SNS topics that hear of the stack's events.
func (s *State) topics() []string {
	if s.Op != nil && s.Op.Next != nil {
		return s.Op.Next.NotificationARNs
	}
	return s.Def.NotificationARNs
}

// Current lists the resources that are not left over from a replacement, in the order in which they came.
func (s *State) Current() []*Resource {
	var out []*Resource
	for _, k := range s.Order {
		if r := s.Resources[k]; !r.Leftover {
			out = append(out, r)
		}
	}
	return out
}

// SortedChangeSets lists the change sets, the oldest first.
func (s *State) SortedChangeSets() []*ChangeSet {
	return slices.SortedFunc(maps.Values(s.ChangeSets), func(a, b *ChangeSet) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

// parse reads a template; a stack's template was parsed before it was accepted.
func (s *State) parse(def *Definition) *template.Template {
	if t := s.parsed[def.Template]; t != nil {
		return t
	}
	t, err := template.Parse([]byte(def.Template))
	if err != nil {
		panic("the template of " + s.ID + " was accepted: " + err.Error())
	}
	if s.parsed == nil || len(s.parsed) > 3 {
		s.parsed = map[string]*template.Template{}
	}
	s.parsed[def.Template] = t
	return t
}

// Given is a definition's parameters by name.
func (d *Definition) Given() map[string]string {
	out := make(map[string]string, len(d.Parameters))
	for _, p := range d.Parameters {
		out[p.Key] = p.Value
	}
	return out
}

// context is what the intrinsic functions of def see. unknown, if set, names resources whose values are not known yet.
func (s *State) context(def *Definition, unknown func(name string) error) (*template.Template, *template.Context, error) {
	t := s.parse(def)
	values, err := t.Bind(def.Given(), nil)
	if err != nil {
		return nil, nil, err
	}
	c := &template.Context{
		Values: values, Account: s.Account, Region: s.Region, StackID: s.ID, StackName: s.Name, NotificationARNs: def.NotificationARNs,
		Ref: func(name string) (any, error) {
			if unknown != nil {
				if err := unknown(name); err != nil {
					return nil, err
				}
			}
			r := s.Resources[name]
			if r == nil || r.Physical == "" {
				return nil, template.Error("Unresolved resource dependency " + name)
			}
			return r.Physical, nil
		},
		GetAtt: func(name, attribute string) (any, error) {
			if unknown != nil {
				if err := unknown(name); err != nil {
					return nil, err
				}
			}
			r := s.Resources[name]
			if r == nil {
				return nil, template.Error("Unresolved resource dependency " + name)
			}
			v, ok := r.Attrs[attribute]
			if !ok {
				return nil, template.Error("Template error: resource " + name + " does not support attribute type " + attribute + " in Fn::GetAtt")
			}
			return v, nil
		},
		Import: func(name string) (string, bool) { v, ok := def.Imports[name]; return v, ok },
	}
	c.Conditions, err = t.EvaluateConditions(c)
	return t, c, err
}
