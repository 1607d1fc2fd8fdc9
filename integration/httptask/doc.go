// Package httptask calls the HTTP APIs of Task states (arn:aws:states:::http:invoke), signed with EventBridge connections.
//
// The request is made of the state's arguments and of what the connection adds, which wins where both name the same. The
// answer is {Headers, ResponseBody, StatusCode, StatusText}. A status outside of 2xx is the failure States.Http.StatusCode.N
// with the status's text as its cause, as on AWS, where the body is lost then; here the whole answer goes with the failure
// as its Response, beside the error and never inside. No answer within a minute, or none at all, is States.Http.Socket.
//
// A call may be repeated when the server dies before its answer is committed: HTTP has no request keys.
//
// AWS: Developer Guide, "Call HTTPS APIs in Step Functions workflows".
package httptask
