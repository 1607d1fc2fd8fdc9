package iam

import "strings"

// managed names AWS's own policies that can be attached: those that pipelines on EMR, Lambda and Step Functions use.
var managed = map[string]bool{}

func init() {
	for _, name := range strings.Fields(`
		AdministratorAccess PowerUserAccess ReadOnlyAccess SecurityAudit job-function/ViewOnlyAccess
		AmazonElasticMapReduceFullAccess AmazonEMRFullAccessPolicy_v2 AmazonEMRReadOnlyAccessPolicy_v2 AmazonElasticMapReduceReadOnlyAccess
		service-role/AmazonElasticMapReduceRole service-role/AmazonElasticMapReduceforEC2Role service-role/AmazonElasticMapReduceforAutoScalingRole
		service-role/AmazonEMRServicePolicy_v2 service-role/AmazonElasticMapReduceEditorsRole AmazonEMRContainersServiceRolePolicy
		service-role/AWSLambdaBasicExecutionRole service-role/AWSLambdaVPCAccessExecutionRole service-role/AWSLambdaRole service-role/AWSLambdaSQSQueueExecutionRole
		service-role/AWSLambdaDynamoDBExecutionRole service-role/AWSLambdaKinesisExecutionRole AWSLambdaExecute AWSLambda_FullAccess AWSLambda_ReadOnlyAccess AWSLambdaInvocation-DynamoDB
		AWSStepFunctionsFullAccess AWSStepFunctionsReadOnlyAccess AWSStepFunctionsConsoleFullAccess
		AmazonS3FullAccess AmazonS3ReadOnlyAccess AmazonSQSFullAccess AmazonSQSReadOnlyAccess AmazonSNSFullAccess AmazonSNSReadOnlyAccess
		AmazonEC2FullAccess AmazonEC2ReadOnlyAccess AmazonVPCFullAccess AmazonVPCReadOnlyAccess AWSCloudFormationFullAccess AWSCloudFormationReadOnlyAccess
		CloudWatchFullAccess CloudWatchFullAccessV2 CloudWatchLogsFullAccess CloudWatchLogsReadOnlyAccess CloudWatchAgentServerPolicy CloudWatchReadOnlyAccess
		AmazonEventBridgeFullAccess AmazonEventBridgeReadOnlyAccess AmazonEventBridgeSchedulerFullAccess IAMFullAccess IAMReadOnlyAccess
		AmazonDynamoDBFullAccess AmazonDynamoDBReadOnlyAccess AmazonAthenaFullAccess AWSGlueConsoleFullAccess service-role/AWSGlueServiceRole
		AmazonSSMFullAccess AmazonSSMReadOnlyAccess AmazonSSMManagedInstanceCore SecretsManagerReadWrite AWSXRayDaemonWriteAccess AWSXrayFullAccess AWSXrayWriteOnlyAccess
		AmazonKinesisFullAccess AmazonKinesisReadOnlyAccess AmazonAPIGatewayAdministrator service-role/AmazonAPIGatewayPushToCloudWatchLogs
		AmazonEC2ContainerRegistryReadOnly AmazonEC2ContainerRegistryFullAccess AmazonECS_FullAccess service-role/AmazonECSTaskExecutionRolePolicy`) {
		managed[name] = true
	}
}

const managedPrefix = "arn:aws:iam::aws:policy/"

func isManaged(arn string) bool {
	name, ok := strings.CutPrefix(arn, managedPrefix)
	return ok && managed[name]
}
