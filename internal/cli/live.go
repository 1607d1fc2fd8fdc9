package cli

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/internal/launch"
)

// display shows a run while it goes on.
type display interface {
	show(launch.View)
	close()
}

// live redraws a few lines of a terminal at each view.
type live struct {
	out           io.Writer
	width, height func() int
	color         bool
	drawn         int // lines that stand on the screen
}

func (l *live) show(v launch.View) {
	lines := frame(v, l.width(), l.color)
	if most := l.height() - 1; len(lines) > most && most > 0 {
		lines = lines[len(lines)-most:]
	}
	var b bytes.Buffer
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", l.drawn)
	}
	for _, line := range lines {
		b.WriteString("\r\x1b[K" + line + "\n")
	}
	b.WriteString("\x1b[J")
	l.drawn = len(lines)
	_, _ = l.out.Write(b.Bytes())
}

func (l *live) close() {}

// frame draws a view: the states of outer and inner machine as a tree, the clusters with their steps and the tail of
// the driver's log, and one line of progress.
func frame(v launch.View, width int, color bool) []string {
	p := painter{color: color, width: width}
	if v.Execution != "" {
		p.line("%s  %s", p.status(v.Status), short(v.Execution))
	}
	for _, s := range v.States {
		p.state(s, v.At, "  ")
	}
	for _, c := range v.Clusters {
		p.line("%s  cluster %s  %s", p.status(c.State), c.ID, p.dim(about(c)))
		for _, s := range c.Steps {
			p.line("    %s  %s  %s", p.status(s.State), s.Name, p.dim(stepTime(s, v.At)))
			if s.State == "RUNNING" || s.State == "FAILED" {
				for _, t := range s.Tail {
					p.line("        %s", p.dim(t))
				}
			}
		}
	}
	const cells = 24
	full := int(v.Fraction * cells)
	p.line("%s%s %3.0f %%  %s  %s", strings.Repeat("█", full), strings.Repeat("░", cells-full), v.Fraction*100, seconds(v.Elapsed), v.Message)
	return p.lines
}

// about is why a cluster is in its state, and on what it stands.
func about(c *launch.Cluster) string {
	return strings.Join(slices.DeleteFunc([]string{c.Reason, c.Workers}, func(s string) bool { return s == "" }), "; ")
}

type painter struct {
	color bool
	width int
	lines []string
}

func (p *painter) line(format string, args ...any) {
	p.lines = append(p.lines, clip(fmt.Sprintf(format, args...), p.width))
}

func (p *painter) state(s *launch.State, now time.Time, indent string) {
	note := ""
	if s.Tries > 1 {
		note = fmt.Sprintf("try %d", s.Tries)
	}
	if s.Error != "" {
		note = strings.TrimSpace(note + " " + s.Error)
	}
	p.line("%s%s  %s  %s", indent, p.status(s.Status), s.Name, p.dim(strings.TrimSpace(seconds(s.Duration(now))+"  "+note)))
	if s.Execution != "" && s.Status == "SUCCEEDED" {
		return // a nested execution that went well is one line
	}
	for _, c := range s.States {
		p.state(c, now, indent+"  ")
	}
}

var marks = map[string]struct{ mark, color string }{
	"SUCCEEDED": {"✓", "32"}, "COMPLETED": {"✓", "32"}, "WAITING": {"●", "32"},
	"FAILED": {"✗", "31"}, "TERMINATED_WITH_ERRORS": {"✗", "31"}, "TIMED_OUT": {"✗", "31"},
	"CAUGHT": {"!", "33"}, "ABORTED": {"–", "33"}, "CANCELLED": {"–", "33"}, "INTERRUPTED": {"–", "33"},
	"TERMINATED": {"○", "90"}, "PENDING": {"·", "90"},
}

// status is a mark for states that end, and the word itself for what goes on.
func (p *painter) status(s string) string {
	m, ok := marks[s]
	if !ok {
		m.mark, m.color = "▸", "36"
	}
	text := m.mark
	if strings.ContainsAny(s, "_") || s == "WAITING" || s == "STARTING" || s == "BOOTSTRAPPING" || s == "TERMINATING" || s == "TERMINATED" || s == "PENDING" {
		text += " " + s
	}
	return p.paint(text, m.color)
}

func (p *painter) dim(s string) string {
	if s == "" {
		return ""
	}
	return p.paint(s, "90")
}

func (p *painter) paint(s, code string) string {
	if !p.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func stepTime(s *launch.Step, now time.Time) string {
	switch {
	case s.Started.IsZero():
		return ""
	case s.Ended.IsZero():
		return seconds(now.Sub(s.Started))
	}
	return seconds(s.Ended.Sub(s.Started))
}

func seconds(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	if d >= time.Minute {
		return fmt.Sprintf("%d:%04.1f", int(d/time.Minute), (d % time.Minute).Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// short is the last part of an ARN.
func short(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }

// clip cuts s to width visible characters; colour codes take no room.
func clip(s string, width int) string {
	if width <= 0 {
		return s
	}
	var b strings.Builder
	seen, colored := 0, false
	for i := 0; i < len(s); {
		if s[i] == 0x1b {
			end := strings.IndexByte(s[i:], 'm')
			if end < 0 {
				break
			}
			b.WriteString(s[i : i+end+1])
			i, colored = i+end+1, true
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if seen++; seen > width {
			break
		}
		b.WriteRune(r)
		i += n
	}
	if seen > width && colored {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// plain writes one line for each thing that changed: for logs and pipes.
type plain struct {
	out  io.Writer
	seen map[string]string
}

func (p *plain) show(v launch.View) {
	if p.seen == nil {
		p.seen = map[string]string{}
	}
	p.say(v, "phase", v.Phase+" "+v.Message, v.Message)
	p.states(v, v.States, "")
	for _, c := range v.Clusters {
		state := c.State
		if state == "STARTING" {
			state += c.Reason // why it waits
		}
		p.say(v, c.ID, state, fmt.Sprintf("cluster %s %s %s", c.ID, c.State, about(c)))
		for _, s := range c.Steps {
			p.say(v, s.ID, s.State, fmt.Sprintf("step %s %s %s", s.Name, s.State, s.Reason))
		}
	}
}

func (p *plain) states(v launch.View, states []*launch.State, path string) {
	for i, s := range states {
		here := fmt.Sprintf("%s/%d", path, i)
		note := s.Status
		if !s.Exited.IsZero() {
			note += " after " + seconds(s.Duration(v.At))
		}
		if s.Error != "" {
			note += " (" + s.Error + ")"
		}
		p.say(v, here, s.Status+s.Error, fmt.Sprintf("state %s %s", s.Name, note))
		p.states(v, s.States, here)
	}
}

func (p *plain) say(v launch.View, key, value, line string) {
	if p.seen[key] == value || strings.TrimSpace(line) == "" {
		return
	}
	p.seen[key] = value
	fmt.Fprintf(p.out, "%8s  %s\n", seconds(v.Elapsed), strings.TrimSpace(line))
}

func (p *plain) close() {}
