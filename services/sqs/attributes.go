package sqs

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/awsapi/sqsapi"
)

// numbers are the numeric attributes of a queue with their range and default.
var numbers = map[string]struct{ low, high, normal int }{
	"DelaySeconds":                  {0, 900, 0},
	"MaximumMessageSize":            {1024, 1048576, 1048576},
	"MessageRetentionPeriod":        {60, 1209600, 345600},
	"ReceiveMessageWaitTimeSeconds": {0, 20, 0},
	"VisibilityTimeout":             {0, 43200, 30},
}

// others are attributes that are kept and returned as they are.
var others = []string{"Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"}

func checkAttributes(attributes map[string]string) error {
	for name, value := range attributes {
		switch n, numeric := numbers[name]; {
		case numeric:
			v, err := strconv.Atoi(value)
			if err != nil || v < n.low || v > n.high {
				return awsapi.Errorf(400, "InvalidAttributeValue", "Invalid value for the parameter %s.", name)
			}
		case name == "FifoQueue" || name == "ContentBasedDeduplication" || name == "DeduplicationScope" || name == "FifoThroughputLimit":
			return awsapi.Errorf(400, "UnsupportedOperation", "FIFO queues are not supported by Mayfly yet: leave out the attribute %s, or use a standard queue.", name)
		case name == "RedrivePolicy" && value != "":
			if _, _, err := redrivePolicy(value); err != nil {
				return err
			}
		case !slices.Contains(others, name):
			return awsapi.Errorf(400, "InvalidAttributeName", "Unknown Attribute %s.", name)
		}
	}
	return nil
}

// number is a numeric attribute's value in force.
func (r record) number(name string) int {
	if v, err := strconv.Atoi(r.Attributes[name]); err == nil {
		return v
	}
	return numbers[name].normal
}

// redrivePolicy reads where messages go after how many receives.
func redrivePolicy(text string) (target string, most int, err error) {
	var p struct {
		Target string `json:"deadLetterTargetArn"`
		Most   any    `json:"maxReceiveCount"` // a number, or its text
	}
	if json.Unmarshal([]byte(text), &p) != nil || p.Target == "" || p.Most == nil {
		return "", 0, awsapi.Errorf(400, "InvalidParameterValue", "Value %s for parameter RedrivePolicy is invalid. Reason: Redrive policy does not contain mandatory attribute: maxReceiveCount and deadLetterTargetArn.", text)
	}
	switch v := p.Most.(type) {
	case float64:
		most = int(v)
	case string:
		most, _ = strconv.Atoi(v)
	}
	if most < 1 || most > 1000 {
		return "", 0, awsapi.Errorf(400, "InvalidParameterValue", "Value %s for parameter RedrivePolicy is invalid. Reason: Invalid value for maxReceiveCount: must be between 1 and 1000.", text)
	}
	return p.Target, most, nil
}

func md5Hex(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// md5OfAttributes is the digest that clients verify: for each attribute in the order of the names, the name, the type and
// the value, each with its length, and a byte that tells text from bytes.
func md5OfAttributes(attributes map[string]sqsapi.MessageAttributeValue) *string {
	if len(attributes) == 0 {
		return nil
	}
	var b []byte
	put := func(v []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		a := attributes[name]
		put([]byte(name))
		put([]byte(a.DataType))
		if strings.HasPrefix(a.DataType, "Binary") {
			b = append(b, 2)
			put(a.BinaryValue)
		} else {
			b = append(b, 1)
			put([]byte(awsapi.Val(a.StringValue)))
		}
	}
	return awsapi.Ptr(md5Hex(b))
}

// sizeOf is a message's size in bytes, as SQS counts it.
func sizeOf(body string, attributes map[string]sqsapi.MessageAttributeValue) int {
	size := len(body)
	for name, a := range attributes {
		size += len(name) + len(a.DataType) + len(awsapi.Val(a.StringValue)) + len(a.BinaryValue)
	}
	return size
}

const maxAttributes = 10 // of a message

// checkMessage refuses what SQS refuses of a message.
func checkMessage(body string, attributes map[string]sqsapi.MessageAttributeValue, limit int) error {
	if n := len(attributes); n > maxAttributes {
		return awsapi.Errorf(400, "InvalidParameterValue", "Number of message attributes [%d] exceeds the allowed maximum [%d].", n, maxAttributes)
	}
	for name, a := range attributes {
		kind, _, _ := strings.Cut(a.DataType, ".")
		switch {
		case kind != "String" && kind != "Number" && kind != "Binary":
			return awsapi.Errorf(400, "InvalidParameterValue", "The type of message (user) attribute '%s' is invalid. You must use only the following supported type prefixes: Binary, Number, String.", name)
		case kind == "Binary" && len(a.BinaryValue) == 0, kind != "Binary" && awsapi.Val(a.StringValue) == "":
			return awsapi.Errorf(400, "InvalidParameterValue", "Message (user) attribute '%s' must contain a non-empty value of type '%s'.", name, kind)
		case kind == "Number":
			if _, err := strconv.ParseFloat(*a.StringValue, 64); err != nil {
				return awsapi.Errorf(400, "InvalidParameterValue", "Can't cast the value of message (user) attribute '%s' to a number.", name)
			}
		}
	}
	if body == "" {
		return awsapi.Errorf(400, "MissingParameter", "The request must contain the parameter MessageBody.")
	}
	if sizeOf(body, attributes) > limit {
		return awsapi.Errorf(400, "InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", limit)
	}
	for _, r := range body {
		// AWS: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF.
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return awsapi.Errorf(400, "InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")
		}
	}
	return nil
}
