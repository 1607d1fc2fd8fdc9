package awsproto

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// The forms of timestamps on the wire.
const (
	iso8601 = "iso8601"
	rfc822  = "rfc822"
	unix    = "unixTimestamp"
)

const isoForm = "2006-01-02T15:04:05.000Z"

func timeFormat(s *awsapi.Shape, otherwise string) string {
	if s.TimestampFormat != "" {
		return s.TimestampFormat
	}
	return otherwise
}

func formatTime(t time.Time, form string) string {
	switch form {
	case rfc822:
		return t.UTC().Format(http.TimeFormat)
	case unix:
		return formatEpoch(t)
	}
	return t.UTC().Format(isoForm)
}

// formatEpoch writes seconds with milliseconds, without trailing zeros.
func formatEpoch(t time.Time) string {
	ms := t.UnixMilli()
	s := strconv.FormatInt(ms/1000, 10)
	if r := ms % 1000; r != 0 {
		if ms < 0 {
			return strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64)
		}
		s += strings.TrimRight(fmt.Sprintf(".%03d", r), "0")
	}
	return s
}

// parseTime reads any of the three forms; form is what is expected.
func parseTime(s, form string) (time.Time, error) {
	s = strings.TrimSpace(s)
	if form != unix {
		for _, f := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05Z0700", "20060102T150405Z", "2006-01-02"} {
			if t, err := time.Parse(f, s); err == nil {
				return t.UTC(), nil
			}
		}
		if t, err := http.ParseTime(s); err == nil {
			return t.UTC(), nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a timestamp", s)
	}
	return epoch(f)
}

func epoch(f float64) (time.Time, error) {
	if math.IsNaN(f) || math.Abs(f) > 253402300799 { // the year 9999
		return time.Time{}, fmt.Errorf("%v is not a timestamp", f)
	}
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
}

// parseScalar reads a scalar as headers, query strings, forms and XML have it.
func parseScalar(s *awsapi.Shape, text, form string) (any, error) {
	switch s.Type {
	case "string", "character":
		return text, nil
	case "boolean":
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
		return nil, fmt.Errorf("%q is not a boolean", text)
	case "integer", "long":
		bits := 64
		if s.Type == "integer" {
			bits = 32
		}
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, bits)
		if err != nil {
			return nil, fmt.Errorf("%q is not an integer", text)
		}
		return n, nil
	case "float", "double":
		f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return f, nil
	case "timestamp":
		return parseTime(text, timeFormat(s, form))
	case "blob":
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("not base64: %w", err)
		}
		return b, nil
	}
	return nil, fmt.Errorf("a %s cannot be read from text", s.Type)
}

// formatScalar is the reverse of parseScalar. ok is false for values that do not fit the shape.
func formatScalar(s *awsapi.Shape, v any, form string) (text string, ok bool) {
	switch x := v.(type) {
	case string:
		return x, true
	case bool:
		return strconv.FormatBool(x), true
	case int64:
		return strconv.FormatInt(x, 10), true
	case int:
		return strconv.Itoa(x), true
	case float64:
		return formatFloat(x), true
	case time.Time:
		return formatTime(x, timeFormat(s, form)), true
	case []byte:
		return base64.StdEncoding.EncodeToString(x), true
	}
	return "", false
}

func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func isScalar(s *awsapi.Shape) bool {
	return s.Type != "structure" && s.Type != "list" && s.Type != "map"
}
