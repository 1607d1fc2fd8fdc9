package logs

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/logsapi"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/clock"
	"github.com/mayfly-run/mayfly/internal/identity"
	"github.com/mayfly-run/mayfly/store/memory"
)

const g, one, two = "/aws/lambda/f", "2026/01/01/[$LATEST]a", "2026/01/01/[$LATEST]b"

func open(t *testing.T) (*Service, context.Context) {
	st := memory.New()
	t.Cleanup(func() { st.Close() })
	ctx := identity.With(t.Context(), identity.Principal{Account: "000000000000", Region: "us-east-1"})
	s := New(Config{Store: st, Clock: clock.System{}})
	if _, err := s.CreateLogGroup(ctx, &logsapi.CreateLogGroupInput{LogGroupName: g}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{one, two} {
		if _, err := s.CreateLogStream(ctx, &logsapi.CreateLogStreamInput{LogGroupName: g, LogStreamName: name}); err != nil {
			t.Fatal(err)
		}
	}
	return s, ctx
}

func write(t *testing.T, s *Service, ctx context.Context, stream string, at int64, messages ...string) {
	t.Helper()
	in := &logsapi.PutLogEventsInput{LogGroupName: g, LogStreamName: stream}
	for i, m := range messages {
		in.LogEvents = append(in.LogEvents, logsapi.InputLogEvent{Timestamp: at + int64(i), Message: m})
	}
	if _, err := s.PutLogEvents(ctx, in); err != nil {
		t.Fatal(err)
	}
}

func TestReadingForwardsAndBackwards(t *testing.T) {
	s, ctx := open(t)
	write(t, s, ctx, one, 100, "a", "b", "c")
	write(t, s, ctx, one, 101, "d") // as old as b, but later
	read := func(in logsapi.GetLogEventsInput) (string, *logsapi.GetLogEventsOutput) {
		in.LogGroupName, in.LogStreamName = awsapi.Ptr(g), one
		out, err := s.GetLogEvents(ctx, &in)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, e := range out.Events {
			text.WriteString(*e.Message)
		}
		return text.String(), out
	}
	two := awsapi.Ptr(int64(2))
	text, out := read(logsapi.GetLogEventsInput{StartFromHead: awsapi.Ptr(true), Limit: two})
	if text != "ab" {
		t.Errorf("the first page is %q", text)
	}
	text, out = read(logsapi.GetLogEventsInput{NextToken: out.NextForwardToken, Limit: two})
	if text != "dc" {
		t.Errorf("the second page is %q", text)
	}
	end := *out.NextForwardToken
	if text, out = read(logsapi.GetLogEventsInput{NextToken: &end}); text != "" || *out.NextForwardToken != end {
		t.Errorf("at the end: %q and the token %s instead of %s", text, *out.NextForwardToken, end)
	}
	write(t, s, ctx, one, 200, "e")
	if text, _ = read(logsapi.GetLogEventsInput{NextToken: &end}); text != "e" {
		t.Errorf("a follower got %q", text)
	}
	if text, out = read(logsapi.GetLogEventsInput{Limit: two}); text != "ce" {
		t.Errorf("the newest are %q", text)
	}
	if text, _ = read(logsapi.GetLogEventsInput{NextToken: out.NextBackwardToken, Limit: two}); text != "bd" {
		t.Errorf("the page before is %q", text)
	}
	if text, _ = read(logsapi.GetLogEventsInput{StartTime: awsapi.Ptr(int64(101)), EndTime: awsapi.Ptr(int64(200))}); text != "bdc" {
		t.Errorf("between 101 and 200 stand %q", text)
	}
}

func TestSearching(t *testing.T) {
	s, ctx := open(t)
	write(t, s, ctx, one, 10, "INFO start", "ERROR disk full", "ERROR net down")
	write(t, s, ctx, two, 11, "ERROR disk slow", "WARN disk full soon")
	for pattern, want := range map[string]string{
		"":                    "INFO start|ERROR disk full|ERROR disk slow|ERROR net down|WARN disk full soon",
		"ERROR":               "ERROR disk full|ERROR disk slow|ERROR net down",
		"ERROR disk":          "ERROR disk full|ERROR disk slow",
		`"disk full"`:         "ERROR disk full|WARN disk full soon",
		"?INFO ?WARN":         "INFO start|WARN disk full soon",
		"ERROR -net":          "ERROR disk full|ERROR disk slow",
		`-ERROR -"disk full"`: "INFO start",
	} {
		var got []string
		var token *string
		for {
			out, err := s.FilterLogEvents(ctx, &logsapi.FilterLogEventsInput{LogGroupName: awsapi.Ptr(g), FilterPattern: &pattern, Limit: awsapi.Ptr(int64(2)), NextToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range out.Events {
				got = append(got, *e.Message)
			}
			if token = out.NextToken; token == nil {
				break
			}
		}
		if text := strings.Join(got, "|"); text != want {
			t.Errorf("%q finds %s, want %s", pattern, text, want)
		}
	}
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := open(t)
		if _, err := s.PutRetentionPolicy(ctx, &logsapi.PutRetentionPolicyInput{LogGroupName: g, RetentionInDays: 1}); err != nil {
			t.Fatal(err)
		}
		write(t, s, ctx, one, time.Now().UnixMilli(), "old")
		time.Sleep(25 * time.Hour)
		write(t, s, ctx, one, time.Now().UnixMilli(), "new")
		rows, err := s.rows(ctx, "chunk", "")
		if err != nil || len(rows) != 1 {
			t.Errorf("%d chunks are kept, want the new one: %v", len(rows), err)
		}
	})
}

func TestListings(t *testing.T) {
	s, ctx := open(t)
	write(t, s, ctx, two, 10, "x")
	write(t, s, ctx, one, 20, "y")
	out, err := s.DescribeLogStreams(ctx, &logsapi.DescribeLogStreamsInput{LogGroupName: awsapi.Ptr(g), OrderBy: awsapi.Ptr("LastEventTime"), Descending: awsapi.Ptr(true), Limit: awsapi.Ptr(int64(1))})
	if err != nil || len(out.LogStreams) != 1 || *out.LogStreams[0].LogStreamName != one || *out.LogStreams[0].LastEventTimestamp != 20 || out.NextToken == nil {
		t.Fatalf("%+v %v", out, err)
	}
	out, err = s.DescribeLogStreams(ctx, &logsapi.DescribeLogStreamsInput{LogGroupIdentifier: awsapi.Ptr(groupARN(ctx, g) + ":*"), OrderBy: awsapi.Ptr("LastEventTime"), Descending: awsapi.Ptr(true), NextToken: out.NextToken})
	if err != nil || len(out.LogStreams) != 1 || *out.LogStreams[0].LogStreamName != two || out.NextToken != nil {
		t.Fatalf("%+v %v", out, err)
	}
	if _, err := s.DeleteLogGroup(ctx, &logsapi.DeleteLogGroupInput{LogGroupName: g}); err != nil {
		t.Fatal(err)
	}
	if rows, err := s.rows(ctx, "chunk", ""); err != nil || len(rows) != 0 {
		t.Errorf("%d chunks are left of a deleted group: %v", len(rows), err)
	}
}

func TestRefusals(t *testing.T) {
	s, ctx := open(t)
	for name, c := range map[string]struct {
		code string
		call func() error
	}{
		"a group twice": {"ResourceAlreadyExistsException", func() error {
			_, err := s.CreateLogGroup(ctx, &logsapi.CreateLogGroupInput{LogGroupName: g})
			return err
		}},
		"no such stream": {"ResourceNotFoundException", func() error {
			_, err := s.GetLogEvents(ctx, &logsapi.GetLogEventsInput{LogGroupName: awsapi.Ptr(g), LogStreamName: "nope"})
			return err
		}},
		"events out of order": {"InvalidParameterException", func() error {
			_, err := s.PutLogEvents(ctx, &logsapi.PutLogEventsInput{LogGroupName: g, LogStreamName: one, LogEvents: []logsapi.InputLogEvent{{Timestamp: 2, Message: "b"}, {Timestamp: 1, Message: "a"}}})
			return err
		}},
		"too much at once": {"InvalidParameterException", func() error {
			_, err := s.PutLogEvents(ctx, &logsapi.PutLogEventsInput{LogGroupName: g, LogStreamName: one, LogEvents: []logsapi.InputLogEvent{{Timestamp: 1, Message: strings.Repeat("x", batchBytes)}}})
			return err
		}},
		"a JSON pattern": {"InvalidParameterException", func() error {
			_, err := s.FilterLogEvents(ctx, &logsapi.FilterLogEventsInput{LogGroupName: awsapi.Ptr(g), FilterPattern: awsapi.Ptr("{ $.a = 1 }")})
			return err
		}},
		"a retention of two days": {"InvalidParameterException", func() error {
			_, err := s.PutRetentionPolicy(ctx, &logsapi.PutRetentionPolicyInput{LogGroupName: g, RetentionInDays: 2})
			return err
		}},
		"somebody else's token": {"InvalidParameterException", func() error {
			_, err := s.GetLogEvents(ctx, &logsapi.GetLogEventsInput{LogGroupName: awsapi.Ptr(g), LogStreamName: one, NextToken: awsapi.Ptr("x")})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.call(); awscall.Code(err) != c.code {
				t.Errorf("error %v, want %s", err, c.code)
			}
		})
	}
}
