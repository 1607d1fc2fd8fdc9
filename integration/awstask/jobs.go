package awstask

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/asl"
	"github.com/mayfly-run/mayfly/integration"
	"github.com/mayfly-run/mayfly/internal/awscall"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

// awaited is an optimized integration whose call starts something that goes on, and that .sync waits for. The services are
// those that Mayfly has not: their calls go to AWS. Paths are of names between dots, 0 being the first of a list; they
// are written in PascalCase, as states see them.
type awaited struct {
	service  string // signing name
	api      string // of the resource, in camelCase; the start operation is the same in PascalCase
	describe string
	ask      string // describe's input: "member=path …", the path into {arguments and answer}; "[member]" is a list
	pick     string // where the job stands in describe's answer; "" the whole
	under    string // the member that the result has it under; "" none
	status   string // within the job
	good     string // its values when all is well
	bad      string // its values when it has failed
	gone     string // the error of describe that means that what was to end has ended
	stop     string // operation; "" nothing can end it
	stopAsk  string // its input; "" as describe's
}

// jobs are AWS's (Developer Guide, "Integrating optimized services"; the values of states from the services' API models).
var jobs = []awaited{
	{service: "batch", api: "submitJob", describe: "DescribeJobs", ask: "[jobs]=JobId", pick: "Jobs.0", status: "Status",
		good: "SUCCEEDED", bad: "FAILED", stop: "TerminateJob", stopAsk: "jobId=JobId reason='Aborted"},
	{service: "ecs", api: "runTask", describe: "DescribeTasks", ask: "cluster=Cluster [tasks]=Tasks.0.TaskArn", pick: "Tasks.0",
		status: "LastStatus", good: "STOPPED", stop: "StopTask", stopAsk: "cluster=Cluster task=Tasks.0.TaskArn"},
	{service: "glue", api: "startJobRun", describe: "GetJobRun", ask: "JobName=JobName RunId=JobRunId", pick: "JobRun", status: "JobRunState",
		good: "SUCCEEDED", bad: "FAILED TIMEOUT STOPPED ERROR EXPIRED", stop: "BatchStopJobRun", stopAsk: "JobName=JobName [JobRunIds]=JobRunId"},
	{service: "databrew", api: "startJobRun", describe: "DescribeJobRun", ask: "Name=Name RunId=RunId", status: "State",
		good: "SUCCEEDED", bad: "FAILED TIMEOUT STOPPED", stop: "StopJobRun"},
	{service: "athena", api: "startQueryExecution", describe: "GetQueryExecution", ask: "QueryExecutionId=QueryExecutionId",
		status: "QueryExecution.Status.State", good: "SUCCEEDED", bad: "FAILED CANCELLED", stop: "StopQueryExecution"},
	{service: "codebuild", api: "startBuild", describe: "BatchGetBuilds", ask: "[ids]=Build.Id", pick: "Builds.0", under: "Build",
		status: "BuildStatus", good: "SUCCEEDED", bad: "FAILED FAULT TIMED_OUT STOPPED", stop: "StopBuild", stopAsk: "id=Build.Id"},
	{service: "codebuild", api: "startBuildBatch", describe: "BatchGetBuildBatches", ask: "[ids]=BuildBatch.Id", pick: "BuildBatches.0", under: "BuildBatch",
		status: "BuildBatchStatus", good: "SUCCEEDED", bad: "FAILED FAULT TIMED_OUT STOPPED", stop: "StopBuildBatch", stopAsk: "id=BuildBatch.Id"},
	sagemakerJob("TrainingJob"), sagemakerJob("TransformJob"), sagemakerJob("ProcessingJob"), sagemakerJob("LabelingJob"),
	sagemakerJob("HyperParameterTuningJob"),
	{service: "emr-serverless", api: "startJobRun", describe: "GetJobRun", ask: "applicationId=ApplicationId jobRunId=JobRunId", pick: "JobRun",
		under: "JobRun", status: "State", good: "SUCCESS", bad: "FAILED CANCELLED", stop: "CancelJobRun"},
	{service: "emr-serverless", api: "cancelJobRun", describe: "GetJobRun", ask: "applicationId=ApplicationId jobRunId=JobRunId", pick: "JobRun",
		under: "JobRun", status: "State", good: "CANCELLED", bad: "SUCCESS FAILED"},
	serverlessApplication("createApplication", "CREATED STARTING STARTED"), serverlessApplication("startApplication", "STARTED"),
	serverlessApplication("stopApplication", "STOPPED"), serverlessApplication("deleteApplication", "TERMINATED"),
	{service: "emr-containers", api: "startJobRun", describe: "DescribeJobRun", ask: "id=Id virtualClusterId=VirtualClusterId", pick: "JobRun",
		status: "State", good: "COMPLETED", bad: "FAILED CANCELLED", stop: "CancelJobRun"},
	{service: "emr-containers", api: "deleteVirtualCluster", describe: "DescribeVirtualCluster", ask: "id=Id", pick: "VirtualCluster",
		status: "State", good: "TERMINATED", bad: "ARRESTED", gone: "ResourceNotFoundException"},
	{service: "mediaconvert", api: "createJob", describe: "GetJob", ask: "Id=Job.Id", pick: "Job", under: "Job", status: "Status",
		good: "COMPLETE", bad: "ERROR CANCELED", stop: "CancelJob"},
	{service: "bedrock", api: "createModelCustomizationJob", describe: "GetModelCustomizationJob", ask: "jobIdentifier=JobArn",
		status: "Status", good: "Completed", bad: "Failed Stopped", stop: "StopModelCustomizationJob"},
	eksJob("createCluster", "DescribeCluster", "Cluster", "name=Name", "ACTIVE", "FAILED", ""),
	eksJob("deleteCluster", "DescribeCluster", "Cluster", "name=Name", "", "FAILED", "ResourceNotFoundException"),
	eksJob("createNodegroup", "DescribeNodegroup", "Nodegroup", "clusterName=ClusterName nodegroupName=NodegroupName", "ACTIVE", "CREATE_FAILED DEGRADED", ""),
	eksJob("deleteNodegroup", "DescribeNodegroup", "Nodegroup", "clusterName=ClusterName nodegroupName=NodegroupName", "", "DELETE_FAILED", "ResourceNotFoundException"),
	eksJob("createFargateProfile", "DescribeFargateProfile", "FargateProfile", "clusterName=ClusterName fargateProfileName=FargateProfileName", "ACTIVE", "CREATE_FAILED", ""),
	eksJob("deleteFargateProfile", "DescribeFargateProfile", "FargateProfile", "clusterName=ClusterName fargateProfileName=FargateProfileName", "", "DELETE_FAILED", "ResourceNotFoundException"),
}

func sagemakerJob(kind string) awaited {
	return awaited{service: "sagemaker", api: "create" + kind, describe: "Describe" + kind, ask: kind + "Name=" + kind + "Name",
		status: kind + "Status", good: "Completed", bad: "Failed Stopped", stop: "Stop" + kind}
}

func serverlessApplication(api, good string) awaited {
	bad := "TERMINATED"
	if good == bad {
		bad = ""
	}
	return awaited{service: "emr-serverless", api: api, describe: "GetApplication", ask: "applicationId=ApplicationId", pick: "Application",
		under: "Application", status: "State", good: good, bad: bad}
}

func eksJob(api, describe, member, ask, good, bad, gone string) awaited {
	return awaited{service: "eks", api: api, describe: describe, ask: ask, pick: member, under: member, status: "Status", good: good, bad: bad, gone: gone}
}

// elsewhere are the plain calls of optimized integrations whose services Mayfly has not.
var elsewhere = map[string]string{
	"dynamodb":       "getItem putItem updateItem deleteItem",
	"sagemaker":      "createEndpoint createEndpointConfig createModel updateEndpoint",
	"emr-containers": "createVirtualCluster",
	"codebuild":      "stopBuild batchDeleteBuilds batchGetReports stopBuildBatch retryBuildBatch deleteBuildBatch",
	"athena":         "stopQueryExecution getQueryExecution getQueryResults",
}

func init() {
	for _, j := range jobs {
		calls := []string{pascal(j.api), j.describe}
		if j.stop != "" {
			calls = append(calls, j.stop)
		}
		actions[j.service+":"+j.api] = action{service: j.service, calls: calls, start: j.begin, poll: j.look, cancel: j.end}
	}
	for service, apis := range elsewhere {
		for _, api := range strings.Fields(apis) {
			op := pascal(api)
			actions[service+":"+api] = action{service: service, calls: []string{op},
				start: func(c *call) (integration.Result, error) { return c.plain(op, old) }}
		}
	}
}

// begin starts the job. What describe and stop will be asked with is put into the handle.
func (j awaited) begin(c *call) (integration.Result, error) {
	v, err := c.plainValue(pascal(j.api), c.task.Input, old)
	if err != nil {
		return integration.Result{}, err
	}
	if failures := v.Member("Failures"); j.service == "ecs" && failures.Len() > 0 && v.Member("Tasks").Len() == 0 {
		return failed(&asl.Failure{Error: "ECS.AmazonECSException", Cause: failures.String()}), nil
	}
	var h handle
	if h.Ask, err = asked(j.ask, c.task.Input, v); err != nil {
		return integration.Result{}, fmt.Errorf("%s: %w", c.task.Resource.ARN, err)
	}
	if j.stopAsk != "" {
		if h.Stop, err = asked(j.stopAsk, c.task.Input, v); err != nil {
			return integration.Result{}, fmt.Errorf("%s: %w", c.task.Resource.ARN, err)
		}
	}
	return c.answer(v, &h), nil
}

// look reads the job.
func (j awaited) look(c *call, h handle) (integration.Result, error) {
	in, err := h.Ask.document()
	if err != nil {
		return integration.Result{}, err
	}
	whole, err := c.describe(j.describe, in)
	if code := awscall.Code(err); code != "" && code == j.gone {
		return integration.Result{Output: jsonvalue.Object()}, nil
	}
	if err != nil {
		return integration.Result{}, err
	}
	found := at(whole, j.pick)
	result := found
	if j.under != "" {
		result = jsonvalue.Object(jsonvalue.M(j.under, found))
	}
	status := at(found, j.status).Str()
	switch ok := slices.Contains(strings.Fields(j.good), status); {
	case j.service == "ecs" && ok && !exitedWell(found), slices.Contains(strings.Fields(j.bad), status):
		return failed(&asl.Failure{Error: asl.ErrTaskFailed, Cause: result.String()}), nil
	case ok:
		return integration.Result{Output: result}, nil
	}
	return integration.Result{Running: true}, nil
}

// end asks that the job should stop.
func (j awaited) end(c *call, h handle) error {
	if j.stop == "" {
		return nil
	}
	ask := h.Stop
	if ask == nil {
		ask = h.Ask
	}
	in, err := ask.document()
	if err != nil {
		return err
	}
	_, err = c.invoke(j.stop, in, true)
	return err
}

// exitedWell reports whether all containers of an ECS task have ended with code 0.
func exitedWell(task jsonvalue.Value) bool {
	for c := range task.Member("Containers").Elements() {
		if code, ok := c.Member("ExitCode").Int(); !ok || code != 0 {
			return false
		}
	}
	return true
}

// request is the input of a later call, as JSON.
type request json.RawMessage

func (r request) MarshalJSON() ([]byte, error)     { return r, nil }
func (r *request) UnmarshalJSON(text []byte) error { *r = slices.Clone(text); return nil }

func (r request) document() (map[string]any, error) {
	var doc map[string]any
	if err := json.Unmarshal(r, &doc); err != nil {
		return nil, fmt.Errorf("handle: %w", err)
	}
	return doc, nil
}

// asked fills an ask in from the arguments and the answer of the start. An argument that was not given is left out; what
// the answer lacks is an error, as the job could never be found.
func asked(ask string, arguments, answer jsonvalue.Value) (request, error) {
	doc := map[string]any{}
	for _, part := range strings.Fields(ask) {
		member, path, _ := strings.Cut(part, "=")
		v := at(answer, path)
		if v.IsZero() {
			v = at(arguments, path)
		}
		text := v.Str()
		if constant, ok := strings.CutPrefix(path, "'"); ok {
			text = constant
		}
		list := strings.HasPrefix(member, "[")
		switch {
		case list && text == "":
			return nil, fmt.Errorf("the answer to its start has no %s", path)
		case list:
			doc[strings.Trim(member, "[]")] = []any{text}
		case text != "":
			doc[member] = text
		}
	}
	return json.Marshal(doc)
}

// at follows a path of names and indexes; absent where there is nothing.
func at(v jsonvalue.Value, path string) jsonvalue.Value {
	if path == "" {
		return v
	}
	for name := range strings.SplitSeq(path, ".") {
		if name == "0" {
			if v.Kind() != jsonvalue.KindArray || v.Len() == 0 {
				return jsonvalue.Value{}
			}
			v = v.Index(0)
			continue
		}
		v = v.Member(name)
	}
	return v
}
