"""The pipeline's second program: scores every reading of the traffic sensors and names the faulty ones.

    spark-submit model.py INPUT PREPROCESSING MODE OUTPUT

INPUT          folder, file or glob of headerless CSV: highway, station, sensor, day of year, day of week (0 is Sunday),
               minute, volume, speed, occupancy
PREPROCESSING  what preprocessing.py wrote for the same input and mode: its manifest names k, the centres and the scale
MODE           TRAINING or any name: all rows; WEEKDAYS, WEEKENDS: the rows of those days
OUTPUT         folder; holds afterwards
    scores/         the nine columns, cluster, its centre, Mahalanobis distance to it; 14 columns of two decimals.
                    Rows of zeros belong to no cluster: -1, and nan as their distance
    anomalies/      the readings of faulty sensors, why and how sure; the manifest names the columns
    manifest.json   counts per kind and per sensor; written last, so that it vouches for the rest

Two questions are kept apart. "Is this reading far from its cluster?" is the distance, as the original program asked
it; true congestion is far too. "Is the sensor at fault?" asks what a road cannot do: occupancy follows from count and
speed, traffic moves at its free speed while the road is empty, no two intervals are equal to the digit, and a lane is
not empty for long while its neighbours are not.
"""
import io
import json
import sys

import numpy as np

COLUMNS = ["highway", "sensorstation", "sensorid", "dayofyear", "dow", "time", "volume", "speed", "occupancy"]
STATION, SENSOR, DAY, WEEKDAY, MINUTE, VOLUME, SPEED, OCCUPANCY = range(1, 9)
THRESHOLD = 6.0
WINDOW = 13   # readings that are weighed together
ALIKE = 1.5   # how far a reading must err itself to be judged by its neighbours in time
FAR = 4.033   # the root of the 99.9th percentile of chi-squared with 3 degrees of freedom
KINDS = ["", "dead", "repeated", "range", "speed", "occupancy", "count"]
DEAD, REPEATED, RANGE, SPEEDING, OCCUPIED, COUNTED = range(1, 7)


# ---- rows -----------------------------------------------------------------------------------------------------------

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


# ---- distances ------------------------------------------------------------------------------------------------------

def assign(x, centres, scale):
    """The nearest centre of each row, all columns counting alike; -1 for rows of zeros."""
    d = ((x[:, None, :] - centres[None, :, :]) / scale) ** 2
    nearest = d.sum(axis=2).argmin(axis=1)
    nearest[(x == 0).all(axis=1)] = -1
    return nearest


def moments(x, cluster, k):
    """Per cluster: count, sum and sum of products, which add up over partitions."""
    n, s, p = np.zeros(k), np.zeros((k, 3)), np.zeros((k, 3, 3))
    for c in range(k):
        members = x[cluster == c]
        n[c], s[c], p[c] = len(members), members.sum(axis=0), members.T @ members
    return n, s, p


def inverse_covariances(n, s, p):
    """The inverse of each cluster's unbiased covariance; a pseudo-inverse where a cluster is flat or has one member."""
    out = np.zeros_like(p)
    for c in range(len(n)):
        if n[c] > 1:
            out[c] = np.linalg.pinv((p[c] - np.outer(s[c], s[c]) / n[c]) / (n[c] - 1), hermitian=True)
    return out


def distances(x, cluster, centres, inverses):
    """Mahalanobis distance of each row to the centre of its cluster; nan for rows of zeros."""
    d = x - centres[cluster]
    out = np.sqrt(np.maximum(0, np.einsum("ni,nij,nj->n", d, inverses[cluster], d)))
    out[cluster < 0] = np.nan
    return out


def score_lines(rows, cluster, centres, distance):
    """The original's 14 columns, two decimals each."""
    where = np.where(cluster[:, None] < 0, 0.0, centres[cluster])
    out = io.StringIO()
    np.savetxt(out, np.column_stack([rows, cluster, where, distance]), fmt="%.2f", delimiter=",")
    return out.getvalue().splitlines()


# ---- faults ---------------------------------------------------------------------------------------------------------

def spread(values, classes, size):
    """Per class: median and robust deviation. Thin classes borrow from all values."""
    middle, deviation = np.zeros(size), np.ones(size)
    if len(values) == 0:
        return middle, deviation

    def robust(v):
        m = np.median(v)
        return m, 1.4826 * np.median(np.abs(v - m))

    m, d = robust(values)
    middle[:], deviation[:] = m, max(d, 1e-3)
    for c in range(size):
        members = values[classes == c]
        if len(members) >= 30:
            middle[c], d = robust(members)
            deviation[c] = max(d, 1e-3)
    return middle, deviation


def runs(same):
    """For every element of each row of a table: the length of the run of True that it is in, and the run's number."""
    edge = np.ones_like(same)
    edge[:, 1:] = same[:, 1:] != same[:, :-1]
    number = np.cumsum(edge.ravel()).reshape(same.shape) - 1
    length = np.bincount(number.ravel())
    return np.where(same, length[number], 0), number


def rolling(values, width):
    """Sum over a window of the given width that is centred on each element of each row of a table."""
    padded = np.pad(values, ((0, 0), (width // 2 + 1, width // 2)))
    total = np.cumsum(padded, axis=1)
    return total[:, width:] - total[:, :-width]


def detect(rows):
    """Score and kind of fault of each reading of ONE station: peers in other lanes are part of the evidence.

    A score of THRESHOLD or more is a fault. Nothing here knows how the data came to be; free speed, effective vehicle
    length and noise are read from each sensor's own medians.
    """
    sensors, lane = np.unique(rows[:, SENSOR], return_inverse=True)
    stamp = rows[:, DAY] * 1440 + rows[:, MINUTE]
    steps = np.diff(np.unique(stamp))
    interval = np.median(steps) if len(steps) else 5.0
    bins = np.rint((stamp - stamp.min()) / interval).astype(int)
    shape = (len(sensors), bins.max() + 1)
    v, s, o = (np.full(shape, np.nan) for _ in range(3))
    v[lane, bins], s[lane, bins], o[lane, bins] = rows[:, VOLUME], rows[:, SPEED], rows[:, OCCUPANCY]
    there = ~np.isnan(v)
    v, s, o = np.nan_to_num(v), np.nan_to_num(s), np.nan_to_num(o)
    zero = there & (v == 0) & (s == 0) & (o == 0)
    moving = there & (v > 0) & (s > 0) & (o > 0)
    size = np.minimum(np.log2(np.maximum(v, 1)) * 2, 12).astype(int)  # classes of volume: noise depends on the count

    score, kind = np.zeros(shape), np.zeros(shape, int)

    def raise_to(value, k, where):
        better = where & (value > score)
        score[better] = np.broadcast_to(value, shape)[better]
        kind[better] = np.broadcast_to(k, shape)[better]

    # Occupancy that count and speed imply, against the reported one: the ratio is the sensor's effective length.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(moving, np.log(o * s / v), 0.0)
    free = np.zeros(shape)
    for i in range(len(sensors)):
        steady = moving[i] & (v[i] >= 5)
        if not steady.any():
            steady = moving[i]
        if not steady.any():
            continue
        ratio[i] -= np.median(ratio[i][steady])
        empty = steady & (o[i] < 8)
        free[i] = np.median(s[i][empty]) if empty.sum() >= 30 else np.percentile(s[i][steady], 85)
    middle, deviation = spread(ratio[moving], size[moving], 13)
    # A small occupancy has few digits: its last one is part of the noise.
    noise = np.sqrt(deviation[size] ** 2 + (0.05 / np.maximum(o, 0.05)) ** 2)
    z = np.where(moving, (ratio - middle[size]) / noise, 0.0)
    # One row proves little at night; an hour of rows that all err alike does.
    weight = moving / noise
    together = rolling(np.clip(z, -8, 8) * weight, WINDOW) / np.sqrt(np.maximum(1e-9, rolling(weight ** 2, WINDOW)))
    alike = (np.sign(together) == np.sign(z)) & (np.abs(z) > ALIKE)
    mismatch = np.where(alike, np.maximum(np.abs(z), np.abs(together)), np.abs(z))
    raise_to(mismatch, np.where(z > 0, OCCUPIED, COUNTED), moving)

    # Speed: on an empty road it is the free speed; above it, it is nowhere.
    low = moving & (o < 8)
    middle, deviation = spread((s - free)[low], size[low], 13)
    fast = (s - free - middle[size]) / deviation[size]
    raise_to(-fast, SPEEDING, low & (z < -1))  # truly slow traffic is dense: its occupancy agrees
    raise_to(fast, SPEEDING, moving)

    # What no road does.
    raise_to(np.maximum(20.0, score + 1), RANGE, there & ((v * 60 / interval > 3000) | (s > 110) | (o > 100) | (v < 0) | (s < 0) | (o < 0)))
    raise_to(np.full(shape, 15.0), OCCUPIED, there & (v == 0) & (o > 0))
    raise_to(np.full(shape, 15.0), SPEEDING, there & (v == 0) & (o == 0) & (s > 0))
    raise_to(np.full(shape, 15.0), COUNTED, there & (v > 0) & ((s == 0) | (o == 0)))

    # The same reading again and again, to the digit.
    same = np.zeros(shape, bool)
    same[:, 1:] = (v[:, 1:] == v[:, :-1]) & (s[:, 1:] == s[:, :-1]) & (o[:, 1:] == o[:, :-1])
    same &= there & ~zero
    length, _ = runs(same)
    length[:, :-1] = np.maximum(length[:, :-1], np.where(same[:, :-1], 0, length[:, 1:]))  # the row that is repeated
    raise_to(3.0 * length, REPEATED, (length >= 2) & ~zero)

    # Nothing passes here while the neighbours count: the number that should have been seen, against none.
    alive = there & ~zero
    peers = alive.sum(axis=0) - alive
    expected = np.where(peers > 0, (v.sum(axis=0) - v) / np.maximum(1, peers), 0.0)
    day = int(round(1440 / interval))
    offset = int(round((stamp.min() % 1440) / interval))
    slot = (np.arange(shape[1]) + offset) % day
    weekend = np.zeros(shape[1], bool)
    weekend[bins] = (rows[:, WEEKDAY] == 0) | (rows[:, WEEKDAY] == 6)
    usual = np.zeros(shape)
    for i in range(len(sensors)):  # alone, or all silent: the usual count at this time of such a day
        for group in (weekend, ~weekend):
            table = np.full((day, shape[1] // day + 2), np.nan)
            at = np.nonzero(there[i] & group)[0]
            table[slot[at], (at + offset) // day] = v[i, at]
            filled = ~np.isnan(table).all(axis=1)
            typical = np.zeros(day)
            typical[filled] = np.nanmedian(table[filled], axis=1)
            usual[i, group] = typical[slot[group]]
    expected = np.where(expected > 0, expected, usual)
    length, number = runs(zero)
    missed = np.bincount(number.ravel(), (expected * zero).ravel())
    raise_to(missed[number] / 2, DEAD, zero & (length >= 2))
    return score[lane, bins], kind[lane, bins]


def detect_sorted(blocks):
    """All rows of one station, ordered by sensor and time, with score and kind."""
    rows = np.vstack(list(blocks))
    rows = rows[np.lexsort((rows[:, MINUTE], rows[:, DAY], rows[:, SENSOR]))]
    score, kind = detect(rows)
    return rows, np.where(score >= THRESHOLD, score, 0.0), np.where(score >= THRESHOLD, kind, 0)


def anomaly_lines(rows, score, kind):
    """The faulty readings of a station; ids and counts as the integers that they are."""
    out = []
    for i in np.nonzero(kind)[0]:
        r = rows[i]
        out.append("%d,%d,%d,%d,%d,%d,%s,%.2f" % (r[0], r[1], r[2], r[DAY], r[MINUTE], r[VOLUME],
                                                 "%g,%g,%s" % (r[SPEED], r[OCCUPANCY], KINDS[kind[i]]), score[i]))
    return out


ANOMALY_COLUMNS = "highway,sensorstation,sensorid,dayofyear,time,volume,speed,occupancy,kind,score"


# ---- Spark ----------------------------------------------------------------------------------------------------------

def filesystem(sc, path):
    p = sc._jvm.org.apache.hadoop.fs.Path(path)
    return p.getFileSystem(sc._jsc.hadoopConfiguration()), p


def write(sc, path, text):
    fs, p = filesystem(sc, path)
    out = fs.create(p, True)
    out.write(bytearray(text.encode()))
    out.close()


def read(sc, path):
    fs, p = filesystem(sc, path)
    stream = fs.open(p)
    try:
        return sc._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8")
    finally:
        stream.close()


def load(sc, path, mode):
    """The input as few arrays instead of many rows: one (rows, refused lines) for each partition."""
    def block(lines):
        rows, refused = parse(list(lines))
        yield select(rows, mode), refused
    return sc.textFile(path, max(2, sc.defaultParallelism)).mapPartitions(block)


def main(argv):
    if len(argv) != 5:
        raise SystemExit(__doc__)
    source, preprocessing, mode, output = argv[1], argv[2].rstrip("/"), argv[3], argv[4].rstrip("/")
    from pyspark import SparkContext, StorageLevel
    sc = SparkContext(appName="model " + mode)
    chosen = json.loads(read(sc, preprocessing + "/manifest.json"))
    for name, here in (("input", source), ("mode", mode)):
        if chosen[name] != here:
            raise ValueError(f"{preprocessing} was made for the {name} {chosen[name]}, not for {here}")
    centres, scale = np.array(chosen["centres"]), np.array(chosen["scale"])
    k = len(centres)
    fs, p = filesystem(sc, output)
    fs.delete(p, True)

    blocks = load(sc, source, mode).persist(StorageLevel.MEMORY_AND_DISK)

    def measure(block):
        rows, refused = block
        x = rows[:, VOLUME:]
        return moments(x, assign(x, centres, scale), k) + (len(rows), refused, np.unique(rows[:, DAY]))

    def add(a, b):
        return tuple(x + y for x, y in zip(a[:5], b[:5])) + (np.union1d(a[5], b[5]),)

    n, s, p, total, refused, days = blocks.map(measure).reduce(add)
    if total == 0:
        raise ValueError(f"{source} holds no reading for the mode {mode}")
    inverses = inverse_covariances(n, s, p)
    far = sc.accumulator(0)

    def score(block):
        rows, _ = block
        x = rows[:, VOLUME:]
        cluster = assign(x, centres, scale)
        d = distances(x, cluster, centres, inverses)
        far.add(int((d > FAR).sum()))
        return score_lines(rows, cluster, centres, d)

    blocks.flatMap(score).saveAsTextFile(output + "/scores")

    def by_station(block):
        rows, _ = block
        for station in np.unique(rows[:, STATION]):
            yield station, rows[rows[:, STATION] == station]

    found = (blocks.flatMap(by_station).groupByKey(max(2, sc.defaultParallelism)).mapValues(detect_sorted)
             .values().persist(StorageLevel.MEMORY_AND_DISK))

    def count(station):
        rows, _, kind = station
        out = {}
        for sensor in np.unique(rows[kind > 0, SENSOR]):
            kinds = np.bincount(kind[rows[:, SENSOR] == sensor], minlength=len(KINDS))
            out[int(sensor)] = {KINDS[i]: int(c) for i, c in enumerate(kinds) if i and c}
        return out

    sensors = found.map(count).reduce(lambda a, b: {**a, **b})
    kinds = {}
    for per in sensors.values():
        for kind, c in per.items():
            kinds[kind] = kinds.get(kind, 0) + c
    faulty = sum(kinds.values())
    lines = found.flatMap(lambda station: anomaly_lines(*station))
    (lines.coalesce(1) if faulty < 500000 else lines).saveAsTextFile(output + "/anomalies")

    write(sc, output + "/manifest.json", json.dumps({
        "program": "model", "mode": mode, "input": source, "preprocessing": preprocessing, "output": output,
        "rows": int(total), "refusedLines": int(refused), "days": [int(d) for d in days],
        "k": k, "clusters": [{"cluster": c, "rows": int(n[c]), "centre": chosen["centres"][c]} for c in range(k)],
        "zeroRows": int(total - n.sum()), "farRows": far.value,
        "threshold": THRESHOLD, "anomalies": faulty, "kinds": kinds,
        "sensors": [{"sensorid": sensor, "anomalies": sum(per.values()), "kinds": per}
                    for sensor, per in sorted(sensors.items(), key=lambda x: (-sum(x[1].values()), x[0]))],
        "anomalyColumns": ANOMALY_COLUMNS.split(","),
    }, indent=1) + "\n")
    print(f"{mode}: {total} readings, {faulty} of faulty sensors {kinds}, {far.value} far from their cluster")
    sc.stop()


if __name__ == "__main__":
    main(sys.argv)
