"""The pipeline's first program: chooses how many clusters the readings of the traffic sensors fall into, and which.

    spark-submit preprocessing.py INPUT MAXK MODE OUTPUT [SEED]

INPUT   folder, file or glob of headerless CSV: highway, station, sensor, day of year, day of week (0 is Sunday), minute,
        volume, speed, occupancy
MAXK    the largest number of clusters to try
MODE    TRAINING or any name: all rows; WEEKDAYS, WEEKENDS: the rows of those days
OUTPUT  folder; holds afterwards
    table.csv      for each k and cluster: cost, count, mean and deviation of volume, speed and occupancy
    manifest.json  the chosen k, its centres and the scale: what model.py reads; written last

Readings of zeros are left out. The columns are standardised, so that the one with the largest numbers does not decide
alone. Equal input and seed give equal centres.
"""
import io
import json
import sys

import numpy as np

DAY, WEEKDAY, VOLUME = 3, 4, 6
RESTARTS = 4      # beginnings for each k; the cheapest end counts
ITERATIONS = 8    # passes over all data at most, after the sample has been settled
SAMPLE = 3000     # readings of each partition that stand for the rest at the beginning


# The same in model.py: each program is one file, and a test compares them.

def parse(lines):
    """Lines of CSV as rows of nine numbers, and how many lines were none."""
    lines = [line for line in lines if line.strip()]
    if not lines:
        return np.empty((0, 9)), 0
    try:
        rows = np.loadtxt(io.StringIO("\n".join(lines)), delimiter=",", ndmin=2)
        if rows.shape[1] == 9 and np.isfinite(rows).all():
            return rows, 0
    except ValueError:
        pass
    good = []
    for line in lines:
        try:
            row = [float(x) for x in line.split(",")]
        except ValueError:
            continue
        if len(row) == 9 and np.isfinite(row).all():
            good.append(row)
    return np.array(good).reshape(-1, 9), len(lines) - len(good)


def select(rows, mode):
    """The rows that a processing mode is about."""
    weekend = (rows[:, WEEKDAY] == 0) | (rows[:, WEEKDAY] == 6)
    if mode == "WEEKDAYS":
        return rows[~weekend]
    if mode == "WEEKENDS":
        return rows[weekend]
    return rows


# ---- k-means --------------------------------------------------------------------------------------------------------

def begin(sample, k, random):
    """k readings that lie far from each other (k-means++); fewer when there are not so many different ones."""
    centres = [sample[random.integers(len(sample))]]
    while len(centres) < k:
        d = ((sample[:, None, :] - np.array(centres)[None, :, :]) ** 2).sum(axis=2).min(axis=1)
        if d.sum() <= 0:
            break
        centres.append(sample[random.choice(len(sample), p=d / d.sum())])
    return np.array(centres)


def step(x, centres):
    """One partition's share of an iteration: count, sum and sum of squares of each cluster, and the cost."""
    d = ((x[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    nearest = d.argmin(axis=1)
    k = len(centres)
    n = np.bincount(nearest, minlength=k).astype(float)
    s = np.column_stack([np.bincount(nearest, x[:, i], minlength=k) for i in range(3)])
    q = np.column_stack([np.bincount(nearest, x[:, i] ** 2, minlength=k) for i in range(3)])
    return n, s, q, d[np.arange(len(x)), nearest].sum() if len(x) else 0.0


def add(a, b):
    return [tuple(x + y for x, y in zip(p, q)) for p, q in zip(a, b)]


def choose(costs):
    """The elbow: the k whose cost lies furthest below the line from the first to the last. costs is {k: cost}."""
    ks = sorted(costs)
    first, last = ks[0], ks[-1]
    if last - first < 2 or costs[first] <= costs[last]:
        return last if costs[last] < costs[first] else first
    def below(k):
        line = costs[first] + (costs[last] - costs[first]) * (k - first) / (last - first)
        return line - costs[k]
    return max(ks, key=lambda k: (below(k), -k))


def settle(iterate, tables, most, still_at=5e-3):
    """Moves all tables of centres until they stand still, side by side; iterate sums step over the data for each."""
    moving = list(range(len(tables)))
    for _ in range(most):
        if not moving:
            break
        still = []
        for i, (n, s, _, _) in zip(moving, iterate([tables[i] for i in moving])):
            new = np.where(n[:, None] > 0, s / np.maximum(n, 1)[:, None], tables[i])
            if np.abs(new - tables[i]).max() < still_at:
                still.append(i)
            tables[i] = new
        moving = [i for i in moving if i not in still]
    return tables


def cluster(iterate, sample, maxk, seed):
    """The clusters for each k from 1 to maxk. The best beginning is found on the sample, the rest on all data."""
    tables = []
    for k in range(1, maxk + 1):
        starts = [begin(sample, k, np.random.default_rng([seed, k, r])) for r in range(RESTARTS if k > 1 else 1)]
        starts = [c for c in starts if len(c) == k]
        if starts:
            local = lambda some: [step(sample, c) for c in some]
            settled = settle(local, starts, 100, 1e-4)
            tables.append(min(zip((s[3] for s in local(settled)), range(len(settled)), settled))[2])
    tables = settle(iterate, tables, ITERATIONS)
    best = {}
    for centres, (n, s, q, cost) in zip(tables, iterate(tables)):
        if n.min() > 0:
            order = np.lexsort(centres.T[::-1])  # does not depend on how they were found
            best[len(centres)] = {"centres": centres[order], "count": n[order], "sum": s[order], "squares": q[order], "cost": cost}
    return best


def table(mode, source, lines, selected, best, mean, scale):
    """The original's table, with headings: one line for each cluster of each k. WSSSE is in standardised units."""
    out = [f"----Input file: {source}; {lines} lines, {selected} selected. ",
           "runid,WSSSE,k,cluster,count,mn:vol,mn:spd,mn:occ,stddv:vol,stddv:spd,stddv:occ"]
    for k, t in sorted(best.items()):
        for c in range(k):
            n = t["count"][c]
            m = t["sum"][c] / n
            variance = np.maximum(0, t["squares"][c] - n * m ** 2) / max(1, n - 1)
            figures = np.concatenate([m * scale + mean, np.sqrt(variance) * scale])
            out.append("%s,%.1f,%d,%d,%d,%s" % (mode, t["cost"], k, c, n, ",".join("%.1f" % f for f in figures)))
    return "\n".join(out) + "\n"


# ---- Spark ----------------------------------------------------------------------------------------------------------

def filesystem(sc, path):
    p = sc._jvm.org.apache.hadoop.fs.Path(path)
    return p.getFileSystem(sc._jsc.hadoopConfiguration()), p


def write(sc, path, text):
    fs, p = filesystem(sc, path)
    out = fs.create(p, True)
    out.write(bytearray(text.encode()))
    out.close()


def load(sc, path, mode):
    """The input as few arrays instead of many rows: one (rows, refused lines) for each partition."""
    def block(lines):
        rows, refused = parse(list(lines))
        yield select(rows, mode), refused
    return sc.textFile(path, max(2, sc.defaultParallelism)).mapPartitions(block)


def main(argv):
    if len(argv) not in (5, 6):
        raise SystemExit(__doc__)
    source, maxk, mode, output = argv[1], int(argv[2]), argv[3], argv[4].rstrip("/")
    seed = int(argv[5]) if len(argv) == 6 else 1
    if maxk < 1:
        raise ValueError(f"the largest k must be 1 or more, not {maxk}")
    from pyspark import SparkContext, StorageLevel
    sc = SparkContext(appName="preprocessing " + mode)
    fs, p = filesystem(sc, output)
    fs.delete(p, True)

    blocks = load(sc, source, mode).persist(StorageLevel.MEMORY_AND_DISK)

    def measure(block):
        rows, refused = block
        x = rows[:, VOLUME:]
        x = x[(x != 0).any(axis=1)]
        return len(rows), refused, len(x), x.sum(axis=0), (x ** 2).sum(axis=0), np.unique(rows[:, DAY])

    lines, refused, selected, s, q, days = blocks.map(measure).reduce(
        lambda a, b: tuple(x + y for x, y in zip(a[:5], b[:5])) + (np.union1d(a[5], b[5]),))
    if selected == 0:
        raise ValueError(f"{source} holds no reading for the mode {mode} that is not zero")
    mean = s / selected
    scale = np.sqrt(np.maximum(0, q / selected - mean ** 2))
    scale[scale < 1e-9] = 1.0

    def standardise(block):
        x = block[0][:, VOLUME:]
        return (x[(x != 0).any(axis=1)] - mean) / scale

    points = blocks.map(standardise).persist(StorageLevel.MEMORY_AND_DISK)
    samples = points.map(lambda x: x[::max(1, len(x) // SAMPLE)]).collect()

    def iterate(tables):
        return points.map(lambda x: [step(x, centres) for centres in tables]).reduce(add)

    best = cluster(iterate, np.vstack(samples), maxk, seed)
    k = choose({k: t["cost"] for k, t in best.items()})
    write(sc, output + "/table.csv", table(mode, source, lines, selected, best, mean, scale))
    write(sc, output + "/manifest.json", json.dumps({
        "program": "preprocessing", "mode": mode, "input": source, "output": output, "seed": seed,
        "rows": lines, "selected": selected, "refusedLines": refused, "days": [int(d) for d in days],
        "k": k, "costs": [{"k": i, "cost": round(float(t["cost"]), 3)} for i, t in sorted(best.items())],
        "centres": [[round(float(v), 6) for v in c] for c in best[k]["centres"] * scale + mean],
        "scale": [round(float(v), 6) for v in scale],
    }, indent=1) + "\n")
    print(f"{mode}: {lines} readings, {selected} of moving traffic, k = {k} of 1 to {maxk}")
    sc.stop()


if __name__ == "__main__":
    main(sys.argv)
