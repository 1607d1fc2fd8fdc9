package launch

import "time"

// View is how a run stands at one moment.
type View struct {
	Phase    string        `json:"phase"`   // prepare, deploy, run, summary
	Message  string        `json:"message"` // what is being done, as a sentence fragment
	Fraction float64       `json:"fraction"`
	Elapsed  time.Duration `json:"elapsed"`
	At       time.Time     `json:"at"`

	Execution string     `json:"execution,omitempty"` // the outer execution's ARN
	Status    string     `json:"status,omitempty"`
	States    []*State   `json:"states,omitempty"`
	Clusters  []*Cluster `json:"clusters,omitempty"`
}

// Cluster is a cluster that the run made, with its steps in the order in which they were added.
type Cluster struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Reason  string    `json:"reason,omitempty"`
	Workers string    `json:"workers,omitempty"`
	Created time.Time `json:"created"`
	Ready   time.Time `json:"ready,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Steps   []*Step   `json:"steps,omitempty"`
}

// Step is one step of a cluster with the end of its driver's log.
type Step struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Created time.Time `json:"created"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Reason  string    `json:"reason,omitempty"` // why it failed: the exception line of the driver's log
	Log     string    `json:"log,omitempty"`    // where its log lies
	Tail    []string  `json:"tail,omitempty"`
}

// Terminal says that a step's state is its last.
func (s *Step) Terminal() bool {
	switch s.State {
	case "COMPLETED", "FAILED", "CANCELLED", "INTERRUPTED":
		return true
	}
	return false
}

// fraction guesses how far the run is: launching, each step of each mode and deleting count alike.
func fraction(clusters []*Cluster, modes int, ended bool) float64 {
	if ended {
		return 1
	}
	units, done := float64(2+2*modes), 0.0
	for _, c := range clusters {
		if !c.Ready.IsZero() {
			done++
		}
		for _, s := range c.Steps {
			switch {
			case s.Terminal():
				done++
			case s.State == "RUNNING":
				done += 0.5
			}
		}
		if c.State == "TERMINATED" || c.State == "TERMINATED_WITH_ERRORS" {
			done += 0.5
		}
	}
	return min(done/units, 0.99)
}
