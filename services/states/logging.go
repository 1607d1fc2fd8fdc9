package states

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/history"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
	"github.com/mayfly-run/mayfly/store"
)

// loggedMachine are rows of no account: the log destinations of the machines that have one, by ARN.
const loggedMachine = "loggedMachine"

// destination is where a machine's executions are logged.
type destination struct {
	Group   string `json:"group"`
	Level   string `json:"level"` // ALL, ERROR, FATAL
	Data    bool   `json:"data,omitempty"`
	Account string `json:"account"`
	Region  string `json:"region"`
}

// executionLogs sends what executions do to log groups. It is best effort, as on AWS: what waits here when the server
// dies is lost, and the histories stay complete.
type executionLogs struct {
	mu       sync.Mutex
	machines map[string]destination
	queue    []logLine
	dropped  int
	busy     bool
	idle     sync.WaitGroup
}

type logLine struct {
	to     destination
	stream string
	at     time.Time
	text   string
}

// maxLogQueue bounds what waits for a slow log group; what comes beyond it is dropped and counted in the server's log.
const maxLogQueue = 100_000

// destinationOf is the machine's destination; ok is false when it has none.
func destinationOf(m *machine, r resource) (destination, bool) {
	if m.Logging == nil || awsapi.Val(m.Logging.Level) == "OFF" || len(m.Logging.Destinations) != 1 {
		return destination{}, false
	}
	_, group, _ := strings.Cut(strings.TrimSuffix(awsapi.Val(m.Logging.Destinations[0].CloudWatchLogsLogGroup.LogGroupArn), ":*"), ":log-group:")
	return destination{group, *m.Logging.Level, awsapi.Val(m.Logging.IncludeExecutionData), r.account, r.region}, true
}

func loggedKey(arn string) store.Key {
	return store.Key{Service: service, Kind: loggedMachine, ID: arn}
}

// logRow is the change of row that goes with a machine's or a version's.
func logRow(arn string, m *machine, r resource) store.RowChange {
	c := store.RowChange{Key: loggedKey(arn), Delete: true}
	if d, ok := destinationOf(m, r); ok {
		c.Delete = false
		c.Value, _ = json.Marshal(d) // strings always encode
	}
	return c
}

// setLogging makes Observe know of a machine's or a version's destination.
func (s *Service) setLogging(arn string, m *machine, r resource) {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	if d, ok := destinationOf(m, r); ok {
		s.logs.machines[arn] = d
	} else {
		delete(s.logs.machines, arn)
	}
}

func (s *Service) loadLogging(ctx context.Context) error {
	found, err := s.cfg.Store.List(ctx, store.Query{Service: service, Kind: loggedMachine})
	if err != nil {
		return fmt.Errorf("list machines with logs: %w", err)
	}
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	for _, f := range found {
		var d destination
		if err := json.Unmarshal(f.Value, &d); err != nil {
			return fmt.Errorf("read log destination of %s: %w", f.Key.ID, err)
		}
		s.logs.machines[f.Key.ID] = d
	}
	return nil
}

// Observe takes the committed facts of executions and logs those events that their machines want logged. It is
// engine.Config.Observe, and does not block.
func (s *Service) Observe(x *execution.Snapshot, facts []execution.Fact) {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	to, ok := s.logs.machines[cmp.Or(x.Identity.VersionARN, x.Identity.Machine())]
	if !ok {
		return
	}
	stream := fmt.Sprintf("states/%s/%s/%s", x.Identity.MachineName, x.Started.Format("2006-01-02-15-04"), x.Identity.Name)
	redrives := x.RedriveCount
	for _, f := range facts {
		if f.Event == nil || !logged(f.Event.Type, to.Level) {
			continue
		}
		if len(s.logs.queue) >= maxLogQueue {
			s.logs.dropped++
			continue
		}
		s.logs.queue = append(s.logs.queue, logLine{to, stream, f.Event.At, logText(f.Event, x.Identity.ARN, redrives, to.Data)})
	}
	if len(s.logs.queue) > 0 && !s.logs.busy && s.cfg.Calls != nil {
		s.logs.busy = true
		s.logs.idle.Add(1)
		go s.deliver()
	}
}

// Stop waits until what is to be logged has been. Call it after the engine has stopped, while the services still answer.
func (s *Service) Stop() { s.logs.idle.Wait() }

// logged reports whether a level asks for a type of event. AWS: Developer Guide, "Log levels for Step Functions".
func logged(t history.Type, level string) bool {
	name := string(t)
	switch level {
	case "ALL":
		return true
	case "FATAL":
		return name == "ExecutionAborted" || name == "ExecutionFailed" || name == "ExecutionTimedOut"
	}
	return strings.HasSuffix(name, "Failed") || strings.HasSuffix(name, "TimedOut") || strings.HasSuffix(name, "Aborted") || name == "FailStateEntered"
}

// logText is an event as Step Functions logs it.
func logText(e *history.Event, arn string, redrives int64, withData bool) string {
	tree := e.Tree(withData, jsonvalue.Value.String)
	line := map[string]any{"id": strconv.FormatInt(e.ID, 10), "previous_event_id": strconv.FormatInt(e.Previous, 10), "type": string(e.Type),
		"event_timestamp": strconv.FormatInt(e.At.UnixMilli(), 10), "execution_arn": arn, "redrive_count": strconv.FormatInt(redrives, 10), "details": map[string]any{}}
	for name, v := range tree {
		if strings.HasSuffix(name, "Details") {
			line["details"] = v
		}
	}
	b, err := json.Marshal(line)
	if err != nil {
		return fmt.Sprintf(`{"id":"%d","type":"%s","execution_arn":"%s"}`, e.ID, e.Type, arn)
	}
	return string(b)
}

// deliver sends what waits, in order, and ends when nothing does.
func (s *Service) deliver() {
	defer s.logs.idle.Done()
	for {
		s.logs.mu.Lock()
		if len(s.logs.queue) == 0 {
			s.logs.busy = false
			s.logs.mu.Unlock()
			return
		}
		lines, dropped := s.logs.queue, s.logs.dropped
		s.logs.queue, s.logs.dropped = nil, 0
		s.logs.mu.Unlock()
		if dropped > 0 {
			s.cfg.Log.Warn("execution log lines dropped", "count", dropped)
		}
		for len(lines) > 0 {
			n := 1
			for n < len(lines) && n < 500 && lines[n].to == lines[0].to && lines[n].stream == lines[0].stream {
				n++
			}
			if err := s.put(lines[:n]); err != nil {
				s.cfg.Log.Warn("execution log failed", "group", lines[0].to.Group, "err", err)
			}
			lines = lines[n:]
		}
	}
}

// put sends lines of one stream.
func (s *Service) put(lines []logLine) error {
	to := lines[0].to
	ctx := context.Background()
	call := awscall.Call{Service: "logs", Principal: identity.Principal{Kind: identity.Service, Account: to.Account, Region: to.Region,
		ARN: "arn:aws:sts::" + to.Account + ":assumed-role/AWSServiceRoleForStepFunctions/mayfly"}}
	call.Operation, call.Input = "CreateLogStream", map[string]any{"logGroupName": to.Group, "logStreamName": lines[0].stream}
	if _, err := s.cfg.Calls.Invoke(ctx, call); err != nil && awscall.Code(err) != "ResourceAlreadyExistsException" {
		return err
	}
	events := make([]any, len(lines))
	for i, l := range lines {
		events[i] = map[string]any{"timestamp": l.at.UnixMilli(), "message": l.text}
	}
	call.Operation, call.Input = "PutLogEvents", map[string]any{"logGroupName": to.Group, "logStreamName": lines[0].stream, "logEvents": events}
	_, err := s.cfg.Calls.Invoke(ctx, call)
	return err
}
