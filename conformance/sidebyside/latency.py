"""latency.py ENDPOINT ACCOUNT [N]: StartExecution until DescribeExecution says SUCCEEDED, three Pass states, one client.

Standard library only, one connection, no pause between two looks: what is measured is the server.
"""
import http.client
import json
import sys
import time
import urllib.parse

endpoint, account = sys.argv[1], sys.argv[2]
runs = int(sys.argv[3]) if len(sys.argv) > 3 else 300
url = urllib.parse.urlsplit(endpoint)
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
TIME = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
SIGNATURE = f"AWS4-HMAC-SHA256 Credential=test/{TIME[:8]}/us-east-1/states/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + "0" * 64


def call(operation, **parameters):
    connection.request("POST", "/", json.dumps(parameters), {
        "X-Amz-Target": "AWSStepFunctions." + operation, "Content-Type": "application/x-amz-json-1.0", "Authorization": SIGNATURE,
        "X-Amz-Date": TIME})
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        raise SystemExit(f"{operation}: {response.status} {text[:300]}")
    return json.loads(text)


states = {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Pass", "Next": "C"}, "C": {"Type": "Pass", "End": True}}
machine = call("CreateStateMachine", name=f"latency-{time.time_ns()}", definition=json.dumps({"StartAt": "A", "States": states}),
               roleArn=f"arn:aws:iam::{account}:role/r")["stateMachineArn"]
took = []
for n in range(runs):
    began = time.perf_counter()
    execution = call("StartExecution", stateMachineArn=machine, name=f"run-{n}", input="{}")["executionArn"]
    while (status := call("DescribeExecution", executionArn=execution)["status"]) == "RUNNING":
        pass
    if status != "SUCCEEDED":
        raise SystemExit(f"{execution}: {status}")
    took.append((time.perf_counter() - began) * 1000)
took.sort()
print(f"three Pass states: p50 {took[len(took) // 2]:.1f} ms, p99 {took[len(took) * 99 // 100]:.1f} ms ({runs} executions, one client)")
