package awstask

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/mayfly-run/mayfly/execution"
	"github.com/mayfly-run/mayfly/internal/awsapi"
)

// patterns that an optimized integration allows, besides the plain call.
type patterns struct{ sync, callback bool }

// optimized are AWS's optimized integrations (Developer Guide, "Integrating optimized services"). Whether Mayfly can do
// them stands in actions.
var optimized = map[string]patterns{}

func init() {
	add := func(service, apis string, p patterns) {
		for _, api := range strings.Fields(apis) {
			optimized[service+":"+api] = p
		}
	}
	both, sync, callback, plain := patterns{true, true}, patterns{sync: true}, patterns{callback: true}, patterns{}
	add("lambda", "invoke", callback)
	add("batch", "submitJob", both)
	add("dynamodb", "getItem putItem updateItem deleteItem", plain)
	add("ecs", "runTask", both)
	add("sns", "publish", callback)
	add("sqs", "sendMessage", callback)
	add("glue", "startJobRun", both)
	add("databrew", "startJobRun", both)
	add("sagemaker", "createTrainingJob createTransformJob createProcessingJob createLabelingJob createHyperParameterTuningJob", both)
	add("sagemaker", "createEndpoint createEndpointConfig createModel updateEndpoint", plain)
	add("elasticmapreduce", "createCluster addStep terminateCluster", sync)
	add("elasticmapreduce", "cancelStep setClusterTerminationProtection modifyInstanceFleetByName modifyInstanceGroupByName", plain)
	add("emr-containers", "createVirtualCluster", plain)
	add("emr-containers", "deleteVirtualCluster startJobRun", sync)
	add("emr-serverless", "createApplication startApplication stopApplication deleteApplication startJobRun cancelJobRun", sync)
	add("codebuild", "startBuild startBuildBatch", both)
	add("codebuild", "stopBuild batchDeleteBuilds batchGetReports stopBuildBatch retryBuildBatch deleteBuildBatch", plain)
	add("athena", "startQueryExecution", both)
	add("athena", "stopQueryExecution getQueryExecution getQueryResults", plain)
	add("eks", "createCluster deleteCluster createNodegroup deleteNodegroup createFargateProfile deleteFargateProfile runJob", both)
	add("eks", "call", plain)
	add("apigateway", "invoke", callback)
	add("events", "putEvents", callback)
	add("states", "startExecution", both)
	add("bedrock", "invokeModel", callback)
	add("bedrock", "createModelCustomizationJob", both)
	add("mediaconvert", "createJob", both)
	add("http", "invoke", plain)
}

//go:embed services.txt
var serviceList string

// sdkServices are the services of the AWS SDK as aws-sdk:* spells them, each with the operations of it that AWS does not
// call (Developer Guide, "Learning to use AWS service SDK integrations"; newer services: the SDK's names for them).
var sdkServices = sync.OnceValue(func() map[string][]string {
	services := map[string][]string{}
	for line := range strings.Lines(serviceList) {
		words := strings.Fields(line)
		services[words[0]] = words[1:]
	}
	return services
})

// sdk is a service whose model is shipped.
type sdk struct {
	signing string // its name in calls
	prefix  string // of its errors
	whole   bool   // the model has every operation, so what it lacks AWS lacks too
}

var modelled = map[string]sdk{
	"sfn":            {"states", "Sfn", true},
	"emr":            {"elasticmapreduce", "Emr", true},
	"cloudformation": {"cloudformation", "CloudFormation", true},
	"s3":             {"s3", "S3", false},
	"sns":            {"sns", "Sns", true},
	"sqs":            {"sqs", "Sqs", true},
	"sts":            {"sts", "Sts", true},
	"lambda":         {"lambda", "Lambda", false},
	"iam":            {"iam", "Iam", false},
	"cloudwatchlogs": {"logs", "CloudWatchLogs", false},
	"ec2":            {"ec2", "Ec2", false},
	"ssm":            {"ssm", "Ssm", false},
	"eventbridge":    {"events", "EventBridge", true},
	"scheduler":      {"scheduler", "Scheduler", true},
	// Mayfly serves none of these: their calls go to AWS, or fail.
	"dynamodb":       {"dynamodb", "DynamoDb", true},
	"kms":            {"kms", "Kms", true},
	"secretsmanager": {"secretsmanager", "SecretsManager", true},
	"batch":          {"batch", "Batch", true},
	"ecs":            {"ecs", "Ecs", true},
	"glue":           {"glue", "Glue", true},
	"athena":         {"athena", "Athena", true},
	"codebuild":      {"codebuild", "CodeBuild", true},
	"databrew":       {"databrew", "DataBrew", true},
	"emrserverless":  {"emr-serverless", "EmrServerless", true},
	"emrcontainers":  {"emr-containers", "EmrContainers", true},
	"redshiftdata":   {"redshift-data", "RedshiftData", true},
	"sagemaker":      {"sagemaker", "SageMaker", false},
	"bedrock":        {"bedrock", "Bedrock", false},
	"bedrockruntime": {"bedrock-runtime", "BedrockRuntime", false},
	"mediaconvert":   {"mediaconvert", "MediaConvert", false},
	"eks":            {"eks", "Eks", false},
}

// Judge says why AWS would refuse a Task's Resource; nil when it would not. It is asl.ParseOptions.Resource.
func Judge(arn string) error {
	unknown := fmt.Errorf("The resource provided %s is not recognized. The value is not a valid resource ARN, or the resource is not available in this region.", arn) //nolint:staticcheck // AWS's sentence
	r, err := execution.ParseResource(arn)
	if err != nil {
		return unknown
	}
	if r.Kind != execution.Service {
		return nil
	}
	if name, ok := strings.CutPrefix(r.Service, "aws-sdk:"); ok {
		excluded, ok := sdkServices()[name]
		switch {
		case !ok, slices.Contains(excluded, r.API), r.Pattern != execution.RequestResponse && r.Pattern != execution.Callback,
			r.API == "" || !unicode.IsLower(rune(r.API[0])):
			return unknown
		}
		if m, ok := modelled[name]; ok && m.whole && operation(m, r.API) == nil {
			return unknown
		}
		return nil
	}
	p, ok := optimized[r.Service+":"+r.API]
	switch {
	case !ok,
		r.Pattern == execution.Callback && !p.callback,
		r.Pattern == execution.Sync && !p.sync,
		r.Pattern == execution.Sync2 && r.Service != "states":
		return unknown
	}
	return nil
}

// Lacks is a sentence that says what Mayfly lacks for a Resource that Judge accepts; "" when it lacks nothing.
// implemented says whether a service answers an operation, by signing name and model name; nil: all that is modelled.
func Lacks(arn string, implemented func(service, operation string) bool) string {
	r, err := execution.ParseResource(arn)
	if err != nil || r.Kind == execution.Activity || r.Kind == execution.Service && r.Service == "http" { // package httptask has it
		return ""
	}
	if implemented == nil {
		implemented = func(string, string) bool { return true }
	}
	service, calls := "lambda", []string{"Invoke"}
	switch name, isSDK := strings.CutPrefix(r.Service, "aws-sdk:"); {
	case r.Kind == execution.Function:
	case isSDK:
		m, known := modelled[name]
		op := operation(m, r.API)
		if !known || op == nil {
			return fmt.Sprintf("Mayfly does not have %s of the service %s: this state will fail.", r.API, name)
		}
		service, calls = m.signing, []string{op.Name}
	default:
		a, known := actions[r.Service+":"+r.API]
		if !known {
			return fmt.Sprintf("Mayfly does not have the integration %s:%s: this state will fail.", r.Service, r.API)
		}
		service, calls = a.service, a.calls
	}
	for _, c := range calls {
		if !implemented(service, c) {
			return fmt.Sprintf("Mayfly does not have %s of the service %s: this state will fail. A server with --remote %[2]s sends its calls to AWS.", c, service)
		}
	}
	return ""
}

// operation finds the operation that a camelCase API name means.
func operation(m sdk, api string) *awsapi.Operation {
	model := awsapi.Load(m.signing)
	if model == nil || api == "" {
		return nil
	}
	if op := model.Operations[pascal(api)]; op != nil {
		return op
	}
	for name, op := range model.Operations { // "getSMSAttributes" is GetSMSAttributes, "createDBCluster" …
		if strings.EqualFold(name, api) {
			return op
		}
	}
	return nil
}

func pascal(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
