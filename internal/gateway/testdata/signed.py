# boto3 against a gateway that checks signatures: S3 in every form that a client signs.
import sys, urllib.request, urllib.error
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint = sys.argv[1]
def client(name, secret="s3cr3t/+", key="AKIAUSER", **cfg):
    return boto3.client(name, endpoint_url=endpoint, region_name="eu-west-1", aws_access_key_id=key, aws_secret_access_key=secret,
                        config=Config(retries={"total_max_attempts": 1}, **cfg))
def code(f, *a, **kw):
    try:
        f(*a, **kw)
    except ClientError as e:
        return e.response["Error"]["Code"]
    return "none"
def http(url, method="GET", body=None, headers={}):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=headers)) as r:
            return r.status, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()

s3 = client("s3")
s3.create_bucket(Bucket="bkt", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
key = "dir/a b+ü&?=%25#;"
s3.put_object(Bucket="bkt", Key=key, Body=b"x" * 100_000, Metadata={"one": "two  spaces"}, Tagging="a=b%20c")
got = s3.get_object(Bucket="bkt", Key=key)
assert got["Body"].read() == b"x" * 100_000 and got["Metadata"] == {"one": "two  spaces"}, got
assert s3.head_object(Bucket="bkt", Key=key)["ContentLength"] == 100_000
assert [o["Key"] for o in s3.list_objects_v2(Bucket="bkt", Prefix="dir/a b+")["Contents"]] == [key]
s3.delete_objects(Bucket="bkt", Delete={"Objects": [{"Key": "none"}]})
assert code(client("s3", secret="wrong").list_buckets) == "SignatureDoesNotMatch"
assert code(client("s3", secret="wrong").put_object, Bucket="bkt", Key="k", Body=b"y" * 1_000_000) == "SignatureDoesNotMatch"
assert code(client("s3", key="AKIAOTHER").list_buckets) == "InvalidAccessKeyId"
assert code(client("sns", secret="wrong").list_topics) == "SignatureDoesNotMatch"
assert code(client("sqs", secret="wrong").list_queues) == "InvalidSignatureException"
assert client("sns").list_topics()["Topics"] == []
assert http(endpoint + "/bkt/k")[0] == 403

for version in ["s3", "s3v4"]:
    c = client("s3", signature_version=version)
    url = c.generate_presigned_url("get_object", {"Bucket": "bkt", "Key": key}, ExpiresIn=60)
    assert ("X-Amz-Signature" in url) == (version == "s3v4"), url
    status, body = http(url)
    assert status == 200 and len(body) == 100_000, (status, body)
    assert http(url.replace("dir", "dr"))[0] == 403
    assert http(url, method="DELETE")[0] == 403
    url = c.generate_presigned_url("get_object", {"Bucket": "bkt", "Key": key, "ResponseContentType": "text/x"}, ExpiresIn=60)
    assert http(url)[0] == 200, http(url)
    url = c.generate_presigned_url("put_object", {"Bucket": "bkt", "Key": "put-" + version, "ContentType": "text/y"}, ExpiresIn=60)
    assert http(url, "PUT", b"put", {"Content-Type": "text/y"})[0] == 200, http(url, "PUT", b"put", {"Content-Type": "text/y"})
    assert s3.get_object(Bucket="bkt", Key="put-" + version)["Body"].read() == b"put"
    url = c.generate_presigned_url("get_object", {"Bucket": "bkt", "Key": key}, ExpiresIn=-1) if version == "s3" else None
    assert url is None or http(url)[0] == 403
print("done")
