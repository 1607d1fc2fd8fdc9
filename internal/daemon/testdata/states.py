"""Every action of Step Functions, good and bad, as states.json lists them, by boto3 ("boto3") or by the AWS CLI ("cli").

An assertion that fails ends it. The list of actions is the client's own model, so that none is forgotten.
"""
import contextlib, importlib, io, json, re, subprocess, sys, time
import boto3
from botocore import xform_name
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::000000000000:role/r"
PASS = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": [1], "End": true}}}'
WAIT = '{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": true}}}'
LACKING = '{"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:polly:describeVoices", "Parameters": {}, "End": true}}}'
MAP = ('{"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", '
       '"ExecutionType": "STANDARD"}, "StartAt": "S", "States": {"S": STATE}}}}}')
CONSTANTS = {"ROLE": ROLE, "PASS": PASS, "WAIT": WAIT, "LACKING": LACKING, "MAP": MAP.replace("STATE", '{"Type": "Pass", "End": true}'),
             "SLOWMAP": MAP.replace("STATE", '{"Type": "Wait", "Seconds": 600, "End": true}')}


def fill(v, names):
    if isinstance(v, str):
        return re.sub(r"\{(\w+)\}", lambda m: names[m[1]], v)
    if isinstance(v, dict):
        return {k: fill(x, names) for k, x in v.items()}
    return [fill(x, names) for x in v] if isinstance(v, list) else v


def at(doc, path):
    for step in re.findall(r"\w+", path):
        if isinstance(doc, list):
            doc = doc[int(step)] if int(step) < len(doc) else None
        else:
            doc = doc.get(step) if doc is not None else None
    return doc


def by_boto3(client, action, params):
    try:
        return getattr(client, xform_name(action))(**params), None
    except ClientError as e:
        assert e.response["ResponseMetadata"]["HTTPStatusCode"] < 500, e
        return None, e.response["Error"]["Code"]


def cli(args):
    """Runs the AWS CLI: in this process where it is a package of this Python, which is much faster."""
    try:
        driver = cli.driver = getattr(cli, "driver", None) or importlib.import_module("awscli.clidriver").create_clidriver()
    except ImportError:
        p = subprocess.run(["aws", *args], capture_output=True, text=True)
        return p.returncode, p.stdout, p.stderr
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = driver.main(args)
    text = []
    for f in (out, err):
        f.flush()
        text.append(f.buffer.getvalue().decode())
    return code, *text


def by_cli(_, action, params):
    code, out, err = cli(["stepfunctions", xform_name(action, "-"), "--cli-input-json", json.dumps(params), "--output", "json"])
    if code == 0:
        return json.loads(out) if out.strip() else {}, None
    m = re.search(r"An error occurred \((\w+)\)", err)
    assert m, f"{action}: exit code {code}\n{out}{err}"
    return None, m[1]


def main(how):
    client = boto3.client("stepfunctions")
    call = {"boto3": by_boto3, "cli": by_cli}[how]
    names = {**CONSTANTS, "p": how}
    good, bad = set(), set()
    with open("testdata/states.json", encoding="utf-8") as f:
        steps = json.load(f)
    for n, s in enumerate(steps):
        action = s["action"]
        params = fill(s["params"], names)
        where = f"step {n}, {action} {params}"
        for _ in range(300):
            answer, code = call(client, action, params)
            if code is not None or all(at(answer, k) == fill(v, names) for k, v in s.get("until", {}).items()):
                break
            time.sleep(0.1)  # as a user's program would
        assert code == s.get("error"), f"{where}: {code} {answer}"
        (bad if code else good).add(action)
        for path, want in {**s.get("until", {}), **s.get("expect", {})}.items():
            assert at(answer, path) == fill(want, names), f"{where}: {path} is {at(answer, path)!r}, not {fill(want, names)!r}"
        for name, path in s.get("save", {}).items():
            names[name] = at(answer, path)
            assert names[name], f"{where}: no {path} in {answer}"
    every = set(client.meta.service_model.operation_names)
    assert len(every) >= 37 and good == every and bad == every, f"never good: {every - good}; never bad: {every - bad}"
    print(f"{len(every)} actions")


main(sys.argv[1])
