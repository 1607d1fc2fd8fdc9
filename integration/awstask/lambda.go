package awstask

import (
	"fmt"
	"strconv"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"

	"net/http"
)

func init() {
	actions["lambda:invoke"] = action{service: "lambda", calls: []string{"Invoke"}, start: invoke}
}

// invokeFunction is the old form, with the function as the Resource: the input is the payload, and the payload of the
// answer the result.
func invokeFunction(c *call) (integration.Result, error) {
	doc, err := c.invoke("Invoke", map[string]any{"FunctionName": c.task.Resource.ARN, "Payload": c.task.Input.Raw()}, true)
	if err != nil {
		return integration.Result{}, err
	}
	payload, f := payloadOf(doc, func(raw []byte, _ jsonvalue.Value) string { return string(raw) })
	return integration.Result{Output: payload, Failure: f}, nil
}

// invoke is lambda:invoke.
func invoke(c *call) (integration.Result, error) {
	in, err := toDocument(input(c.model("Invoke")), c.task.Input)
	if err != nil {
		return integration.Result{}, err
	}
	doc, err := c.invoke("Invoke", in, true)
	if err != nil {
		return integration.Result{}, err
	}
	length := 0
	if b, ok := doc["Payload"].([]byte); ok {
		length = len(b)
	}
	payload, f := payloadOf(doc, func(_ []byte, v jsonvalue.Value) string { return v.String() })
	if f != nil {
		// AWS: the old form tells the payload as the function wrote it, this one without blanks. Recorded in error_handling.json
		// (test_raise_exception_catch of both).
		if raw, ok := doc["Payload"].([]byte); ok && f.Cause == string(raw) {
			f.Cause = payload.String()
		}
		return failed(f), nil
	}
	status, _ := doc["StatusCode"].(int64)
	var members []jsonvalue.Member
	headers := []header{}
	for _, x := range []struct{ member, header string }{{"LogResult", "X-Amz-Log-Result"}, {"ExecutedVersion", "X-Amz-Executed-Version"}} {
		if s, ok := doc[x.member].(string); ok && s != "" {
			members = append(members, jsonvalue.M(x.member, jsonvalue.Str(s)))
			headers = append(headers, header{x.header, s})
		}
	}
	members = append(members, jsonvalue.M("Payload", payload), jsonvalue.M("StatusCode", jsonvalue.Int(status)))
	request := c.request()
	headers = append(headers, header{"x-amzn-Remapped-Content-Length", "0"}, header{"Connection", "keep-alive"},
		header{"x-amzn-RequestId", request}, header{"Content-Length", strconv.Itoa(length)},
		header{"Date", c.t.cfg.Clock.Now().UTC().Format(http.TimeFormat)}, header{"X-Amzn-Trace-Id", "Root=1-" + request[:8] + "-" + request[9:13] + request[14:18] + request[19:23] + request[24:36]},
		header{"Content-Type", "application/json"})
	return c.answer(merge(jsonvalue.Object(members...), c.metadata(headers, status)), nil), nil
}

// payloadOf reads what the function returned, or how it failed. AWS: with lambda:invoke the cause is the payload without
// blanks, with the function as the Resource it is the payload as it was written (recorded: states_variables
// test_task_catch_error_output, error_handling test_raise_exception_catch).
func payloadOf(doc map[string]any, cause func(raw []byte, v jsonvalue.Value) string) (jsonvalue.Value, *asl.Failure) {
	raw, _ := doc["Payload"].([]byte)
	v, err := jsonvalue.Parse(raw)
	if name, _ := doc["FunctionError"].(string); name != "" {
		code := v.Member("errorType").Str()
		if code == "" {
			return v, &asl.Failure{Error: "Lambda.Unknown", Cause: "The cause could not be determined because Lambda did not return an error type. Returned payload: " + string(raw)}
		}
		return v, &asl.Failure{Error: code, Cause: cause(raw, v)}
	}
	if len(raw) == 0 { // an Event invocation returns nothing
		return jsonvalue.Value{}, nil
	}
	if err != nil {
		return v, &asl.Failure{Error: asl.ErrRuntime, Cause: fmt.Sprintf("The function returned a payload that is not JSON: %v", err)}
	}
	return v, nil
}
