# Real boto3 against the gateway with the small services: every protocol but rest-json and rest-xml.
import json, sys, threading, urllib.request
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint = sys.argv[1]
cfg = Config(retries={"total_max_attempts": 1})
def client(name, **kw):
    return boto3.client(name, endpoint_url=endpoint, region_name=kw.pop("region_name", "us-east-1"), config=kw.pop("config", cfg),
                        aws_access_key_id=kw.pop("key", "test"), aws_secret_access_key=kw.pop("secret", "test"), **kw)

def fails(code, text, f, *a, **kw):
    try:
        f(*a, **kw)
    except ClientError as e:
        err = e.response["Error"]
        assert err["Code"] == code, err
        assert text in err["Message"], err
        assert e.response["ResponseMetadata"]["RequestId"], e.response
        return e
    raise AssertionError(f"no {code}")

# SQS: JSON with query errors.
sqs = client("sqs")
url = sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "5"}, tags={"a": "b"})["QueueUrl"]
assert url.startswith(endpoint), url
sent = sqs.send_message(QueueUrl=url, MessageBody="häl<l>o\n", MessageAttributes={
    "n": {"DataType": "Number", "StringValue": "1"}, "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}})
got = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], AttributeNames=["All"], WaitTimeSeconds=1)["Messages"]
assert len(got) == 1 and got[0]["Body"] == "häl<l>o\n" and got[0]["MessageId"] == sent["MessageId"], got
assert got[0]["MessageAttributes"]["b"]["BinaryValue"] == b"\x00\xff", got
assert got[0]["Attributes"]["ApproximateReceiveCount"] == "1", got
sqs.delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
batch = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": str(i)} for i in range(3)])
assert len(batch["Successful"]) == 3 and not batch.get("Failed"), batch
e = fails("AWS.SimpleQueueService.NonExistentQueue", "does not exist", sqs.get_queue_url, QueueName="none")
assert isinstance(e, sqs.exceptions.QueueDoesNotExist), type(e)

# SNS: query, with maps and nested structures.
sns = client("sns")
topic = sns.create_topic(Name="t", Attributes={"DisplayName": "d"}, Tags=[{"Key": "k", "Value": "v"}])["TopicArn"]
assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == "d"
assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "k", "Value": "v"}]
sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
assert sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@example.org")["SubscriptionArn"] == "pending confirmation"
sns.publish(TopicArn=topic, Message="m", Subject="s", MessageAttributes={"x": {"DataType": "String", "StringValue": "y"}})
fails("NotFound", "Topic does not exist", sns.get_topic_attributes, TopicArn=topic + "x")

# STS and IAM: query.
sts = client("sts")
me = sts.get_caller_identity()
assert me["Account"] == "000000000000" and me["Arn"].startswith("arn:aws:iam::000000000000:"), me
iam = client("iam")
policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(policy), Tags=[{"Key": "a", "Value": "ü"}])["Role"]
assert role["AssumeRolePolicyDocument"] == policy, role
assert iam.get_role(RoleName="r")["Role"]["Tags"] == [{"Key": "a", "Value": "ü"}]
fails("NoSuchEntity", "cannot be found", iam.get_role, RoleName="none")
bad = fails("ValidationError", "1 validation error detected: Value 'r!' at 'roleName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]+", iam.get_role, RoleName="r!")
assert bad.response["ResponseMetadata"]["HTTPStatusCode"] == 400
iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=json.dumps(policy))
iam.attach_role_policy(RoleName="r", PolicyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole")
fails("NoSuchEntity", "", iam.attach_role_policy, RoleName="r", PolicyArn="arn:aws:iam::aws:policy/None")
assert any(r["RoleName"] == "r" for p in iam.get_paginator("list_roles").paginate() for r in p["Roles"])

# A key that was issued is verified, and answers for its role.
c = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="me")["Credentials"]
ours = client("sts", key=c["AccessKeyId"], secret=c["SecretAccessKey"], aws_session_token=c["SessionToken"])
assert ours.get_caller_identity()["Arn"] == "arn:aws:sts::000000000000:assumed-role/r/me"
wrong = dict(key=c["AccessKeyId"], aws_session_token=c["SessionToken"])
fails("SignatureDoesNotMatch", "does not match", client("sts", secret="wrong", **wrong).get_caller_identity)
fails("InvalidSignatureException", "does not match", client("logs", secret="wrong", **wrong).describe_log_groups)
fails("InvalidClientTokenId", "security token", client("sts", key=c["AccessKeyId"][:-1] + "0", secret="x").get_caller_identity)

# A user's key acts for the user until it is deleted.
assert iam.get_user()["User"]["Arn"] == "arn:aws:iam::000000000000:root"
iam.create_user(UserName="u", Path="/team/")
k = iam.create_access_key(UserName="u")["AccessKey"]
ours = dict(key=k["AccessKeyId"], secret=k["SecretAccessKey"])
assert client("sts", **ours).get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:user/team/u"
assert client("iam", **ours).get_user()["User"]["UserName"] == "u"
assert [x["AccessKeyId"] for x in client("iam", **ours).list_access_keys()["AccessKeyMetadata"]] == [k["AccessKeyId"]]
fails("DeleteConflict", "must delete access keys first", iam.delete_user, UserName="u")
iam.delete_access_key(UserName="u", AccessKeyId=k["AccessKeyId"])
fails("InvalidClientTokenId", "security token", client("sts", **ours).get_caller_identity)
iam.delete_user(UserName="u")
assert iam.list_users()["Users"] == []
fails("NoSuchEntity", "The user with name u cannot be found.", iam.get_user, UserName="u")

# EC2: its own query form.
ec2 = client("ec2")
pair = ec2.create_key_pair(KeyName="k", KeyType="rsa", TagSpecifications=[{"ResourceType": "key-pair", "Tags": [{"Key": "a", "Value": "b"}]}])
assert pair["KeyMaterial"].startswith("-----BEGIN") and pair["KeyPairId"].startswith("key-"), pair
assert [k["KeyName"] for k in ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": ["k"]}])["KeyPairs"]] == ["k"]
fails("InvalidKeyPair.NotFound", "", ec2.describe_key_pairs, KeyNames=["none"])
fails("InvalidKeyPair.Duplicate", "", ec2.create_key_pair, KeyName="k")
vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
assert ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}])
assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"][0]["FromPort"] == 1

# Logs: JSON 1.1.
logs = client("logs")
logs.create_log_group(logGroupName="/g")
logs.create_log_stream(logGroupName="/g", logStreamName="s")
import time
now = int(time.time() * 1000)
logs.put_log_events(logGroupName="/g", logStreamName="s", logEvents=[{"timestamp": now, "message": "one"}, {"timestamp": now + 1, "message": "two"}])
assert [e["message"] for e in logs.get_log_events(logGroupName="/g", logStreamName="s", startFromHead=True)["events"]] == ["one", "two"]
assert [e["message"] for e in logs.filter_log_events(logGroupName="/g", filterPattern="two")["events"]] == ["two"]
fails("ResourceNotFoundException", "", logs.get_log_events, logGroupName="/none", logStreamName="s")
fails("ResourceAlreadyExistsException", "", logs.create_log_group, logGroupName="/g")

# What Mayfly does not have is said at once, and named.
fails("UnknownOperationException", "Mayfly does not implement the operation StartQuery", logs.start_query, logGroupName="/g", startTime=1, endTime=2, queryString="x")
fails("InvalidAction", "Mayfly does not implement the operation CreateVirtualMFADevice", iam.create_virtual_mfa_device, VirtualMFADeviceName="x")
fails("InvalidAction", "CreateVolume", ec2.create_volume, AvailabilityZone="a", Size=1)
fails("UnknownServiceException", "dynamodb", client("dynamodb").list_tables)
fails("UnknownServiceException", "eks", client("eks").list_clusters)
fails("UnknownServiceException", "autoscaling", client("autoscaling").describe_auto_scaling_groups)
fails("NotImplemented", "Mayfly does not implement the operation GetBucketWebsite", client("s3").get_bucket_website, Bucket="bkt")
print("done")
