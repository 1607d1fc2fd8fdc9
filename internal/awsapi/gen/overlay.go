package main

import "github.com/mayfly-run/mayfly/internal/awsapi"

// overlay adds to the models what the wire needs and botocore's data no longer says.
func overlay(m *awsapi.Model) {
	switch m.Name() {
	case "sqs":
		sqsQuery(m)
	case "states":
		// AWS: its sentence lists the values in this order. Recorded in sfn_api.json (test_state_machine_status_filter).
		m.Shapes["ExecutionStatus"].Enum = []string{"SUCCEEDED", "TIMED_OUT", "PENDING_REDRIVE", "ABORTED", "FAILED", "RUNNING"}
	}
}

// sqsQuery restores the names of SQS's query protocol, which left botocore's model with version 1.31; SDKs from before
// 2023 still speak it. The JSON protocol looks at none of them: it knows neither queryName nor the location names of
// list members and map keys.
//
// AWS: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference, the examples of each action.
func sqsQuery(m *awsapi.Model) {
	lists := map[string]string{
		"AWSAccountIdList": "AWSAccountId", "ActionNameList": "ActionName", "AttributeNameList": "AttributeName",
		"MessageAttributeNameList": "MessageAttributeName", "MessageSystemAttributeList": "MessageSystemAttributeName",
		"MessageList": "Message", "QueueUrlList": "QueueUrl", "TagKeyList": "TagKey", "BinaryList": "BinaryListValue",
		"StringList": "StringListValue", "BatchResultErrorEntryList": "BatchResultErrorEntry",
		"ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
		"ChangeMessageVisibilityBatchResultEntryList":  "ChangeMessageVisibilityBatchResultEntry",
		"DeleteMessageBatchRequestEntryList":           "DeleteMessageBatchRequestEntry",
		"DeleteMessageBatchResultEntryList":            "DeleteMessageBatchResultEntry",
		"SendMessageBatchRequestEntryList":             "SendMessageBatchRequestEntry",
		"SendMessageBatchResultEntryList":              "SendMessageBatchResultEntry",
		"ListMessageMoveTasksResultEntryList":          "ListMessageMoveTasksResultEntry",
	}
	maps := map[string][3]string{ // the member's name, key, value
		"QueueAttributeMap":             {"Attribute", "Name", "Value"},
		"MessageSystemAttributeMap":     {"Attribute", "Name", "Value"},
		"MessageBodyAttributeMap":       {"MessageAttribute", "Name", "Value"},
		"MessageBodySystemAttributeMap": {"MessageSystemAttribute", "Name", "Value"},
		"TagMap":                        {"Tag", "Key", "Value"},
	}
	for _, s := range m.Shapes {
		if n, ok := lists[s.Name]; ok {
			s.Member.LocationName, s.Flattened = n, true
		}
		if n, ok := maps[s.Name]; ok {
			s.Key.LocationName, s.Value.LocationName = n[1], n[2]
		}
		for _, r := range s.Members {
			if n, ok := maps[r.Shape]; ok {
				r.QueryName = n[0]
			}
		}
		if s.Exception {
			s.Error = &awsapi.ErrorTrait{Code: sqsQueryCode(s.Name), HTTPStatusCode: 400, SenderFault: true}
		}
	}
}

func sqsQueryCode(shape string) string {
	switch shape {
	case "QueueDoesNotExist":
		return "AWS.SimpleQueueService.NonExistentQueue"
	case "QueueNameExists":
		return "QueueAlreadyExists"
	case "RequestThrottled", "OverLimit", "ReceiptHandleIsInvalid", "InvalidIdFormat", "InvalidAttributeName",
		"InvalidAttributeValue", "InvalidMessageContents", "ResourceNotFoundException", "InvalidAddress", "InvalidSecurity":
		return shape
	}
	return "AWS.SimpleQueueService." + shape
}
