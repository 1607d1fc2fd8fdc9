package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/durable"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/cloudformation/template"
)

// Types is the little that the core must know of resource types. It is pure.
type Types interface {
	// Replaces says whether a change of these properties needs a new physical resource. What is not known before the
	// update is not in after.
	Replaces(typ string, changed []string, before, after map[string]json.RawMessage) bool
	// NameOf is the property that names resources of a type; "" where none does.
	NameOf(typ string) string
}

// Core decides for stacks.
type Core struct{ Types Types }

// Input is what happens to a stack: exactly one field is set.
type Input struct {
	Create       *Create   `json:",omitempty"`
	Update       *Update   `json:",omitempty"`
	Delete       *Delete   `json:",omitempty"`
	Review       *Review   `json:",omitempty"`
	Execute      *Execute  `json:",omitempty"`
	Discard      string    `json:",omitempty"` // a change set's name
	Protect      *bool     `json:",omitempty"`
	Continue     *Continue `json:",omitempty"`
	CancelUpdate bool      `json:",omitempty"`
	Done         *Done     `json:",omitempty"`
	Poll         *string   `json:",omitempty"` // a resource's key; empty: all that wait
	TimedOut     bool      `json:",omitempty"`
	Published    bool      `json:",omitempty"`
}

// Create makes a stack.
type Create struct {
	ID, Name, Account, Region string
	Def                       Definition
	Token                     string
	OnFailure                 string
	Timeout                   int
	Protected                 bool
}

// Update changes a stack.
type Update struct {
	Def             Definition
	Token           string
	DisableRollback bool
}

// Delete removes a stack.
type Delete struct {
	Token   string
	RoleARN string
	Retain  []string
}

// Continue goes on with a roll-back that failed. Skip names resources that are taken for restored as they are.
type Continue struct {
	Token   string
	RoleARN string
	Skip    []string
}

// Review makes a change set, and the stack that it is for when there is none.
type Review struct {
	StackID, Name, Account, Region string // of the stack
	ID, ChangeSet, Description     string
	Type                           string // CREATE or UPDATE
	Token, OnFailure               string
	Def                            Definition
}

// Execute carries out a change set.
type Execute struct {
	ChangeSet       string
	Token           string
	DisableRollback bool
}

// Done is the result of a command.
type Done struct {
	Key      string
	Seq      int
	Physical string            `json:",omitempty"`
	Attrs    map[string]string `json:",omitempty"`
	Waiting  bool              `json:",omitempty"` // not finished: poll again
	Handle   string            `json:",omitempty"`
	Wake     string            `json:",omitempty"` // what to watch
	Failed   string            `json:",omitempty"` // the reason
}

// Command is what a stack asks of the world.
type Command struct {
	Verb               string // create, update, delete, poll or publish
	Seq                int
	Key, Logical, Type string
	Physical           string            `json:",omitempty"`
	Of                 string            `json:",omitempty"` // poll: the verb that it is about
	Handle             string            `json:",omitempty"`
	Props, Old         json.RawMessage   `json:",omitempty"`
	Attrs              map[string]string `json:",omitempty"`
	Tags               []Tag             `json:",omitempty"`
	StackID, StackName string
	By                 identity.Principal
	At                 time.Time // when it was decided
	Topics             []string  `json:",omitempty"`
	Events             []Event   `json:",omitempty"`
}

// PollEvery is the pause between two looks at an unfinished resource when nobody wakes its stack.
const PollEvery = 5 * time.Second

// turn is one decision in the making.
type turn struct {
	Core
	s   *State
	by  identity.Principal
	now time.Time
	rng *rand.Rand
	d   durable.Decision[Fact, Command]
}

func (t *turn) fact(f Fact) {
	t.d.Facts = append(t.d.Facts, f)
	t.Apply(t.s, f)
}

func (t *turn) refuse(code, format string, args ...any) {
	t.d.Err = awsapi.Errorf(400, code, format, args...)
}

// Decide answers one input.
func (c Core) Decide(s *State, in durable.Input[Input], env durable.Env) (durable.Decision[Fact, Command], error) {
	t := &turn{Core: c, s: s, by: in.By, now: env.Now, rng: rand.New(rand.NewPCG(env.Seed, 0))}
	b := in.Body
	if s.ID == "" && b.Create == nil && b.Review == nil {
		return t.d, nil // a stack that never was
	}
	switch {
	case b.Create != nil:
		t.create(b.Create)
	case b.Update != nil:
		t.update(b.Update)
	case b.Delete != nil:
		t.delete(b.Delete)
	case b.Review != nil:
		t.review(b.Review)
	case b.Execute != nil:
		t.execute(b.Execute)
	case b.Discard != "":
		t.discard(b.Discard)
	case b.Protect != nil:
		t.protect(*b.Protect)
	case b.Continue != nil:
		t.goOn(b.Continue)
	case b.CancelUpdate:
		t.cancelUpdate()
	case b.Done != nil:
		t.done(b.Done)
	case b.Poll != nil:
		t.poll(*b.Poll)
	case b.TimedOut:
		t.timedOut()
	case b.Published:
		t.fact(Fact{Sent: true})
	}
	if t.d.Err == nil {
		t.advance()
		t.publish()
	}
	t.d.Closed = s.Status == DeleteComplete && len(s.Unsent) == 0 && !s.Sending
	return t.d, nil
}

// event says one event, at least a millisecond after the one before.
//
// AWS: clients read events by time and drop what is not newer than the newest that they have seen.
func (t *turn) event(e Event) {
	e.Time = t.now.UTC().Truncate(time.Millisecond)
	if !e.Time.After(t.s.LastEvent) {
		e.Time = t.s.LastEvent.Add(time.Millisecond)
	}
	e.Seq = t.s.Events + 1
	if e.Type == StackType {
		e.ID = t.uuid()
	} else {
		e.ID = fmt.Sprintf("%s-%s-%s", e.Logical, e.Status, e.Time.Format("2006-01-02T15:04:05.000Z"))
	}
	if op := t.s.Op; op != nil {
		e.Token, e.Principal = op.Token, op.By.ARN
	}
	t.fact(Fact{Event: &e})
}

func (t *turn) uuid() string {
	a, b := t.rng.Uint64(), t.rng.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, 0x8000|b>>48&0x3fff, b&0xffffffffffff)
}

func (t *turn) status(status, reason string) {
	t.event(Event{Logical: t.s.Name, Physical: t.s.ID, Type: StackType, Status: status, Reason: reason})
}

// say records a resource with a new status and says so.
func (t *turn) say(r Resource, status, reason string) {
	r.Status, r.Reason = status, reason
	t.event(Event{Logical: r.Logical, Physical: r.Physical, Type: r.Type, Status: status, Reason: reason, Props: r.Props})
	r.Changed = t.s.LastEvent
	t.put(r)
}

func (t *turn) put(r Resource) { t.fact(Fact{Put: &r}) }

func (t *turn) command(c Command) {
	s := t.s
	c.StackID, c.StackName, c.At = s.ID, s.Name, t.now.UTC()
	if s.Op != nil {
		c.By = s.Op.By
		c.Tags = s.Def.Tags
		if s.Op.Next != nil && s.Op.Phase == "work" {
			c.Tags = s.Op.Next.Tags
		}
	}
	t.d.Commands = append(t.d.Commands, c)
}

func (t *turn) next() int {
	t.fact(Fact{Command: t.s.Seq + 1})
	return t.s.Seq
}

// actor is who the operation's calls come from: the caller, through CloudFormation, and still on the same behalf.
func (t *turn) actor(stackID, role string) identity.Principal {
	arn := t.by.ARN
	if role != "" {
		arn = fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/AWSCloudFormation", t.by.Account, role[strings.LastIndexByte(role, '/')+1:])
	}
	return t.by.On(identity.StackOperation, stackID, arn)
}

func (t *turn) begin(op Operation) {
	op.Number = t.s.Operations + 1
	t.fact(Fact{Began: &op})
}

func (t *turn) create(c *Create) {
	s := t.s
	if s.ID != "" { // the same request again
		t.d.Reply = s.ID
		return
	}
	t.fact(Fact{Born: &Born{ID: c.ID, Name: c.Name, Account: c.Account, Region: c.Region, By: t.by, Token: c.Token, At: t.now.UTC(),
		OnFailure: c.OnFailure, Timeout: c.Timeout, Protected: c.Protected}})
	t.startCreate(c.Def, c.Token, c.OnFailure, "")
	if c.Timeout > 0 {
		t.d.SetTimers = append(t.d.SetTimers, durable.Timer{Name: "timeout", Due: t.now.Add(time.Duration(c.Timeout) * time.Minute)})
	}
	t.d.Reply = s.ID
}

func (t *turn) startCreate(def Definition, token, onFailure, changeSet string) {
	t.fact(Fact{Defined: &def})
	t.begin(Operation{Kind: "create", Phase: "work", Token: token, By: t.actor(t.s.ID, def.RoleARN), OnFailure: onFailure, ChangeSet: changeSet})
	t.status("CREATE_IN_PROGRESS", "User Initiated")
}

// Updatable says whether a stack in this status may be updated.
func Updatable(status string) bool {
	switch status {
	case "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED":
		return true
	}
	return false
}

func (t *turn) update(u *Update) {
	s := t.s
	if s.Op != nil && s.Op.Kind == "update" && u.Token != "" && s.Op.Token == u.Token {
		t.d.Reply = s.ID
		return
	}
	if !Updatable(s.Status) {
		t.refuse("ValidationError", "Stack:%s is in %s state and can not be updated.", s.ID, s.Status)
		return
	}
	changes, other, err := t.compare(&u.Def)
	if err != nil {
		t.refuse("ValidationError", "%s", err)
		return
	}
	if len(changes) == 0 && !other {
		t.refuse("ValidationError", "No updates are to be performed.")
		return
	}
	t.startUpdate(u.Def, u.Token, u.DisableRollback, "")
	t.d.Reply = s.ID
}

func (t *turn) startUpdate(def Definition, token string, disableRollback bool, changeSet string) {
	onFailure := "ROLLBACK"
	if disableRollback {
		onFailure = "DO_NOTHING"
	}
	if def.RoleARN == "" {
		def.RoleARN = t.s.Def.RoleARN
	}
	t.begin(Operation{Kind: "update", Phase: "work", Token: token, By: t.actor(t.s.ID, def.RoleARN), Next: &def, OnFailure: onFailure, ChangeSet: changeSet})
	t.status("UPDATE_IN_PROGRESS", "User Initiated")
}

func (t *turn) delete(d *Delete) {
	s := t.s
	switch {
	case s.Status == DeleteComplete || s.Op != nil && (s.Op.Kind == "delete" || s.Op.Phase == "remove"):
		return // AWS: deleting what is being deleted, or is gone, is a success.
	case s.Protected:
		t.refuse("ValidationError", "Stack [%s] cannot be deleted while TerminationProtection is enabled", s.Name)
		return
	case len(d.Retain) > 0 && s.Status != DeleteFailed:
		t.refuse("ValidationError", "Invalid operation on stack [%s]. DeleteStack with RetainResources is only allowed for stacks in the DELETE_FAILED state.", s.ID)
		return
	case s.Op != nil && s.Op.Kind == "update":
		t.refuse("ValidationError", "Stack [%s] cannot be deleted while in status %s", s.Name, s.Status)
		return
	}
	for _, name := range d.Retain {
		if r := s.Resources[name]; r == nil || r.Status != DeleteFailed {
			t.refuse("ValidationError", "Invalid operation on stack [%s]. The specified resources to retain must be in a valid DELETE_FAILED state: [%s]", s.ID, name)
			return
		}
	}
	t.cancel()
	role := d.RoleARN
	if role == "" {
		role = s.Def.RoleARN
	}
	// What a person deletes is deleted on the person's behalf, what an execution deletes on the execution's.
	t.begin(Operation{Kind: "delete", Phase: "remove", Token: d.Token, By: t.actor(s.ID, role), Retain: d.Retain})
	t.d.ClearTimers = append(t.d.ClearTimers, "timeout")
	t.status("DELETE_IN_PROGRESS", "User Initiated")
}

func (t *turn) protect(on bool) {
	if t.s.Status == DeleteComplete || t.s.Op != nil && t.s.Op.Kind == "delete" {
		t.refuse("ValidationError", "Stack [%s] does not exist", t.s.Name)
		return
	}
	t.fact(Fact{Protected: &on})
	t.d.Reply = t.s.ID
}

func (t *turn) cancelUpdate() {
	op := t.s.Op
	if op == nil || op.Kind != "update" || op.Phase != "work" {
		t.refuse("ValidationError", "CancelUpdateStack cannot be called from current stack status")
		return
	}
	t.failUpdate("User Initiated")
}

func (t *turn) timedOut() {
	if op := t.s.Op; op != nil && op.Kind == "create" && op.Phase == "work" {
		t.failCreate("Stack creation time exceeded the specified timeout.")
	}
}

// cancel gives up what is being made or updated. A command that is out still answers; until then its work stays.
func (t *turn) cancel() {
	for _, k := range t.s.Order {
		r := *t.s.Resources[k]
		if r.Work == nil || r.Work.Cancelled || r.Work.Verb == "delete" {
			continue
		}
		reason := "Resource creation cancelled"
		if r.Work.Verb == "update" {
			reason = "Resource update cancelled"
		}
		w := *r.Work
		w.Cancelled = true
		if r.Work = &w; !w.Out {
			r.Work = nil
			t.d.ClearTimers = append(t.d.ClearTimers, "poll/"+r.Key)
		}
		t.say(r, t.verb(&r, w.Verb)+"_FAILED", reason)
	}
}

// verb is how events speak of work: a replacement is an update.
func (t *turn) verb(r *Resource, verb string) string {
	if r.Replaces != "" && verb == "create" {
		return "UPDATE"
	}
	return strings.ToUpper(verb)
}

// done takes the result of a command.
func (t *turn) done(d *Done) {
	found := t.s.Resources[d.Key]
	if found == nil || found.Work == nil || found.Work.Seq != d.Seq || !found.Work.Out {
		return
	}
	r, w := *found, *found.Work
	r.Work = &w
	w.Out = false
	made := d.Physical != "" && r.Physical == ""
	if d.Physical != "" {
		r.Physical = d.Physical
	}
	if d.Attrs != nil {
		r.Attrs = d.Attrs
	}
	if d.Handle != "" {
		w.Handle = d.Handle
	}
	w.Wake = d.Wake
	verb := t.verb(&r, w.Verb)
	again := w.Again
	w.Again = false
	switch {
	case w.Cancelled: // It said so already. What came of it counts.
		r.Work = nil
		t.put(r)
	case d.Failed != "":
		r.Work = nil
		t.say(r, verb+"_FAILED", d.Failed)
	case d.Waiting:
		w.Waiting = true
		if made && w.Verb == "create" {
			t.say(r, verb+"_IN_PROGRESS", "Resource creation Initiated")
		} else {
			t.put(r)
		}
		if again {
			t.poll(r.Key)
		} else {
			t.d.SetTimers = append(t.d.SetTimers, durable.Timer{Name: "poll/" + r.Key, Due: t.now.Add(PollEvery)})
		}
	default:
		r.Work = nil
		if w.Waiting {
			t.d.ClearTimers = append(t.d.ClearTimers, "poll/"+r.Key)
		} else if w.Verb == "create" {
			t.say(r, verb+"_IN_PROGRESS", "Resource creation Initiated")
		}
		if w.Undo {
			t.restored(&r)
		}
		t.say(r, verb+"_COMPLETE", "")
	}
}

// restored is r as it was before the update that is undone.
func (t *turn) restored(r *Resource) {
	was := r.Was
	r.Props, r.Needs, r.DeletionPolicy, r.UpdateReplacePolicy, r.Was, r.Undone = was.Props, was.Needs, was.DeletionPolicy, was.UpdateReplacePolicy, nil, false
	if r.Attrs == nil {
		r.Attrs = was.Attrs
	}
}

// poll looks at what waits.
func (t *turn) poll(key string) {
	for _, k := range t.s.Order {
		r := *t.s.Resources[k]
		if key != "" && key != k || r.Work == nil || !r.Work.Waiting || r.Work.Cancelled {
			continue
		}
		w := *r.Work
		r.Work = &w
		if w.Out {
			if !w.Again {
				w.Again = true
				t.put(r)
			}
			continue
		}
		w.Out, w.Seq = true, t.next()
		t.put(r)
		t.command(Command{Verb: "poll", Of: w.Verb, Seq: w.Seq, Key: r.Key, Logical: r.Logical, Type: r.Type, Physical: r.Physical, Handle: w.Handle, Props: r.Props, Attrs: r.Attrs})
	}
}

// publish sends what happened to the notification topics, in order: the next when the one before is there.
func (t *turn) publish() {
	if len(t.s.Unsent) == 0 || t.s.Sending {
		return
	}
	events := slices.Clone(t.s.Unsent)
	t.fact(Fact{Sending: len(events)})
	c := Command{Verb: "publish", Topics: t.s.topics(), Events: events, StackID: t.s.ID, StackName: t.s.Name, By: t.s.By}
	if t.s.Op != nil {
		c.By = t.s.Op.By
	}
	t.d.Commands = append(t.d.Commands, c)
}

// advance goes on with the operation until it waits for something.
func (t *turn) advance() {
	for t.s.Op != nil {
		phase := t.s.Op.Phase
		switch phase {
		case "work":
			if t.s.Op.Kind == "create" {
				t.createWork()
			} else {
				t.updateWork()
			}
		case "failing":
			if !t.busy() {
				t.end(map[string]string{"create": "CREATE_FAILED", "update": "UPDATE_FAILED"}[t.s.Op.Kind], t.failures("create", "CREATE_FAILED")+t.failures("update", "UPDATE_FAILED"))
			}
		case "rollback":
			t.removeAll("ROLLBACK")
		case "remove":
			t.removeAll("DELETE")
		case "cleanup":
			t.cleanup("UPDATE_COMPLETE")
		case "undo":
			t.undo()
		case "undo-cleanup":
			t.cleanup("UPDATE_ROLLBACK_COMPLETE")
		}
		if t.s.Op == nil || t.s.Op.Phase == phase {
			return
		}
	}
}

func (t *turn) phase(p string) { t.fact(Fact{Phase: p}) }

// end ends the operation with the stack's last status.
func (t *turn) end(status, reason string) {
	if name := t.s.Op.ChangeSet; name != "" {
		if c := t.s.ChangeSets[name]; c != nil {
			done := *c
			done.Execution = "EXECUTE_COMPLETE"
			if strings.Contains(status, "FAILED") || strings.Contains(status, "ROLLBACK") {
				done.Execution = "EXECUTE_FAILED"
			}
			t.fact(Fact{ChangeSet: &done})
		}
	}
	t.status(status, reason)
	t.fact(Fact{Ended: true})
	t.d.ClearTimers = append(t.d.ClearTimers, "timeout")
}

func (t *turn) busy() bool {
	return slices.ContainsFunc(t.s.Order, func(k string) bool { return t.s.Resources[k].Work != nil })
}

// failures names the resources in a status: "The following resource(s) failed to create: [A, B]. "
func (t *turn) failures(verb, status string) string {
	var names []string
	for _, k := range t.s.Order {
		if r := t.s.Resources[k]; r.Status == status && r.Operation == t.s.Op.Number {
			names = append(names, r.Logical)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("The following resource(s) failed to %s: [%s]. ", verb, strings.Join(names, ", "))
}

func (t *turn) ready(needs []string) bool {
	for _, n := range needs {
		r := t.s.Resources[n]
		if r == nil || r.Work != nil || r.Operation != t.s.Op.Number || strings.HasSuffix(r.Status, "_FAILED") || strings.HasPrefix(r.Status, "DELETE") {
			return false
		}
	}
	return true
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("a template's value cannot be written: %v", err))
	}
	return b
}

// evaluate gives a resource's properties, or why there are none.
func evaluate(tpl *template.Template, c *template.Context, a template.Active) (json.RawMessage, string) {
	v, err := tpl.Resolve(a.Properties, c)
	if err != nil {
		return nil, err.Error()
	}
	return encode(v), ""
}

func (t *turn) resource(a template.Active) Resource {
	return Resource{Key: a.Name, Logical: a.Name, Type: a.Type, Needs: a.Needs, DeletionPolicy: a.DeletionPolicy,
		UpdateReplacePolicy: a.UpdateReplacePolicy, Operation: t.s.Op.Number, Made: true}
}

// give puts a resource to work.
func (t *turn) give(r Resource, verb, reason string, old json.RawMessage, undo bool) {
	r.Work = &Work{Verb: verb, Seq: t.next(), Out: true, Undo: undo}
	props := r.Props
	if undo {
		props = r.Was.Props
	}
	t.say(r, t.verb(&r, verb)+"_IN_PROGRESS", reason)
	t.command(Command{Verb: verb, Seq: r.Work.Seq, Key: r.Key, Logical: r.Logical, Type: r.Type, Physical: r.Physical, Props: props, Old: old, Attrs: r.Attrs})
}

func (t *turn) createWork() {
	s := t.s
	tpl, c, err := s.context(&s.Def, nil)
	var active []template.Active
	if err == nil {
		active, err = tpl.Active(c)
	}
	if err != nil {
		t.failCreate(err.Error())
		return
	}
	complete := 0
	for _, a := range active {
		r := s.Resources[a.Name]
		switch {
		case r != nil && r.Work == nil && r.Status == "CREATE_FAILED":
			t.failCreate("")
			return
		case r != nil && r.Work == nil:
			complete++
		case r == nil && t.ready(a.Needs):
			made := t.resource(a)
			props, reason := evaluate(tpl, c, a)
			if reason != "" {
				t.say(made, "CREATE_FAILED", reason)
				t.failCreate("")
				return
			}
			made.Props = props
			t.give(made, "create", "", nil, false)
		}
	}
	if complete < len(active) {
		return
	}
	outputs, err := tpl.ResolveOutputs(c)
	if err != nil {
		t.failCreate(err.Error())
		return
	}
	t.fact(Fact{Outputs: &outputs})
	t.end("CREATE_COMPLETE", "")
}

func (t *turn) failCreate(why string) {
	t.cancel()
	if why == "" {
		why = strings.TrimSuffix(t.failures("create", "CREATE_FAILED"), " ")
	}
	t.d.ClearTimers = append(t.d.ClearTimers, "timeout")
	switch t.s.Op.OnFailure {
	case "DO_NOTHING":
		t.phase("failing")
	case "DELETE":
		t.status("DELETE_IN_PROGRESS", why+" Delete requested by user.")
		t.phase("remove")
	default:
		t.status("ROLLBACK_IN_PROGRESS", why+" Rollback requested by user.")
		t.phase("rollback")
	}
}

// removeAll deletes the stack's resources in reverse order and then ends the operation.
func (t *turn) removeAll(verb string) {
	if !t.remove(func(*Resource) bool { return true }) {
		return
	}
	if why := t.failures("delete", DeleteFailed); why != "" {
		t.end(verb+"_FAILED", why)
		return
	}
	t.fact(Fact{Outputs: &[]Output{}})
	t.end(verb+"_COMPLETE", "")
}

func removed(r *Resource) bool { return r.Status == DeleteComplete || r.Status == "DELETE_SKIPPED" }

// remove deletes what should go, each after all that needs it, and says whether that is over: everything is gone, or
// what is left cannot go.
func (t *turn) remove(should func(*Resource) bool) (over bool) {
	s, n := t.s, t.s.Op.Number
	for changed := true; changed; {
		changed = false
		needed := map[string]bool{}
		for _, k := range s.Order {
			if r := s.Resources[k]; !removed(r) {
				for _, need := range r.Needs {
					needed[need] = true
					for _, other := range s.Order { // what was replaced needed what was replaced
						if o := s.Resources[other]; r.Leftover && o.Leftover && o.Logical == need {
							needed[other] = true
						}
					}
				}
			}
		}
		for _, k := range slices.Backward(slices.Clone(s.Order)) {
			r := *s.Resources[k]
			failedNow := r.Status == DeleteFailed && r.Operation == n
			if !should(&r) || removed(&r) || r.Work != nil || failedNow || needed[k] {
				continue
			}
			create := s.Op.Kind == "create"
			r.Operation = n
			policy := r.DeletionPolicy
			switch {
			case s.Op.Phase == "cleanup" && r.Key != r.Logical:
				policy = r.UpdateReplacePolicy
			case s.Op.Phase == "undo-cleanup":
				policy = "Delete"
			}
			switch {
			case slices.Contains(s.Op.Retain, r.Logical), policy == "Retain", policy == "RetainExceptOnCreate" && !create:
				t.say(r, "DELETE_SKIPPED", "")
				changed = true
			case r.Physical == "":
				t.say(r, DeleteComplete, "")
				changed = true
			default:
				t.give(r, "delete", "", nil, false)
			}
		}
	}
	return !t.busy()
}

// compare says what def would change: resources, and whether anything else.
func (t *turn) compare(def *Definition) (changes []Change, other bool, err error) {
	s := t.s
	touched := map[string]bool{} // whose physical id or attributes may change
	tpl, c, err := s.context(def, func(name string) error {
		if touched[name] || s.Resources[name] == nil || removed(s.Resources[name]) {
			return errUnknown
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	active, err := tpl.Active(c)
	if err != nil {
		return nil, false, err
	}
	stays := map[string]bool{}
	byName := map[string]template.Active{}
	for _, a := range active {
		stays[a.Name], byName[a.Name] = true, a
	}
	done := map[string]bool{}
	var visit func(a template.Active) error
	visit = func(a template.Active) error {
		if done[a.Name] {
			return nil
		}
		done[a.Name] = true
		for _, n := range a.Needs {
			if err := visit(byName[n]); err != nil {
				return err
			}
		}
		r := s.Resources[a.Name]
		if r == nil || removed(r) {
			touched[a.Name] = true
			changes = append(changes, Change{Action: "Add", Logical: a.Name, Type: a.Type})
			return nil
		}
		if r.Type != a.Type {
			return template.Error(fmt.Sprintf("Update of resource type is not permitted. The new template modifies resource type of the following resources: [%s]", a.Name))
		}
		changed, replaces, certain, err := t.changed(tpl, c, a, r)
		if err != nil {
			return err
		}
		if len(changed) == 0 {
			other = other || r.DeletionPolicy != a.DeletionPolicy || r.UpdateReplacePolicy != a.UpdateReplacePolicy
			return nil
		}
		replacement := "False"
		if replaces {
			touched[a.Name] = true
			if replacement = "Conditional"; certain {
				replacement = "True"
			}
		}
		changes = append(changes, Change{Action: "Modify", Logical: a.Name, Physical: r.Physical, Type: a.Type, Replacement: replacement, Properties: changed, Scope: []string{"Properties"}})
		return nil
	}
	for _, a := range active {
		if err := visit(a); err != nil {
			return nil, false, err
		}
	}
	for _, r := range s.Current() {
		if !stays[r.Logical] && !removed(r) {
			changes = append(changes, Change{Action: "Remove", Logical: r.Logical, Physical: r.Physical, Type: r.Type})
		}
	}
	if len(changes) == 0 {
		outputs, err := tpl.ResolveOutputs(c)
		if err != nil {
			return nil, false, err
		}
		other = other || !slices.Equal(outputs, s.Outputs) || s.Status == "UPDATE_FAILED"
	}
	other = other || !slices.Equal(def.Tags, s.Def.Tags) || !slices.Equal(def.NotificationARNs, s.Def.NotificationARNs)
	return changes, other, nil
}

var errUnknown = errors.New("not known before the update")

// changed lists the properties of a resource that differ from the template's, and says whether that replaces it; certain is false where a new value
// hangs on a resource that changes too.
func (t *turn) changed(tpl *template.Template, c *template.Context, a template.Active, r *Resource) (names []string, replaces, certain bool, err error) {
	old, after := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if err := json.Unmarshal(r.Props, &old); err != nil {
		return nil, false, false, fmt.Errorf("properties of %s: %w", r.Logical, err)
	}
	certain = true
	all := maps.Clone(a.Properties)
	for name := range old {
		if _, ok := all[name]; !ok {
			all[name] = map[string]any{"Ref": "AWS::NoValue"}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		v, err := tpl.Resolve(all[name], c)
		switch {
		case errors.Is(err, errUnknown):
			names, certain = append(names, name), false
		case err != nil:
			return nil, false, false, err
		case v == nil:
			if _, had := old[name]; had {
				names = append(names, name)
			}
		default:
			if after[name] = encode(v); string(after[name]) != string(old[name]) {
				names = append(names, name)
			}
		}
	}
	return names, len(names) > 0 && t.Types.Replaces(a.Type, names, old, after), certain, nil
}

func (t *turn) updateWork() {
	s, n := t.s, t.s.Op.Number
	def := s.Op.Next
	tpl, c, err := s.context(def, nil)
	var active []template.Active
	if err == nil {
		active, err = tpl.Active(c)
	}
	if err != nil {
		t.failUpdate(err.Error())
		return
	}
	settled, stays := 0, map[string]bool{}
	for more := true; more; {
		more, settled = false, 0
		for _, a := range active {
			stays[a.Name] = true
			r := s.Resources[a.Name]
			looked := r != nil && r.Operation == n
			switch {
			case looked && r.Work == nil && strings.HasSuffix(r.Status, "_FAILED"):
				t.failUpdate("")
				return
			case looked && r.Work == nil:
				settled++
			case looked || !t.ready(a.Needs):
			default:
				if !t.settle(tpl, c, a, r) {
					t.failUpdate("")
					return
				}
				more = more || s.Resources[a.Name].Work == nil
			}
		}
	}
	if settled < len(active) {
		return
	}
	outputs, err := tpl.ResolveOutputs(c)
	if err != nil {
		t.failUpdate(err.Error())
		return
	}
	t.fact(Fact{Outputs: &outputs})
	t.status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "")
	for _, r := range s.Current() {
		if !stays[r.Logical] {
			left := *r
			left.Leftover = true
			t.put(left)
		}
	}
	t.fact(Fact{Defined: def})
	t.phase("cleanup")
}

// settle begins what an update does to one resource; false: it failed at once.
func (t *turn) settle(tpl *template.Template, c *template.Context, a template.Active, r *Resource) bool {
	made := t.resource(a)
	props, reason := evaluate(tpl, c, a)
	if r == nil || removed(r) {
		if reason != "" {
			t.say(made, "CREATE_FAILED", reason)
			return false
		}
		made.Props = props
		t.give(made, "create", "", nil, false)
		return true
	}
	next := *r
	next.Operation, next.Made, next.Replaces, next.Was = t.s.Op.Number, false, "", nil
	if reason != "" {
		t.say(next, "UPDATE_FAILED", reason)
		return false
	}
	changed, replaces, _, err := t.changed(tpl, c, a, r)
	if err != nil {
		t.say(next, "UPDATE_FAILED", err.Error())
		return false
	}
	former := &Former{r.Props, r.Attrs, r.Needs, r.DeletionPolicy, r.UpdateReplacePolicy}
	next.Needs, next.DeletionPolicy, next.UpdateReplacePolicy = a.Needs, a.DeletionPolicy, a.UpdateReplacePolicy
	switch {
	case len(changed) == 0:
		next.Was = former
		if next.Status == "UPDATE_FAILED" || next.Status == "CREATE_FAILED" {
			next.Status, next.Reason = "UPDATE_COMPLETE", ""
		}
		t.put(next)
	case replaces && r.Physical != "" && t.named(a.Type, props) && !slices.Contains(changed, t.Types.NameOf(a.Type)):
		t.say(next, "UPDATE_FAILED", fmt.Sprintf("CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename %s and update the stack again.", r.Physical))
		return false
	case replaces || next.Status == "CREATE_FAILED":
		old := *r
		old.Key, old.Leftover = fmt.Sprintf("%s#%d", r.Key, t.s.Op.Number), true
		// What needed the old one still does, until it is updated itself.
		t.put(old)
		made.Props, made.Replaces, made.Made = props, old.Key, true
		t.give(made, "create", "Requested update requires the creation of a new physical resource; hence creating one.", nil, false)
	default:
		next.Was, next.Props = former, props
		t.give(next, "update", "", former.Props, false)
	}
	return true
}

// named says whether the properties give the resource its name.
func (t *turn) named(typ string, props json.RawMessage) bool {
	given := map[string]json.RawMessage{}
	name := t.Types.NameOf(typ)
	return name != "" && json.Unmarshal(props, &given) == nil && given[name] != nil
}

func (t *turn) failUpdate(why string) {
	t.cancel()
	if why == "" {
		why = strings.TrimSuffix(t.failures("create", "CREATE_FAILED")+t.failures("update", "UPDATE_FAILED"), " ")
	}
	if t.s.Op.OnFailure == "DO_NOTHING" {
		t.phase("failing")
		return
	}
	t.status("UPDATE_ROLLBACK_IN_PROGRESS", why)
	t.phase("undo")
}

// undo restores what the update has changed; what it has made goes in the clean-up.
func (t *turn) undo() {
	s, n := t.s, t.s.Op.Number
	if slices.ContainsFunc(s.Order, func(k string) bool { w := s.Resources[k].Work; return w != nil && !w.Undo }) {
		return // first everything that was begun comes to its end
	}
	for _, k := range slices.Clone(s.Order) {
		found := s.Resources[k]
		if found == nil || found.Operation != n || found.Leftover || found.Work != nil {
			continue
		}
		r := *found
		switch {
		case r.Replaces != "":
			old := *s.Resources[r.Replaces]
			fresh := r
			fresh.Key, fresh.Leftover, fresh.Replaces = k+"#new", true, ""
			t.fact(Fact{Gone: old.Key})
			t.fact(Fact{Gone: k})
			t.put(fresh)
			old.Key, old.Leftover, old.Operation = k, false, n
			old.Made = false
			t.say(old, "UPDATE_COMPLETE", "")
		case r.Made:
			fresh := r
			fresh.Key, fresh.Leftover = k+"#new", true
			t.fact(Fact{Gone: k})
			t.put(fresh)
		case r.Was != nil && string(r.Was.Props) == string(r.Props):
			t.restored(&r)
			t.put(r)
		case r.Undone:
			// It has failed, and said so.
		case r.Was != nil:
			r.Undone = true
			t.give(r, "update", "", r.Props, true)
		}
	}
	if t.busy() {
		return
	}
	if slices.ContainsFunc(s.Order, func(k string) bool { return s.Resources[k].Undone }) {
		t.end("UPDATE_ROLLBACK_FAILED", t.failures("update", "UPDATE_FAILED"))
		return
	}
	t.status("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "")
	t.phase("undo-cleanup")
}

// goOn takes up the roll-back of an update where it failed: what could not be restored is tried again, or skipped.
func (t *turn) goOn(c *Continue) {
	s, failed := t.s, t.s.Operations
	if s.Status != "UPDATE_ROLLBACK_FAILED" {
		t.refuse("ValidationError", "Stack:%s is in %s state and can not continue update rollback.", s.ID, s.Status)
		return
	}
	for _, name := range c.Skip {
		if r := s.Resources[name]; r == nil || r.Status != "UPDATE_FAILED" || !r.Undone {
			t.refuse("ValidationError", "Invalid operation on stack [%s]. The specified resources to skip must be in a valid UPDATE_FAILED state: [%s]", s.ID, name)
			return
		}
	}
	role := c.RoleARN
	if role == "" {
		role = s.Def.RoleARN
	}
	t.begin(Operation{Kind: "update", Phase: "undo", Token: c.Token, By: t.actor(s.ID, role)})
	t.status("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
	for _, k := range slices.Clone(s.Order) {
		r := *s.Resources[k]
		if r.Operation != failed {
			continue
		}
		r.Operation, r.Undone = s.Op.Number, false
		if slices.Contains(c.Skip, r.Logical) && !r.Leftover {
			t.restored(&r)
			t.say(r, "UPDATE_COMPLETE", "")
			continue
		}
		t.put(r)
	}
}

// cleanup deletes what an update left over.
func (t *turn) cleanup(final string) {
	if !t.remove(func(r *Resource) bool { return r.Leftover }) {
		return
	}
	why := t.failures("delete", DeleteFailed)
	for _, k := range slices.Clone(t.s.Order) {
		r := *t.s.Resources[k]
		switch {
		case r.Leftover:
			t.fact(Fact{Gone: k})
		case r.Replaces != "" || r.Was != nil || r.Made:
			r.Replaces, r.Was, r.Made = "", nil, false
			t.put(r)
		}
	}
	t.end(final, why)
}
