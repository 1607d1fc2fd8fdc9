package custody

import (
	"fmt"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/durable"
)

// Kinds of what is leased.
const (
	KindStack   = "stack"
	KindCluster = "cluster"
)

// Actions in the ledger.
const (
	Made        = "made"         // a stack without a cluster: attributed, and left alone
	Held        = "held"         // the lease began
	Kept        = "kept"         // released, and left alone because of the tag
	StackEnded  = "delete-stack" // the stack is being deleted
	ClusterGone = "end-cluster"  // a cluster is being ended
	Failed      = "failed"       // a deletion was refused
	Gone        = "gone"         // it is no more; the lease is over
)

// Entry is a line of the ledger: one decision with its reason.
type Entry struct {
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Owner    string    `json:"owner"`
	Action   string    `json:"action"`
	Reason   string    `json:"reason"`
	Sequence int       `json:"sequence"`
}

// lease is the entity: custody of one stack or cluster.
type lease struct {
	Kind, ID, Name, Account, Region, Owner string

	Phase   string // "", made, held, kept, ending or over
	Busy    int    // commands that are out
	Tries   int
	Last    time.Time // of the last try
	Refused string    // why the last deletion was refused
	Entries int
}

// input is what happens to a lease: one field is set.
type input struct {
	Seen     *seen     `json:",omitempty"`
	Made     *seen     `json:",omitempty"` // it began: only what it is and whose
	Holds    string    `json:",omitempty"` // a cluster that the stack begins to hold
	Released string    `json:",omitempty"` // an execution that held it has ended
	Done     *finished `json:",omitempty"`
	Gone     bool      `json:",omitempty"`
}

// seen is what the reaper found.
type seen struct {
	Kind, ID, Name, Account, Region string
	Owner                           string
	Status                          string
	Clusters                        []string
	Covered                         bool // a cluster in a stack that lives: the stack's lease sees to it
	Off                             bool // the tag opts out
	Ended                           bool // the owner and all above it
	Why                             string
}

// finished is the result of a command.
type finished struct{ Refused string }

type fact struct {
	Opened  *seen     `json:",omitempty"`
	Entry   *Entry    `json:",omitempty"`
	Phase   string    `json:",omitempty"`
	Tried   time.Time `json:",omitzero"`
	Busy    int       `json:",omitempty"`
	Refused *string   `json:",omitempty"`
}

// command is what a lease asks for.
type command struct {
	Verb            string // end, delete-stack or check
	ID              string
	Account, Region string
	Clusters        []string `json:",omitempty"` // ended first
	Reason          string   `json:",omitempty"`
}

// core decides for leases. It is pure.
type core struct{}

// Apply folds one fact.
func (core) Apply(l *lease, f fact) {
	switch {
	case f.Opened != nil:
		o := f.Opened
		l.Kind, l.ID, l.Name, l.Account, l.Region, l.Owner = o.Kind, o.ID, o.Name, o.Account, o.Region, o.Owner
	case f.Entry != nil:
		l.Entries = f.Entry.Sequence
	case f.Phase != "":
		l.Phase = f.Phase
	case !f.Tried.IsZero():
		l.Tries, l.Last = l.Tries+1, f.Tried
	case f.Busy != 0:
		l.Busy += f.Busy
	case f.Refused != nil:
		l.Refused = *f.Refused
	}
}

type decision struct {
	core
	l   *lease
	now time.Time
	d   durable.Decision[fact, command]
}

func (d *decision) fact(f fact) {
	d.d.Facts = append(d.d.Facts, f)
	d.Apply(d.l, f)
}

func (d *decision) write(action, format string, args ...any) {
	l := d.l
	d.fact(fact{Entry: &Entry{At: d.now, Kind: l.Kind, ID: l.ID, Name: l.Name, Owner: l.Owner, Action: action, Reason: fmt.Sprintf(format, args...), Sequence: l.Entries + 1}})
}

func (d *decision) ask(c command) {
	c.Account, c.Region = d.l.Account, d.l.Region
	d.fact(fact{Busy: 1})
	d.d.Commands = append(d.d.Commands, c)
}

// Decide answers one input.
func (core) Decide(l *lease, in durable.Input[input], env durable.Env) (durable.Decision[fact, command], error) {
	d := &decision{l: l, now: env.Now.UTC()}
	switch b := in.Body; {
	case b.Seen != nil:
		d.look(b.Seen)
	case b.Made != nil:
		d.open(b.Made)
	case b.Holds != "" && l.Phase == "made":
		d.hold("it holds %s, made on behalf of %s", b.Holds, l.Owner)
	case b.Released != "" && l.Phase == "held":
		// Whether that was the last that held it is read from the executions, not from memory.
		d.d.Commands = append(d.d.Commands, command{Verb: "check", ID: l.ID, Account: l.Account, Region: l.Region})
	case b.Done != nil:
		if l.Busy > 0 {
			d.fact(fact{Busy: -1})
		}
		if b.Done.Refused != l.Refused {
			d.fact(fact{Refused: &b.Done.Refused})
		}
		if b.Done.Refused != "" {
			d.write(Failed, "%s", b.Done.Refused)
		}
	case b.Gone && l.Phase != "" && l.Phase != "over":
		d.write(Gone, "the %s is no more", l.Kind)
		d.fact(fact{Phase: "over"})
	}
	d.d.Closed = l.Phase == "over"
	return d.d, nil
}

// pause is how long custody waits between two tries.
func pause(tries int) time.Duration {
	p := ReapEvery - time.Second
	for i := 4; i < tries && p < 10*time.Minute; i++ {
		p *= 2
	}
	return p
}

// open begins the books on a stack or cluster.
func (d *decision) open(s *seen) {
	if d.l.Phase != "" {
		return
	}
	d.fact(fact{Opened: s})
	if s.Kind == KindStack && len(s.Clusters) == 0 {
		d.fact(fact{Phase: "made"})
		d.write(Made, "made on behalf of %s", s.Owner)
		return
	}
	d.hold("made on behalf of %s", s.Owner)
}

func (d *decision) hold(format string, args ...any) {
	d.fact(fact{Phase: "held"})
	d.write(Held, format, args...)
}

func (d *decision) look(s *seen) {
	l := d.l
	if l.Phase == "over" {
		return // its id is not given a second time
	}
	d.open(s)
	if l.Phase == "made" && len(s.Clusters) > 0 {
		d.hold("it holds %s, made on behalf of %s", strings.Join(s.Clusters, ", "), l.Owner)
	}
	switch {
	case l.Phase == "made": // only attributed
		return
	case !s.Ended, s.Covered, l.Busy > 0:
		return
	case s.Off:
		if l.Phase != "kept" {
			d.fact(fact{Phase: "kept"})
			d.write(Kept, "tag %s=%s; %s", Tag, TagOff, s.Why)
		}
		return
	}
	failed := s.Status == "DELETE_FAILED" || l.Refused != ""
	switch {
	case l.Kind == KindCluster && s.Status == "TERMINATING", s.Status == "DELETE_IN_PROGRESS":
		return
	case l.Tries > 0 && !(failed && l.Tries == 1) && d.now.Sub(l.Last) < pause(l.Tries):
		return
	}
	if l.Phase != "ending" {
		d.fact(fact{Phase: "ending"})
	}
	d.fact(fact{Tried: d.now})
	var clusters []string // to be ended before the stack
	switch {
	case l.Kind == KindCluster:
		d.write(ClusterGone, "%s", s.Why)
		d.ask(command{Verb: "end", ID: l.ID, Clusters: []string{l.ID}, Reason: s.Why})
		return
	case failed:
		clusters = s.Clusters
		why := s.Status
		if l.Refused != "" {
			why = l.Refused
		}
		if len(clusters) > 0 {
			d.write(ClusterGone, "%s ended directly, because the deletion of its stack failed (%s); %s", strings.Join(clusters, ", "), why, s.Why)
		}
	}
	d.write(StackEnded, "%s", s.Why)
	d.ask(command{Verb: "delete-stack", ID: l.ID, Clusters: clusters, Reason: s.Why})
}
