"""Runs the model program's detector on a data set without Spark: detect.py PROGRAMS INPUT MODE; prints the anomalies."""
import sys

sys.path.insert(0, sys.argv[1])
import numpy as np
import model

with open(sys.argv[2]) as f:
    rows, _ = model.parse(f.read().splitlines())
rows = model.select(rows, sys.argv[3])
for station in np.unique(rows[:, model.STATION]):
    for line in model.anomaly_lines(*model.detect_sorted([rows[rows[:, model.STATION] == station]])):
        print(line)
