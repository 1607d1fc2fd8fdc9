// Package mocktask gives Task states recorded results in place of calls: Step Functions Local's mock configuration file.
//
//	{
//	  "StateMachines": {"Orders": {"TestCases": {"Declined": {"Charge": "CardDeclined"}}}},
//	  "MockedResponses": {"CardDeclined": {
//	    "0-1": {"Throw": {"Error": "Lambda.TooManyRequestsException", "Cause": "busy"}},
//	    "2":   {"Return": {"StatusCode": 200, "Payload": {"accepted": false}}}}}
//	}
//
// An execution that is started as ARN#Declined runs that test case: the states that it names never call anything, all
// others do. Numbers count the starts of the state in this execution, retries and later visits alike; where they end, the
// retries of the visit are counted instead, so that a state in a loop needs no number for each turn. A start that has no
// response fails the execution, and says which number is missing.
//
// It does not judge whether a response is one that the service could give: TestState does that.
//
// AWS: Developer Guide, "Configuration file for mocked service integrations" (sfn-local-mock-cfg-file).
package mocktask
