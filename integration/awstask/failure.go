package awstask

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/internal/awsapi"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// family is how an optimized integration spells its errors: as the old SDK's exception classes.
type family struct {
	prefix string // "SQS"
	client string // "AmazonSQS"
	base   string // the exception of codes that are not modelled
	only   bool   // every error is the base exception
}

var families = map[string]family{
	"lambda": {"Lambda", "AWSLambda", "AWSLambdaException", false},
	"states": {"StepFunctions", "AWSStepFunctions", "AWSStepFunctionsException", false},
	"sqs":    {"SQS", "AmazonSQS", "AmazonSQSException", false},
	"sns":    {"SNS", "AmazonSNS", "AmazonSNSException", false},
	// AWS: throttling included; EMR.ThrottlingException never comes (step-functions.md, C2).
	"elasticmapreduce": {"EMR", "AmazonElasticMapReduce", "AmazonElasticMapReduceException", true},
	"events":           {"EventBridge", "AmazonEventBridge", "AmazonEventBridgeException", false},
	"dynamodb":         {"DynamoDB", "AmazonDynamoDBv2", "AmazonDynamoDBException", false},
	"batch":            {"Batch", "AWSBatch", "AWSBatchException", false},
	"ecs":              {"ECS", "AmazonECS", "AmazonECSException", false},
	"glue":             {"Glue", "AWSGlue", "AWSGlueException", false},
	"databrew":         {"DataBrew", "AWSGlueDataBrew", "AWSGlueDataBrewException", false},
	"athena":           {"Athena", "AmazonAthena", "AmazonAthenaException", false},
	"codebuild":        {"CodeBuild", "AWSCodeBuild", "AWSCodeBuildException", false},
	"sagemaker":        {"SageMaker", "AmazonSageMaker", "AmazonSageMakerException", false},
	"emr-serverless":   {"EMRServerless", "AWSEMRServerless", "AWSEMRServerlessException", false},
	"emr-containers":   {"EMRContainers", "AmazonEMRContainers", "AmazonEMRContainersException", false},
	"mediaconvert":     {"MediaConvert", "AWSMediaConvert", "AWSMediaConvertException", false},
	"bedrock":          {"Bedrock", "AmazonBedrock", "AmazonBedrockException", false},
	"eks":              {"EKS", "AmazonEKS", "AmazonEKSException", false},
}

// apiFailure turns the error of a call into a state's failure. ok is false for what is no API error: then the outcome of
// the call is not known.
func apiFailure(err error, service, request string, newStyle *sdk) (f *asl.Failure, ok bool) {
	var bad *badParameter
	if errors.As(err, &bad) {
		return nil, false // the caller has more to say
	}
	var e *awsapi.Error
	if !errors.As(err, &e) {
		return nil, false
	}
	if lacking(e) {
		return &asl.Failure{Error: asl.ErrTaskFailed, Cause: e.Message +
			" On AWS this state would run. It fails here at once, so that nothing seems to have happened that has not."}, true
	}
	status := e.Status
	if status == 0 {
		status = 400
	}
	name, code := "", e.Code
	if m := awsapi.Load(service); m != nil {
		if shape := m.ErrorShape(e.Code); shape != nil {
			name = shape.Name
			if shape.Error != nil && shape.Error.Code != "" { // AWS: SQS sends its older code besides the shape's name
				code = shape.Error.Code
			}
			if !strings.HasSuffix(name, "Exception") {
				name += "Exception"
			}
		}
	}
	if newStyle != nil {
		if name == "" {
			name = newStyle.prefix + "Exception"
		}
		cause := fmt.Sprintf("%s (Service: %s, Status Code: %d, Request ID: %s", e.Message, newStyle.prefix, status, request)
		if service == "s3" {
			cause += ", Extended Request ID: " + request
		}
		return &asl.Failure{Error: newStyle.prefix + "." + name, Cause: cause + ") (SDK Attempt Count: 1)"}, true
	}
	fam := families[service]
	if name == "" || fam.only {
		name = fam.base
	}
	return &asl.Failure{Error: fam.prefix + "." + name, Cause: fmt.Sprintf("%s (Service: %s; Status Code: %d; Error Code: %s; Request ID: %s; Proxy: null)",
		e.Message, fam.client, status, code, request)}, true
}

// lacking reports whether the error says that Mayfly has no such operation.
func lacking(e *awsapi.Error) bool {
	switch e.Code {
	case "UnknownOperationException", "UnknownServiceException", "InvalidAction", "NotImplemented":
		return strings.Contains(e.Message, "Mayfly")
	}
	return false
}

// parameters is the failure of arguments that do not fit. AWS: it cannot be caught.
func parameters(input jsonvalue.Value, why string) *asl.Failure {
	return &asl.Failure{Error: asl.ErrRuntime, Cause: fmt.Sprintf("The Parameters '%s' could not be used to start the Task: [%s]", input, why)}
}
