package awsapi

import "fmt"

// Error is what a caller of an AWS API sees: AWS's code, HTTP status and message. The codec writes it in the form of
// the service's protocol.
type Error struct {
	Status  int    // HTTP status; 400 when zero
	Code    string // as the model spells it, e.g. "ExecutionDoesNotExist"
	Message string
	// Fields are further members of a modelled error, by member name (e.g. "resourceName").
	Fields map[string]any
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf makes an API error.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}
