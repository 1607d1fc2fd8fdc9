package lambda

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/logsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/services/lambda/sandbox"
)

const (
	tailBytes    = 4 << 10 // AWS: of X-Amz-Log-Result
	flushEvery   = time.Second
	flushEvents  = 500
	flushBytes   = 512 << 10 // AWS: at most 1 MB and 10,000 events a call
	eventFixed   = 26        // AWS: what an event counts besides its message
	waitingLimit = 20_000    // events that wait for the log service; older ones go first
)

// logStream collects what an instance writes and sends it to CloudWatch Logs.
type logStream struct {
	service     *Service
	principal   identity.Principal
	group, name string

	mu      sync.Mutex
	tail    []byte // of the current invocation
	events  []logsapi.InputLogEvent
	dropped int
	alarm   clock.Timer

	sending sync.Mutex
	made    bool
}

func (s *Service) newLogStream(f *function, id uuid.UUID) *logStream {
	return &logStream{
		service: s, principal: s.service(f), group: f.LogGroup,
		name: s.Clock.Now().UTC().Format("2006/01/02") + "/[$LATEST]" + hex.EncodeToString(id[:]),
	}
}

// line takes one line.
func (l *logStream) line(text string) {
	now := l.service.Clock.Now().UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(append(l.tail, text...), '\n')
	if len(l.tail) > 2*tailBytes {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-tailBytes:]...)
	}
	if len(l.events) >= waitingLimit {
		l.events = l.events[1:]
		l.dropped++
	}
	l.events = append(l.events, logsapi.InputLogEvent{Timestamp: now, Message: text + "\n"})
	if l.alarm == nil {
		l.alarm = l.service.Clock.AfterFunc(flushEvery, l.flush)
	}
}

// begin starts the tail of an invocation.
func (l *logStream) begin(request string) {
	l.mu.Lock()
	l.tail = l.tail[:0]
	l.mu.Unlock()
	l.line("START RequestId: " + request + " Version: $LATEST")
}

// report ends the tail of an invocation and returns it.
func (l *logStream) report(f *function, request string, r sandbox.Result) []byte {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	if r.TimedOut {
		l.line(fmt.Sprintf("%s %s Task timed out after %.2f seconds", l.service.Clock.Now().UTC().Format("2006-01-02T15:04:05.000Z"), request, float64(f.Timeout)))
	}
	l.line("END RequestId: " + request)
	text := fmt.Sprintf("REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %.0f ms\tMemory Size: %d MB", request, ms(r.Duration), math.Ceil(ms(r.Init+r.Duration)), f.Memory)
	if r.Memory > 0 {
		text += fmt.Sprintf("\tMax Memory Used: %d MB", (r.Memory+1<<20-1)>>20)
	}
	if r.Init > 0 {
		text += fmt.Sprintf("\tInit Duration: %.2f ms", ms(r.Init))
	}
	if r.TimedOut {
		text += "\tStatus: timeout"
	}
	l.line(text + "\t")
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]byte(nil), l.tail[max(0, len(l.tail)-tailBytes):]...)
}

// flush sends what has been collected, in order.
func (l *logStream) flush() {
	l.sending.Lock()
	defer l.sending.Unlock()
	l.mu.Lock()
	if l.alarm != nil {
		l.alarm.Stop()
		l.alarm = nil
	}
	events := l.events
	l.events = nil
	if l.dropped > 0 {
		events = append(events, logsapi.InputLogEvent{Timestamp: l.service.Clock.Now().UnixMilli(), Message: fmt.Sprintf("[%d lines lost: the function wrote faster than its log]\n", l.dropped)})
		l.dropped = 0
	}
	l.mu.Unlock()
	for len(events) > 0 {
		n, size := 0, 0
		for n < len(events) && n < flushEvents && (n == 0 || size+len(events[n].Message) < flushBytes) {
			size += len(events[n].Message) + eventFixed
			n++
		}
		if err := l.send(events[:n]); err != nil {
			l.service.Log.Warn("function's log not written", "group", l.group, "lines", len(events), "err", err)
			return
		}
		events = events[n:]
	}
}

func (l *logStream) send(events []logsapi.InputLogEvent) error {
	ctx := context.WithoutCancel(l.service.ctx)
	call := func(operation string, in any) error {
		_, err := l.service.Calls.Invoke(ctx, awscall.Call{
			Principal: l.principal, Service: "logs", Operation: operation, Input: awsapi.ToDocument(in),
		})
		return err
	}
	if !l.made {
		if err := call("CreateLogGroup", &logsapi.CreateLogGroupInput{LogGroupName: l.group}); err != nil && awscall.Code(err) != "ResourceAlreadyExistsException" {
			return err
		}
		if err := call("CreateLogStream", &logsapi.CreateLogStreamInput{LogGroupName: l.group, LogStreamName: l.name}); err != nil && awscall.Code(err) != "ResourceAlreadyExistsException" {
			return err
		}
		l.made = true
	}
	err := call("PutLogEvents", &logsapi.PutLogEventsInput{LogGroupName: l.group, LogStreamName: l.name, LogEvents: events})
	if awscall.Code(err) == "ResourceNotFoundException" {
		l.made = false // somebody deleted the group: the next lines make it anew
	}
	return err
}
