package resource

var types = []*Type{
	iamRole, iamPolicy, iamInstanceProfile,
	emrCluster, emrStep,
	snsTopic, snsSubscription, snsTopicPolicy,
	sqsQueue, sqsQueuePolicy,
	lambdaFunction, lambdaPermission,
	stateMachine, activity,
	s3Bucket, s3BucketPolicy,
	keyPair, securityGroup,
	logGroup,
	eventsConnection,
}
