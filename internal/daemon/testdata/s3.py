"""What boto3 does with S3, against the endpoint in AWS_ENDPOINT_URL. An assertion that fails ends it."""
import hashlib, io, os, urllib.request
import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError

s3 = boto3.client("s3")


def refused(code, call, **kw):
    try:
        call(**kw)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return e.response
    raise AssertionError(f"{code} expected")


s3.create_bucket(Bucket="pyb")
refused("NoSuchBucket", s3.list_objects_v2, Bucket="none")
refused("NoSuchKey", s3.get_object, Bucket="pyb", Key="none")
refused("404", s3.head_object, Bucket="pyb", Key="none")
refused("InvalidBucketName", boto3.client("s3", config=Config(parameter_validation=False)).create_bucket, Bucket="Upper_Case")
assert refused("BucketAlreadyOwnedByYou", boto3.client("s3", region_name="eu-west-1").create_bucket, Bucket="pyb",
               CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})["ResponseMetadata"]["HTTPStatusCode"] == 409

# Every checksum algorithm, with its answer verified by the client.
body = os.urandom(100_000)
for alg in ("CRC32", "SHA1", "SHA256"):
    out = s3.put_object(Bucket="pyb", Key="sum/" + alg, Body=body, ChecksumAlgorithm=alg)
    assert out["ETag"] == '"%s"' % hashlib.md5(body).hexdigest()
    got = s3.get_object(Bucket="pyb", Key="sum/" + alg, ChecksumMode="ENABLED")
    assert got["Body"].read() == body and got["Checksum" + alg] == out["Checksum" + alg]
refused("BadDigest", s3.put_object, Bucket="pyb", Key="bad", Body=b"x", ChecksumCRC32="AAAAAA==")
refused("BadDigest", s3.put_object, Bucket="pyb", Key="bad", Body=b"x", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
refused("404", s3.head_object, Bucket="pyb", Key="bad")

# Metadata, headers, odd keys.
key = "odd/ключ ✓ +%&=?#'\"<>~"
s3.put_object(Bucket="pyb", Key=key, Body=b"1", Metadata={"a": "b", "x-y": "z"}, ContentType="text/plain", CacheControl="no-store",
              ContentDisposition="attachment", ContentLanguage="de", Tagging="k=v&l=w")
head = s3.head_object(Bucket="pyb", Key=key)
assert head["Metadata"] == {"a": "b", "x-y": "z"} and head["ContentType"] == "text/plain" and head["CacheControl"] == "no-store"
assert head["ContentDisposition"] == "attachment" and head["ContentLanguage"] == "de" and head["ServerSideEncryption"] == "AES256"
assert s3.get_object_tagging(Bucket="pyb", Key=key)["TagSet"] == [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": "w"}]
assert s3.get_object(Bucket="pyb", Key=key)["TagCount"] == 2
assert [o["Key"] for o in s3.list_objects_v2(Bucket="pyb", Prefix="odd/")["Contents"]] == [key]
assert [o["Key"] for o in s3.list_objects(Bucket="pyb", Prefix="odd/")["Contents"]] == [key]

# a and a/b beside each other, directory markers, dots and slashes.
for k in ("a", "a/b", "a/", "a//b", "./x", "../x", "/lead"):
    s3.put_object(Bucket="pyb", Key=k, Body=k.encode())
for k in ("a", "a/b", "a/", "a//b", "./x", "../x", "/lead"):
    assert s3.get_object(Bucket="pyb", Key=k)["Body"].read() == k.encode(), k

# 20 MB in parts, ranges over their edges, copies.
big = os.urandom(20_000_000)
s3.upload_fileobj(io.BytesIO(big), "pyb", "big", Config=TransferConfig(multipart_chunksize=6 << 20))
head = s3.head_object(Bucket="pyb", Key="big")
assert head["ETag"].endswith('-4"') and head["ContentLength"] == len(big)
assert s3.get_object(Bucket="pyb", Key="big")["Body"].read() == big
got = s3.get_object(Bucket="pyb", Key="big", Range="bytes=6291450-6291465", IfMatch=head["ETag"])
assert got["ResponseMetadata"]["HTTPStatusCode"] == 206 and got["Body"].read() == big[6291450:6291466]
assert got["ContentRange"] == "bytes 6291450-6291465/20000000"
assert s3.get_object(Bucket="pyb", Key="big", Range="bytes=-5")["Body"].read() == big[-5:]
assert refused("InvalidRange", s3.get_object, Bucket="pyb", Key="big", Range="bytes=20000000-")["ResponseMetadata"]["HTTPStatusCode"] == 416
part = s3.get_object(Bucket="pyb", Key="big", PartNumber=4)
assert part["PartsCount"] == 4 and part["Body"].read() == big[3 * (6 << 20):]
down = io.BytesIO()
s3.download_fileobj("pyb", "big", down)
assert down.getvalue() == big
out = s3.copy_object(Bucket="pyb", Key="copy", CopySource={"Bucket": "pyb", "Key": "big"}, MetadataDirective="REPLACE", Metadata={"n": "1"})
assert out["CopyObjectResult"]["ETag"] == '"%s"' % hashlib.md5(big).hexdigest()
assert s3.get_object(Bucket="pyb", Key="copy")["Body"].read() == big
s3.copy({"Bucket": "pyb", "Key": "big"}, "pyb", "copy2", Config=TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20))
assert s3.get_object(Bucket="pyb", Key="copy2")["Body"].read() == big
s3.copy_object(Bucket="pyb", Key="copied " + key, CopySource={"Bucket": "pyb", "Key": key})
assert s3.get_object(Bucket="pyb", Key="copied " + key)["Metadata"] == {"a": "b", "x-y": "z"}
refused("PreconditionFailed", s3.copy_object, Bucket="pyb", Key="c", CopySource="pyb/a", CopySourceIfMatch='"x"')

# Conditions.
etag = s3.put_object(Bucket="pyb", Key="cond", Body=b"1", IfNoneMatch="*")["ETag"]
refused("PreconditionFailed", s3.put_object, Bucket="pyb", Key="cond", Body=b"2", IfNoneMatch="*")
refused("PreconditionFailed", s3.put_object, Bucket="pyb", Key="cond", Body=b"2", IfMatch='"x"')
s3.put_object(Bucket="pyb", Key="cond", Body=b"2", IfMatch=etag)
refused("304", s3.get_object, Bucket="pyb", Key="cond", IfNoneMatch=s3.head_object(Bucket="pyb", Key="cond")["ETag"])
refused("PreconditionFailed", s3.get_object, Bucket="pyb", Key="cond", IfMatch=etag)

# Uploads that are given up or wrong.
up = s3.create_multipart_upload(Bucket="pyb", Key="mp")["UploadId"]
e1 = s3.upload_part(Bucket="pyb", Key="mp", UploadId=up, PartNumber=1, Body=b"small")["ETag"]
e2 = s3.upload_part(Bucket="pyb", Key="mp", UploadId=up, PartNumber=2, Body=b"last")["ETag"]
assert [p["PartNumber"] for p in s3.list_parts(Bucket="pyb", Key="mp", UploadId=up)["Parts"]] == [1, 2]
assert s3.list_multipart_uploads(Bucket="pyb")["Uploads"][0]["Key"] == "mp"
parts = [{"PartNumber": 1, "ETag": e1}, {"PartNumber": 2, "ETag": e2}]
refused("EntityTooSmall", s3.complete_multipart_upload, Bucket="pyb", Key="mp", UploadId=up, MultipartUpload={"Parts": parts})
refused("InvalidPartOrder", s3.complete_multipart_upload, Bucket="pyb", Key="mp", UploadId=up, MultipartUpload={"Parts": parts[::-1]})
refused("InvalidPart", s3.complete_multipart_upload, Bucket="pyb", Key="mp", UploadId=up, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": e2}]})
s3.abort_multipart_upload(Bucket="pyb", Key="mp", UploadId=up)
refused("NoSuchUpload", s3.list_parts, Bucket="pyb", Key="mp", UploadId=up)

# Listings in pages, with a delimiter.
for i in range(25):
    s3.put_object(Bucket="pyb", Key=f"list/{i % 5}/{i:02}", Body=b"")
pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="pyb", Prefix="list/", PaginationConfig={"PageSize": 10}))
assert [len(p["Contents"]) for p in pages] == [10, 10, 5]
pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="pyb", Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": 2}))
assert [c["Prefix"] for p in pages for c in p["CommonPrefixes"]] == [f"list/{i}/" for i in range(5)]
pages = list(s3.get_paginator("list_objects").paginate(Bucket="pyb", Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": 2}))
assert [c["Prefix"] for p in pages for c in p["CommonPrefixes"]] == [f"list/{i}/" for i in range(5)]
after = s3.list_objects_v2(Bucket="pyb", Prefix="list/", StartAfter="list/3/99", MaxKeys=3)
assert [o["Key"] for o in after["Contents"]] == ["list/4/04", "list/4/09", "list/4/14"] and after["IsTruncated"]

# Presigned with version 4 and version 2; headers that the reader asks for.
for version in ("s3v4", "s3"):
    signer = boto3.client("s3", config=Config(signature_version=version))
    url = signer.generate_presigned_url("get_object", Params={"Bucket": "pyb", "Key": key, "ResponseContentType": "text/x-asked"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"1" and answer.headers["Content-Type"] == "text/x-asked", version
    url = signer.generate_presigned_url("put_object", Params={"Bucket": "pyb", "Key": "presigned"})
    with urllib.request.urlopen(urllib.request.Request(url, data=version.encode(), method="PUT")) as answer:
        assert answer.status == 200
    assert s3.get_object(Bucket="pyb", Key="presigned")["Body"].read() == version.encode()

# Bucket settings: kept and returned, or refused by name.
refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket="pyb")
s3.put_bucket_policy(Bucket="pyb", Policy='{"Version":"2012-10-17","Statement":[]}')
assert s3.get_bucket_policy(Bucket="pyb")["Policy"] == '{"Version":"2012-10-17","Statement":[]}'
rule = {"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["*"], "AllowedHeaders": ["a", "b"], "MaxAgeSeconds": 5}
s3.put_bucket_cors(Bucket="pyb", CORSConfiguration={"CORSRules": [rule]})
assert s3.get_bucket_cors(Bucket="pyb")["CORSRules"] == [rule]
s3.put_bucket_tagging(Bucket="pyb", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
assert s3.get_bucket_tagging(Bucket="pyb")["TagSet"] == [{"Key": "a", "Value": "b"}]
assert s3.get_bucket_encryption(Bucket="pyb")["ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
s3.put_public_access_block(Bucket="pyb", PublicAccessBlockConfiguration={"BlockPublicAcls": True})
assert s3.get_public_access_block(Bucket="pyb")["PublicAccessBlockConfiguration"]["BlockPublicPolicy"] is False
assert s3.get_bucket_acl(Bucket="pyb")["Grants"][0]["Permission"] == "FULL_CONTROL"
refused("NotImplemented", s3.put_bucket_versioning, Bucket="pyb", VersioningConfiguration={"Status": "Enabled"})
refused("NotImplemented", s3.put_bucket_notification_configuration, Bucket="pyb", NotificationConfiguration={"EventBridgeConfiguration": {}})
refused("NotImplemented", s3.put_bucket_website, Bucket="pyb", WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}})
assert "Status" not in s3.get_bucket_versioning(Bucket="pyb")

# Away with it.
refused("BucketNotEmpty", s3.delete_bucket, Bucket="pyb")
bucket = boto3.resource("s3").Bucket("pyb")
bucket.objects.all().delete()
assert list(bucket.objects.all()) == []
s3.delete_bucket(Bucket="pyb")
assert "pyb" not in [b["Name"] for b in s3.list_buckets()["Buckets"]]
print("done")
