"""Stands in for either program in a rehearsal of failure (`mayfly run --fail preprocessing|model`).

It does what a program does until it meets data that it cannot work with: the session starts, the input is read, an
exception ends it. Nothing but the program is changed for the rehearsal.
"""
import sys


def main(argv):
    from pyspark import SparkContext
    sc = SparkContext(appName="broken")
    lines = sc.textFile(argv[1]).count()
    raise ValueError(f"deliberate failure after reading {lines} lines of {argv[1]}")


if __name__ == "__main__":
    main(sys.argv)
