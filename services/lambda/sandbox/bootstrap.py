"""The Python runtime: takes invocations from the Runtime API and gives them to the handler, as AWS's own does."""
import sys

sys.path.pop(0)  # this file's folder

import decimal
import http.client
import importlib
import json
import logging
import os
import time
import traceback

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
PREFIX = "/2018-06-01/runtime"


class Identity:
    cognito_identity_id = None
    cognito_identity_pool_id = None


class Client:
    def __init__(self, doc):
        self.__dict__.update(doc)


class ClientContext:
    def __init__(self, doc):
        self.custom = doc.get("custom")
        self.env = doc.get("env")
        self.client = Client(doc.get("client") or {})


class Context:
    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"])
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = Identity()
        client = headers["Lambda-Runtime-Client-Context"]
        self.client_context = ClientContext(json.loads(client)) if client else None

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline - int(time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))


class RequestFilter(logging.Filter):
    request_id = ""

    def filter(self, record):
        record.aws_request_id = RequestFilter.request_id
        return True


class Output:
    """Whatever sys.stdout is at the moment."""

    def write(self, text):
        sys.stdout.write(text)

    def flush(self):
        sys.stdout.flush()


def set_up_logging():
    handler = logging.StreamHandler(Output())
    formatter = logging.Formatter(
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(RequestFilter())
    logging.getLogger().addHandler(handler)


class Fault(Exception):
    def __init__(self, kind, message, stack=()):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.stack = list(stack)


def load(name):
    module_name, dot, function = name.rpartition(".")
    if not dot:
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as e:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, e))
    except SyntaxError as e:
        where = '  File "%s" Line %s\n    %s' % (e.filename, e.lineno, (e.text or "").strip())
        raise Fault("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module_name, e), [where])
    try:
        return getattr(module, function)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function, module_name))


def plain(value):
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def as_task(frame):
    """AWS: the code lies in /var/task, and stack traces say so, wherever it lies here."""
    root = os.environ["LAMBDA_TASK_ROOT"].rstrip("/")
    return frame.replace('File "%s/' % root, 'File "/var/task/', 1)


def describe(error, request_id):
    """An error as AWS answers it. The frames of this file are not the author's."""
    if isinstance(error, Fault):
        kind, message, frames = error.kind, error.message, [as_task(f) for f in error.stack]
    else:
        kind, message = type(error).__name__, str(error)
        stack = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__ and not f.filename.startswith("<frozen")]
        frames = [as_task(f) for f in traceback.format_list(stack)]
    lines = ["[ERROR] %s: %s" % (kind, message)]
    if frames:
        lines.append("Traceback (most recent call last):")
        lines.extend(f.rstrip("\n") for f in frames)
    print("\n".join(lines))
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": frames}


def encode(value):
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def call(connection, method, path, body=None, headers=None):
    connection.request(method, PREFIX + path, body, headers or {})
    response = connection.getresponse()
    return response.headers, response.read()


def main():
    root = os.environ["LAMBDA_TASK_ROOT"]
    sys.path.insert(0, root)
    set_up_logging()
    connection = http.client.HTTPConnection(API)
    try:
        handler = load(os.environ["_HANDLER"])
    except BaseException as e:  # also sys.exit() of a module
        if isinstance(e, SystemExit):
            raise
        document = describe(e, "")
        sys.stdout.flush()
        call(connection, "POST", "/init/error", encode(document), {"Lambda-Runtime-Function-Error-Type": document["errorType"]})
        sys.exit(1)
    while True:
        headers, body = call(connection, "GET", "/invocation/next")
        context = Context(headers)
        RequestFilter.request_id = context.aws_request_id
        os.environ["_X_AMZN_TRACE_ID"] = headers.get("Lambda-Runtime-Trace-Id", "")
        path = "/invocation/%s/" % context.aws_request_id
        try:
            try:
                event = json.loads(body)
            except ValueError as e:
                raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % e)
            result = handler(event, context)
            try:
                answer = json.dumps(result, ensure_ascii=False, default=plain).encode("utf-8")
            except (TypeError, ValueError) as e:
                raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % e)
            path, extra = path + "response", {"Content-Type": "application/json"}
        except Exception as e:
            document = describe(e, context.aws_request_id)
            answer = encode(document)
            path, extra = path + "error", {"Lambda-Runtime-Function-Error-Type": document["errorType"]}
        sys.stdout.flush()
        sys.stderr.flush()
        call(connection, "POST", path, answer, extra)


main()
