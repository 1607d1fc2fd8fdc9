package awstask

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// CheckMock says why a task could not have this result, "" when it could; strict also looks for required fields. known
// is false when Mayfly has no model of what the task calls. AWS: the result of a .sync task is that of the API that is
// polled; fields that the API does not have are ignored (recorded: test_field_validation_mode). The sentences for numbers,
// strings, timestamps, blobs, enums and missing fields are AWS's; those for other faults are made like them.
func CheckMock(r execution.Resource, result jsonvalue.Value, strict bool) (why string, known bool) {
	if r.Kind != execution.Service || r.Pattern == execution.Callback {
		return "", true // whatever the function or the one with the token says
	}
	switch r.Service + ":" + r.API {
	case "http:invoke", "apigateway:invoke", "eks:call", "eks:runJob", // AWS checks nothing there
		"elasticmapreduce:modifyInstanceGroupByName", "elasticmapreduce:modifyInstanceFleetByName": // they answer nothing
		return "", true
	}
	var op *awsapi.Operation
	if name, ok := strings.CutPrefix(r.Service, "aws-sdk:"); ok {
		m, found := modelled[name]
		if !found {
			return "", false
		}
		op = operation(m, r.API)
	} else if r.Service == "bedrock" && r.API == "invokeModel" { // an API of another service than its jobs
		op = operation(modelled["bedrockruntime"], r.API)
	} else {
		a, found := actions[r.Service+":"+r.API]
		if !found {
			return "", false
		}
		call := a.calls[0]
		if r.Pattern != execution.RequestResponse && len(a.calls) > 1 {
			call = a.calls[1]
		}
		op = awsapi.Load(a.service).Operations[call]
	}
	if op == nil {
		return "", false
	}
	if op.Output == nil {
		return "", true
	}
	if result.Kind() != jsonvalue.KindObject {
		return "The mocked result must be an object", true
	}
	k := mockCheck{strict: strict}
	switch { // these fields are JSON of any kind here, and text or bytes in the API
	case r.Service == "lambda":
		k.free = "Payload"
	case r.Service == "bedrock":
		k.free = "Body"
	case r.Service == "states" && r.Pattern == execution.Sync2:
		k.free = "Output"
	}
	k.structure(op.Output.To, result)
	return k.why, true
}

// mockCheck compares a value with a shape; it stops at the first fault.
type mockCheck struct {
	strict    bool
	free, why string
}

func (k *mockCheck) structure(shape *awsapi.Shape, v jsonvalue.Value) {
	if k.strict {
		for _, name := range shape.Required {
			if _, ok := v.Get(pascal(name)); !ok {
				k.why = fmt.Sprintf("Required field '%s' is missing", pascal(name))
				return
			}
		}
	}
	for _, m := range shape.Members {
		name := pascal(m.Name)
		if x, ok := v.Get(name); ok && k.why == "" && name != k.free {
			k.field(name, m.To, x)
		}
	}
}

func (k *mockCheck) field(name string, shape *awsapi.Shape, v jsonvalue.Value) {
	if k.why != "" || v.Kind() == jsonvalue.KindNull {
		return
	}
	wrong := func(what string) { k.why = fmt.Sprintf("Field '%s' %s", name, what) }
	is := func(kind jsonvalue.Kind, what string) bool {
		if v.Kind() != kind {
			wrong("must be " + what)
		}
		return v.Kind() == kind
	}
	low, high, size := bound(shape.Min), bound(shape.Max), 0
	switch shape.Type {
	case "structure":
		if shape.Document || !is(jsonvalue.KindObject, "an object") {
			return
		}
		k.structure(shape, v)
	case "map":
		if !is(jsonvalue.KindObject, "an object") {
			return
		}
		for _, x := range v.Members() {
			k.field(name, shape.Value.To, x)
		}
	case "list":
		if !is(jsonvalue.KindArray, "an array") {
			return
		}
		for x := range v.Elements() {
			k.field(name, shape.Member.To, x)
		}
		size = v.Len()
	case "boolean":
		is(jsonvalue.KindBool, "a boolean")
		return
	case "integer", "long", "short", "byte", "float", "double":
		if !is(jsonvalue.KindNumber, "a number") {
			return
		}
		switch n := v.Float(); {
		case low != nil && n < *low:
			wrong("is less than the minimum value")
		case high != nil && n > *high:
			wrong("exceeds the maximum value")
		}
		return
	case "timestamp":
		is(jsonvalue.KindString, "a string")
		return
	default: // string, character, blob
		if !is(jsonvalue.KindString, "a string") {
			return
		}
		if len(shape.Enum) > 0 && !slices.Contains(shape.Enum, v.Str()) {
			wrong("is not an expected value")
			return
		}
		size = utf8.RuneCountInString(v.Str())
		if b, err := base64.StdEncoding.DecodeString(v.Str()); err == nil && shape.Type == "blob" {
			size = len(b) // bytes that are no text are written so
		}
	}
	switch {
	case k.why != "":
	case low != nil && float64(size) < *low:
		wrong("is smaller than the minimum length")
	case high != nil && float64(size) > *high:
		wrong("exceeds the maximum length")
	}
}

func bound[N ~string](n *N) *float64 {
	if n == nil {
		return nil
	}
	f, err := strconv.ParseFloat(string(*n), 64)
	if err != nil {
		return nil
	}
	return &f
}
