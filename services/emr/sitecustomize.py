"""Every Python program of a cluster starts with this: what a program says to SparkConf about YARN, or about executors
larger than a worker of this cluster, is put right, as spark-submit's options are. Each change is a line of the step's
controller log. Without it the program would fail, or wait for executors that cannot come."""
import os
import sys


def _note(text):
    try:
        with open(os.environ["MAYFLY_CONTROLLER"], "a") as f:
            f.write("in the program: " + text + "\n")
    except (KeyError, OSError):
        pass


def _megabytes(size):
    size = str(size).strip().lower().rstrip("b")
    units = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}
    return float(size[:-1]) * units[size[-1]] if size[-1:] in units else float(size) / (1 << 20)


def _right(key, value):
    """What is to be set instead of value; None: nothing."""
    if key == "spark.master" and str(value).startswith("yarn"):
        _note("master %s is the cluster's own" % value)
        return None
    if key == "spark.submit.deployMode" and value != "client":
        _note("deploy mode %s is client" % value)
        return None
    try:
        cores, memory = (int(n) for n in os.environ["MAYFLY_WORKER"].split())
        if key == "spark.executor.cores" and int(value) > cores:
            _note("spark.executor.cores %s becomes %d: a worker has no more" % (value, cores))
            return str(cores)
        if key == "spark.executor.memory" and _megabytes(value) > memory:
            _note("spark.executor.memory %s becomes %dm: there is no more" % (value, memory))
            return "%dm" % memory
    except (KeyError, ValueError):
        pass
    return value


class _Finder:
    """Waits for pyspark.conf to be imported; programs without Spark pay nothing."""

    def find_spec(self, name, path=None, target=None):
        if name != "pyspark.conf":
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec
        spec = find_spec(name)
        if spec is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader:
    """The loader of one module; the real one may serve many (a zip file)."""

    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        return getattr(self.real, name)

    def create_module(self, spec):
        return self.real.create_module(spec)

    def exec_module(self, module):
        self.real.exec_module(module)
        plain = module.SparkConf.set

        def set(self, key, value):
            right = _right(key, value)
            return self if right is None else plain(self, key, right)

        module.SparkConf.set = set


sys.meta_path.insert(0, _Finder())
